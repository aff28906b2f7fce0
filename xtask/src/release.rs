//! `cargo xtask release`: builds the profiler for packages, and checks the binary.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result, ensure};
use object::{Object as _, read::elf::ElfFile64};

use crate::workspace::{cargo, root, succeed, target_dir};

/// Build the profiler for a package, and check that the binary contains no paths of this machine
///
/// The binary must contain no symbols, and no path of the checkout, of cargo's directory or of
/// the home directory.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The profile of Cargo.toml: `dist` for packages, or `release`, or `quick`, which `cargo xtask
    /// run` builds
    #[arg(long, default_value = "dist")]
    profile: String,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    succeed(
        cargo()
            .args(["build", "--locked", "--package", "profiler", "--profile"])
            .arg(&args.profile),
    )?;
    let binary = target_dir().join(&args.profile).join("profiler");
    let bytes = fs::read(&binary).with_context(|| format!("cannot read {}", binary.display()))?;
    let mut faults = faults(&bytes, &private_paths());
    if has_symbols(&bytes)? {
        faults.push("symbols".to_owned());
    }
    ensure!(faults.is_empty(), "{} contains {}", binary.display(), faults.join(", "));
    println!(
        "{}: {} KiB, no symbols, no paths of this machine",
        binary.display(),
        bytes.len() >> 10
    );
    Ok(ExitCode::SUCCESS)
}

/// Directories of this machine and user.
fn private_paths() -> Vec<PathBuf> {
    let of_env = ["HOME", "CARGO_HOME", "RUSTUP_HOME", "CARGO_TARGET_DIR"];
    let set = of_env.iter().filter_map(env::var_os).map(PathBuf::from);
    let all = set.chain([root().to_owned(), PathBuf::from(".cargo/registry")]);
    // Every path contains the root directory.
    all.filter(|path| path != Path::new("/") && path != Path::new("")).collect()
}

/// Whether a binary has the table of symbols that `strip` removes. The eBPF objects within it
/// have tables of their own, which the kernel needs.
fn has_symbols(binary: &[u8]) -> Result<bool> {
    let elf: ElfFile64<'_> = ElfFile64::parse(binary).context("not an ELF file of 64 bits")?;
    Ok(elf.section_by_name(".symtab").is_some())
}

/// The faults of a binary.
fn faults(binary: &[u8], private: &[PathBuf]) -> Vec<String> {
    let contains =
        |text: &str| binary.windows(text.len().max(1)).any(|window| window == text.as_bytes());
    let mut faults = Vec::new();
    for path in private.iter().map(|path| path.display().to_string()) {
        // The slash distinguishes /root/x from /rootfs.
        if contains(&format!("{path}/")) {
            faults.push(format!("the path {path}"));
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_found() {
        let private = [PathBuf::from("/home/me"), PathBuf::from(".cargo/registry")];
        assert!(faults(b"/home/meadow/x /rustc/1/library/core", &private).is_empty());
        let found = faults(b"/home/me/.cargo/registry/src/x.rs", &private);
        assert_eq!(found, ["the path /home/me", "the path .cargo/registry"]);
    }

    #[test]
    fn this_very_binary_has_paths_and_symbols() {
        let own = fs::read(env::current_exe().expect("an executable")).expect("a file");
        assert!(has_symbols(&own).expect("an ELF file"));
        assert!(has_symbols(b"no ELF file").is_err());
        assert!(!faults(&own, &private_paths()).is_empty(), "it was built for debugging");
    }
}
