//! Downloads and builds strace's test programs, and reads what the profiler printed of one.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::{
    kernels,
    workspace::{succeed, target_dir},
};

/// The directory of the built programs.
pub(super) fn built() -> Result<PathBuf> {
    let directory = target_dir().join("oracle");
    let done = directory.join("built");
    let tests = |source: &Path| source.join("tests");
    if let Ok(source) = fs::read_to_string(&done) {
        return Ok(tests(Path::new(&source)));
    }
    fs::create_dir_all(&directory)?;
    println!("downloading and building strace's test programs: some minutes");
    let source = kernels::source_package("strace", &directory)?;
    let quiet = |command: &mut Command| -> Result<()> {
        let log = fs::File::options().create(true).append(true).open(directory.join("log"))?;
        command.stdout(log.try_clone()?).stderr(log);
        Ok(())
    };
    let mut configure = Command::new("./configure");
    configure.arg("--enable-mpers=no").current_dir(&source);
    quiet(&mut configure)?;
    succeed(&mut configure).context("see target/oracle/log")?;
    // The objects of all programs include the header of syscall numbers, and do not say so.
    let mut header = Command::new("make");
    header.arg("scno.h").current_dir(tests(&source));
    quiet(&mut header)?;
    succeed(&mut header).context("see target/oracle/log")?;
    let list = fs::read_to_string(tests(&source).join("pure_executables.list"))?;
    let names = list.lines().filter(|line| !line.starts_with('#'));
    let mut make = Command::new("make");
    make.args(["--keep-going", "-j2"]);
    make.args(names.flat_map(str::split_whitespace)).current_dir(tests(&source));
    quiet(&mut make)?;
    // Some programs do not build with every version of the headers.
    let _ = make.status()?;
    fs::write(&done, source.to_str().context("a path in UTF-8")?)?;
    Ok(tests(&source))
}

/// The lines of the process `pid`, from the first call after its last execve.
pub(super) fn lines_of(directory: &Path, pid: &str) -> String {
    let read = fs::read(directory.join(format!("of.{pid}"))).unwrap_or_default();
    let text = String::from_utf8_lossy(&read).into_owned();
    match text.rfind("\nexecve(").and_then(|at| text[at + 1..].find('\n').map(|end| at + end + 2)) {
        Some(at) => text[at..].to_owned(),
        None => text,
    }
}
