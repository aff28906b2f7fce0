//! Runs single commands as root. Builds never run as root.

use std::{
    ffi::{OsStr, OsString},
    fs,
    os::unix::fs::MetadataExt as _,
    process::Command,
};

use crate::{failure::Failure, workspace::find_program};

/// Whether this process is root.
#[must_use]
pub fn is_root() -> bool {
    // The effective user owns the directory of a process in /proc (proc(5)).
    fs::metadata("/proc/self").is_ok_and(|directory| directory.uid() == 0)
}

/// A command that runs `program` as root, with these variables, which sudo would remove.
///
/// # Errors
/// If this process is not root and there is no sudo.
pub fn as_root(program: impl AsRef<OsStr>, vars: &[(&str, &OsStr)]) -> Result<Command, Failure> {
    if is_root() {
        let mut command = Command::new(program);
        command.envs(vars.iter().copied());
        return Ok(command);
    }
    let Some(sudo) = find_program(&["sudo"]) else {
        return Err(Failure::new(format!(
            "{} needs root, and there is no sudo here: run this again as root",
            program.as_ref().display()
        )));
    };
    let mut command = Command::new(sudo);
    command.args(["--", "env"]);
    for (name, value) in vars {
        let mut setting = OsString::from(name);
        setting.push("=");
        setting.push(value);
        command.arg(setting);
    }
    command.arg(program);
    Ok(command)
}
