//! Stands in for rustc while the kernel side is compiled, so that the objects do
//! not depend on where the checkout and cargo's home are.
//!
//! Two things would carry paths into an object. Source paths, which BTF keeps for
//! the verifier's log: each crate is compiled with its own directory remapped to
//! its name. And symbol names, which carry a hash of the `-C metadata` that cargo
//! passes, and cargo hashes the absolute path of `profiler-common`, as it is
//! outside of the kernel side's workspace: the crate's name and version serve as
//! well, since no two crates of one build share both.

use std::{
    env,
    ffi::OsString,
    os::unix::process::CommandExt,
    path::Path,
    process::{Command, ExitCode},
};

/// Set for cargo, to the top of the checkout, when this program is to be rustc.
pub(super) const STAND_IN: &str = "PROFILER_XTASK_AS_RUSTC";

/// Set too if a warning in our own packages is an error: clippy cannot see the
/// kernel side, as there is none for Debian's compiler.
pub(super) const DENY_WARNINGS: &str = "PROFILER_XTASK_DENY_WARNINGS";

/// If called as rustc: becomes rustc, and returns only if that fails.
pub(crate) fn stand_in() -> Option<ExitCode> {
    let root = env::var_os(STAND_IN)?;
    let mut given = env::args_os().skip(1);
    let rustc = given.next()?;
    let package = Package::from_cargo(Path::new(&root));
    let error = Command::new(&rustc).args(adjusted(given, package.as_ref())).exec();
    eprintln!("xtask: cannot run {}: {error}", rustc.display());
    Some(ExitCode::FAILURE)
}

/// The package that cargo compiles a crate of.
struct Package {
    id: String,
    dir: String,
    out_dir: Option<String>,
    deny_warnings: bool,
}

impl Package {
    /// `None` if cargo only asks rustc for its version.
    fn from_cargo(root: &Path) -> Option<Self> {
        let name = env::var("CARGO_PKG_NAME").ok()?;
        let version = env::var("CARGO_PKG_VERSION").ok()?;
        let dir = env::var("CARGO_MANIFEST_DIR").ok()?;
        let ours = Path::new(&dir).starts_with(root);
        Some(Self {
            // Without our own version, a release leaves the objects as they are.
            id: if ours { name } else { format!("{name}-{version}") },
            dir,
            out_dir: env::var("OUT_DIR").ok(),
            deny_warnings: ours && env::var_os(DENY_WARNINGS).is_some(),
        })
    }
}

fn adjusted(given: impl Iterator<Item = OsString>, package: Option<&Package>) -> Vec<OsString> {
    let Some(package) = package else { return given.collect() };
    let mut args: Vec<OsString> = given
        .map(|arg| match arg.to_str() {
            Some(text) if text.starts_with("metadata=") => {
                format!("metadata={}", package.id).into()
            }
            _ => arg,
        })
        .collect();
    args.push(format!("--remap-path-prefix={}=/{}", package.dir, package.id).into());
    if let Some(out_dir) = &package.out_dir {
        args.push(format!("--remap-path-prefix={out_dir}=/{}/out", package.id).into());
    }
    if package.deny_warnings {
        args.push("-Dwarnings".into());
    }
    args
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adjust(package: Option<&Package>) -> Vec<OsString> {
        let given = ["src/lib.rs", "-C", "metadata=0123456789abcdef", "-C", "opt-level=3"];
        adjusted(given.into_iter().map(OsString::from), package)
    }

    #[test]
    fn metadata_and_paths_lose_the_checkout() {
        let package = Package {
            id: "one".into(),
            dir: "/home/me/one".into(),
            out_dir: None,
            deny_warnings: true,
        };
        assert_eq!(
            adjust(Some(&package)),
            [
                "src/lib.rs",
                "-C",
                "metadata=one",
                "-C",
                "opt-level=3",
                "--remap-path-prefix=/home/me/one=/one",
                "-Dwarnings",
            ]
        );
    }

    #[test]
    fn a_question_for_the_version_passes_unchanged() {
        assert_eq!(adjust(None)[2], "metadata=0123456789abcdef");
    }
}
