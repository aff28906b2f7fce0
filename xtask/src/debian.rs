//! Installs Debian packages, for commands with `--install`.

use std::{collections::BTreeSet, ffi::OsStr};

use anyhow::{Result, ensure};

use crate::{
    privilege,
    workspace::{find_program, succeed},
};

/// Installs these packages. Requires root only if there are any.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    ensure!(find_program(&["apt-get"]).is_some(), "--install works on Debian and Ubuntu only");
    ensure!(privilege::is_root(), "--install calls apt-get: run it as root");
    apt_get_install(packages)
}

/// Installs the packages of missing programs, if apt-get and root are available. Otherwise, the
/// caller reports missing programs.
pub(crate) fn install_missing(programs: &[(&str, &'static str)]) -> Result<()> {
    let is_missing = |&&(program, _): &&(&str, _)| find_program(&[program]).is_none();
    let packages: BTreeSet<_> =
        programs.iter().filter(is_missing).map(|&(_, package)| package).collect();
    if packages.is_empty() || find_program(&["apt-get"]).is_none() {
        return Ok(());
    }
    let packages = Vec::from_iter(packages);
    println!("installing packages for the tests: {}", packages.join(", "));
    apt_get_install(&packages)
}

/// Runs apt-get as root, or with sudo.
fn apt_get_install(packages: &[&str]) -> Result<()> {
    let vars = [("DEBIAN_FRONTEND", OsStr::new("noninteractive"))];
    succeed(privilege::as_root("apt-get", &vars)?.args(["--quiet", "update"]))?;
    let install = ["--quiet", "install", "--yes", "--no-install-recommends"];
    Ok(succeed(privilege::as_root("apt-get", &vars)?.args(install).args(packages))?)
}
