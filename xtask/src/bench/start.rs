//! Prepares benchmarks of the executable: becomes root, and builds the executable.

use std::{
    env,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Result, anyhow};

use crate::{
    privilege,
    workspace::{cargo, shown, succeed, target_dir},
};

/// Runs this command again as root, unless it is root already.
///
/// # Errors
/// If it cannot become root.
pub(super) fn become_root() -> Result<()> {
    if privilege::is_root() {
        return Ok(());
    }
    let mut command = privilege::as_root(env::current_exe()?, &[])?;
    command.args(env::args_os().skip(1));
    let error = command.exec();
    Err(anyhow!(error).context(format!("cannot run {}", shown(&command))))
}

/// The executable to measure: the given one, or one that is built as for packages.
///
/// # Errors
/// If it cannot be built.
pub(super) fn executable(given: Option<&Path>) -> Result<PathBuf> {
    if let Some(file) = given {
        return Ok(file.to_owned());
    }
    succeed(cargo().args(["build", "--profile", "dist", "--package", "profiler"]))?;
    Ok(target_dir().join("dist/profiler"))
}
