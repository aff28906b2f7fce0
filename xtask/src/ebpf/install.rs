//! Installs missing tools for the build of the kernel side, on Debian and Ubuntu.

use std::path::Path;

use anyhow::Result;

use super::toolchain::Missing;
use crate::{
    debian,
    workspace::{self, succeed},
};

const LLVM_PREFIX: &str = "/usr/lib/llvm-22";

pub(super) fn missing_tools() -> Result<()> {
    let missing = Missing::look();
    let mut packages = Vec::new();
    if missing.compiler {
        packages.extend(["rustc-web", "libstd-rust-web-dev-bpf"]);
    }
    if missing.linker && !Path::new(LLVM_PREFIX).join("include/llvm-c").is_dir() {
        packages.push("llvm-22-dev");
    }
    if missing.strip {
        packages.push("llvm-22");
    }
    debian::install(&packages)?;
    if missing.linker {
        succeed(
            workspace::cargo()
                .args(["install", "bpf-linker", "--version", "0.13.0"])
                .args(["--no-default-features", "--features", "llvm-22"])
                .env("LLVM_PREFIX", LLVM_PREFIX),
        )?;
    }
    Ok(())
}
