//! Replaces rustc while the kernel side is compiled, so that the objects do not depend on the paths
//! of the checkout and of cargo's home.
//!
//! Two things would put paths into an object. First, BTF has source paths, for the verifier's log.
//! So each crate is compiled with its directory remapped to its name. Second, symbol names have a
//! hash of the `-C metadata` of cargo, which depends on the absolute path of `profiler-common`,
//! because it is outside of the workspace of the kernel side. So the metadata is replaced by the
//! name and version of the crate, which are unique within a build.

use std::{
    env,
    ffi::OsString,
    os::unix::process::CommandExt,
    path::Path,
    process::{Command, ExitCode},
};

/// This variable makes this program act as rustc. Its value is the top of the checkout.
pub(super) const STAND_IN: &str = "PROFILER_XTASK_AS_RUSTC";

/// This variable makes warnings in the project's own packages errors. Clippy cannot check the
/// kernel side, because Debian has no clippy for its compiler.
pub(super) const DENY_WARNINGS: &str = "PROFILER_XTASK_DENY_WARNINGS";

/// If called as rustc, executes rustc. Returns only if that fails.
pub(crate) fn stand_in() -> Option<ExitCode> {
    let root = env::var_os(STAND_IN)?;
    let mut given = env::args_os().skip(1);
    let rustc = given.next()?;
    let package = Package::from_cargo(Path::new(&root));
    let error = Command::new(&rustc).args(adjusted(given, package.as_ref())).exec();
    eprintln!("xtask: cannot run {}: {error}", rustc.display());
    Some(ExitCode::FAILURE)
}

/// The package of a crate that cargo compiles.
struct Package {
    id: String,
    dir: String,
    out_dir: Option<String>,
    deny_warnings: bool,
}

impl Package {
    /// Reads the package from cargo's variables. `None` if cargo only asks rustc for its version.
    fn from_cargo(root: &Path) -> Option<Self> {
        let name = env::var("CARGO_PKG_NAME").ok()?;
        let version = env::var("CARGO_PKG_VERSION").ok()?;
        let dir = env::var("CARGO_MANIFEST_DIR").ok()?;
        let ours = Path::new(&dir).starts_with(root);
        Some(Self {
            // Omit the version of our own packages, so that a release does not change the objects.
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
