//! The load of `cargo xtask test --beside-load`.

use std::{
    fmt::Write as _,
    fs,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use crate::{privilege, workspace::find_program};

/// Programs that run until this value is dropped.
pub(super) struct Load {
    running: Vec<Child>,
    _directory: TempDir,
}

impl Load {
    /// Starts a compiler, a package manager, processes that fork all the time, and a workload of
    /// the kernel tests, which makes the same calls that the tests count.
    ///
    /// # Errors
    /// If one of them cannot be started.
    pub(super) fn start(kernel_tests: Option<&Path>) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let source = directory.path().join("big.rs");
        fs::write(&source, big_program())?;
        let here = directory.path().display();
        let mut scripts = vec![
            format!("while :; do rustc -O --crate-type lib --out-dir {here} {here}/big.rs; done"),
            "while :; do (:); done".to_owned(),
            "while :; do /bin/true; done".to_owned(),
        ];
        if find_program(&["apt-cache"]).is_some() {
            let cache = format!(
                "-o Dir::Cache::pkgcache={here}/packages.bin -o Dir::Cache::srcpkgcache={here}/sources.bin"
            );
            scripts.push(format!(
                "while :; do rm -f {here}/*.bin; apt-cache {cache} gencaches; dpkg --verify; done"
            ));
        }
        let mut load = Self { running: Vec::new(), _directory: directory };
        for script in scripts {
            let mut command = Command::new("sh");
            load.spawn(command.args(["-c", &script]))?;
        }
        if let Some(tests) = kernel_tests {
            let mut command = privilege::as_root(tests, &[])?;
            load.spawn(command.args(["workload", "burn", "threads=1"]).stdin(Stdio::piped()))?;
        }
        println!("load: {} programs that use the CPU all the time", load.running.len());
        Ok(load)
    }

    fn spawn(&mut self, command: &mut Command) -> Result<()> {
        // A separate process group, so that the programs that a script runs end with it.
        let quiet = command.process_group(0).stdout(Stdio::null()).stderr(Stdio::null());
        self.running.push(quiet.spawn().context("cannot start the load")?);
        Ok(())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        for child in &mut self.running {
            // The workload ends at the end of its input, even if sudo started it.
            drop(child.stdin.take());
            if let Ok(group) = i32::try_from(child.id()) {
                // SAFETY: signals the process group of a child that was not reaped.
                unsafe { libc::kill(-group, libc::SIGKILL) };
            }
            let _ = child.wait();
        }
    }
}

/// A program that takes some seconds to compile.
fn big_program() -> String {
    let mut source = String::new();
    for number in 0..1_500 {
        let _ = writeln!(
            source,
            "pub fn f{number}(words: &[String]) -> String {{ \
             words.iter().map(|w| format!(\"{{w}}-{number}\")).collect::<Vec<_>>().join(\",\") }}"
        );
    }
    source
}
