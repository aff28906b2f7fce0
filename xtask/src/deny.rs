//! `cargo xtask deny`: licences, duplicates and sources of all dependencies, by cargo-deny.

use std::{path::Path, process::ExitCode};

use anyhow::{Result, bail};

use crate::{
    fuzz,
    workspace::{cargo, find_program, root, succeed},
};

/// The version that `--install` installs. Requires Rust 1.88.
const VERSION: &str = "0.20.2";

/// Check licences, duplicates and sources of all dependencies with cargo-deny
///
/// Checks the profiler, the kernel side and the fuzz targets against deploy/deny.toml. Known
/// vulnerabilities are checked only with --advisories, which downloads the database of RustSec.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Check for known vulnerabilities too
    #[arg(long)]
    advisories: bool,
    /// Install cargo-deny if it is missing
    #[arg(long)]
    install: bool,
}

/// All workspaces of the checkout.
const MANIFESTS: [&str; 3] = ["Cargo.toml", "profiler-ebpf/Cargo.toml", "profiler/fuzz/Cargo.toml"];

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    if find_program(&["cargo-deny"]).is_none() {
        if !args.install {
            bail!(
                "cargo-deny is missing: cargo install --locked cargo-deny, or cargo xtask deny --install"
            );
        }
        // Without optimisation, which would take longer than it saves.
        succeed(cargo().args([
            "install",
            "--locked",
            "--debug",
            "cargo-deny",
            "--version",
            VERSION,
        ]))?;
    }
    fuzz::lock()?;
    for manifest in MANIFESTS {
        println!("== {manifest}");
        succeed(cargo().args(arguments(&root().join(manifest), args.advisories)))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn arguments(manifest: &Path, advisories: bool) -> Vec<String> {
    let config = root().join("deploy/deny.toml");
    let mut words = vec!["deny".to_owned(), "--manifest-path".to_owned()];
    words.push(manifest.display().to_string());
    words.extend(["--config".to_owned(), config.display().to_string()]);
    words.extend(["check", "licenses", "bans", "sources"].map(str::to_owned));
    words.extend(advisories.then(|| "advisories".to_owned()));
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_workspace_is_checked() {
        assert!(MANIFESTS.iter().all(|manifest| root().join(manifest).is_file()));
        assert!(root().join("deploy/deny.toml").is_file());
    }

    #[test]
    fn vulnerabilities_are_checked_only_if_asked() {
        let words = arguments(Path::new("Cargo.toml"), false);
        assert_eq!(words.last().map(String::as_str), Some("sources"));
        assert!(arguments(Path::new("Cargo.toml"), true).contains(&"advisories".to_owned()));
    }
}
