//! Compiles, links and strips the kernel side.

use std::{env, fs, path::Path};

use anyhow::{Context, Result};

use super::{
    PROGRAMS, rustc,
    toolchain::{self, Compiler, Toolchain},
};
use crate::workspace::{self, succeed};

const TARGET: &str = "bpfel-unknown-none";

/// Flags for every crate. `--btf`: maps and `tp_btf` programs require types. v3: below v3, LLVM
/// refuses an atomic operation whose result is used.
pub(super) const RUSTFLAGS: [&str; 6] =
    ["-C", "link-arg=--btf", "-C", "debuginfo=2", "-C", "target-cpu=v3"];

/// A stripped object.
pub(super) struct Object {
    pub(super) program: &'static str,
    pub(super) bytes: Vec<u8>,
}

impl Object {
    pub(super) fn file_name(&self) -> String {
        format!("{}.bpf.o", self.program)
    }
}

/// How warnings in the project's own packages are treated.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Warnings {
    Shown,
    Errors,
}

/// Builds all objects. Cargo's files are in `target_dir`.
pub(super) fn objects(
    toolchain: &Toolchain,
    target_dir: &Path,
    warnings: Warnings,
) -> Result<Vec<Object>> {
    let mut cargo = match &toolchain.compiler {
        Compiler::Debian { rustc } => {
            let mut cargo = workspace::cargo();
            // aya-ebpf and the kernel side use feature gates.
            cargo.env("RUSTC", rustc).env("RUSTC_BOOTSTRAP", "1");
            cargo.arg("build");
            cargo
        }
        Compiler::Nightly => {
            let mut cargo = toolchain::nightly("cargo");
            cargo.args(["build", "-Z", "build-std=core"]);
            cargo
        }
    };
    cargo
        .current_dir(workspace::root().join("profiler-ebpf"))
        .args(["--release", "--locked", "--target", TARGET])
        .env("CARGO_TARGET_DIR", target_dir)
        .env("CARGO_TARGET_BPFEL_UNKNOWN_NONE_LINKER", &toolchain.linker)
        .env("CARGO_ENCODED_RUSTFLAGS", RUSTFLAGS.join("\u{1f}"))
        .env("RUSTC_WRAPPER", env::current_exe()?)
        .env(rustc::STAND_IN, workspace::root())
        .env_remove("RUSTFLAGS");
    if warnings == Warnings::Errors {
        cargo.env(rustc::DENY_WARNINGS, "1");
    }
    succeed(&mut cargo)?;

    PROGRAMS
        .iter()
        .map(|program| {
            let linked = target_dir.join(TARGET).join("release").join(program);
            let stripped = target_dir.join(format!("{program}.bpf.o"));
            // Removes DWARF, and keeps .BTF and .BTF.ext.
            succeed(
                std::process::Command::new(&toolchain.strip)
                    .arg("--strip-debug")
                    .arg("-o")
                    .arg(&stripped)
                    .arg(&linked),
            )?;
            let bytes = fs::read(&stripped)
                .with_context(|| format!("cannot read {}", stripped.display()))?;
            Ok(Object { program, bytes })
        })
        .collect()
}
