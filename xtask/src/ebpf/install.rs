//! Installs what the kernel side's build lacks, on Debian and Ubuntu.

use std::{path::Path, process::Command};

use anyhow::{Result, ensure};

use super::toolchain::Missing;
use crate::{
    privilege,
    workspace::{self, find_program, succeed},
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
    if !packages.is_empty() {
        ensure!(find_program(&["apt-get"]).is_some(), "--install works on Debian and Ubuntu only");
        ensure!(privilege::is_root(), "--install calls apt-get: run it as root");
        succeed(Command::new("apt-get").arg("update"))?;
        succeed(
            Command::new("apt-get")
                .args(["install", "--yes", "--no-install-recommends"])
                .args(packages)
                .env("DEBIAN_FRONTEND", "noninteractive"),
        )?;
    }
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
