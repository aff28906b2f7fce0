//! Installs packages of Debian's, for the commands that have `--install`.

use std::process::Command;

use anyhow::{Result, ensure};

use crate::{
    privilege,
    workspace::{find_program, succeed},
};

/// Installs these packages; asks for root only if there are any.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    ensure!(find_program(&["apt-get"]).is_some(), "--install works on Debian and Ubuntu only");
    ensure!(privilege::is_root(), "--install calls apt-get: run it as root");
    succeed(Command::new("apt-get").arg("update"))?;
    succeed(
        Command::new("apt-get")
            .args(["install", "--yes", "--no-install-recommends"])
            .args(packages)
            .env("DEBIAN_FRONTEND", "noninteractive"),
    )
}
