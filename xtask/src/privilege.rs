//! Root, for the one command that needs it: never for a build.

use std::{ffi::OsStr, process::Command};

use anyhow::{Result, bail};

use crate::workspace::find_program;

/// Whether this process may do what the kernel allows root only.
pub(crate) fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// `program` as root, with these variables, which sudo would drop otherwise.
pub(crate) fn as_root(program: impl AsRef<OsStr>, vars: &[(&str, &OsStr)]) -> Result<Command> {
    if is_root() {
        let mut command = Command::new(program);
        command.envs(vars.iter().copied());
        return Ok(command);
    }
    let Some(sudo) = find_program(&["sudo"]) else {
        bail!(
            "{} needs root, and there is no sudo here: run this again as root",
            program.as_ref().display()
        );
    };
    let mut command = Command::new(sudo);
    command.args(["--", "env"]);
    for (name, value) in vars {
        let mut setting = std::ffi::OsString::from(name);
        setting.push("=");
        setting.push(value);
        command.arg(setting);
    }
    command.arg(program);
    Ok(command)
}
