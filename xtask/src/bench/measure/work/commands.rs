//! Loads that are commands: a compiler, and `dd`.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use anyhow::{Context as _, Result};

use super::{Running, number};
use crate::bench::measure::{attached::Attached, child::Tied};

const FILES: usize = 6;
const BYTES: u64 = 300_000;

struct Compiler(PathBuf);

struct Dd;

pub(super) fn compiler(directory: &Path) -> Result<Box<dyn Running>> {
    let directory = directory.join("gcc");
    fs::create_dir(&directory)?;
    for file in 0..FILES {
        fs::write(directory.join(format!("{file}.c")), source()?)?;
    }
    Ok(Box::new(Compiler(directory)))
}

/// A source file of typical size, with a few headers and many functions.
fn source() -> Result<String> {
    let mut source = String::new();
    for header in
        ["errno", "pthread", "signal", "stdio", "stdlib", "string", "sys/socket", "unistd"]
    {
        writeln!(source, "#include <{header}.h>")?;
    }
    for function in 0..40 {
        writeln!(
            source,
            "int f{function}(const char *s, int n) {{ char b[64]; int r = 0; \
             for (int i = 0; i < n; i++) {{ snprintf(b, sizeof b, \"%s %d\", s, i); \
             r += (int)strlen(b) ^ {function}; }} return r; }}"
        )?;
    }
    Ok(source)
}

pub(super) fn dd(_: &Path) -> Result<Box<dyn Running>> {
    Ok(Box::new(Dd))
}

/// The command, under strace if strace is the subject.
fn under(attached: &Attached, program: &str) -> Command {
    let Attached::Strace = attached else { return Command::new(program) };
    let mut strace = Command::new("strace");
    strace.args(["-f", "-c", "-o", "/dev/null", "--", program]);
    strace
}

impl Running for Compiler {
    fn once(&mut self, attached: &Attached, _fewer: u64) -> Result<f64> {
        let mut command = under(attached, "cc");
        command.args(["-O1", "-c"]).args((0..FILES).map(|file| format!("{file}.c")));
        command.current_dir(&self.0);
        let start = Instant::now();
        Tied::start(command)?.ended()?;
        Ok(start.elapsed().as_secs_f64() / FILES as f64)
    }
}

impl Running for Dd {
    fn once(&mut self, attached: &Attached, fewer: u64) -> Result<f64> {
        let bytes = BYTES / fewer;
        let mut command = under(attached, "dd");
        command.args(["if=/dev/zero", "of=/dev/null", "bs=1", &format!("count={bytes}")]);
        command.env("LC_ALL", "C");
        let said = Tied::start(command)?.ended()?;
        // The time that dd reports, without its start.
        Ok(number(&said, " copied,").context("dd")? / bytes as f64)
    }
}
