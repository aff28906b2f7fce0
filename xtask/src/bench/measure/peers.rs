//! Starts other tools, and detects when they are attached.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result};

use super::{child::Tied, pilot::Pilot};
use crate::{bench::results::Tool, workspace::find_program};

/// How long a tool may take to attach.
const PATIENCE: Duration = Duration::from_secs(20);

/// A tool that watches the whole host.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) program: &'static str,
    pub(super) package: &'static str,
    pub(super) args: &'static [&'static str],
    /// A flag that is added if the tool's help mentions it.
    pub(super) if_known: Option<&'static str>,
    pub(super) holds: Holds,
}

/// The BPF and perf descriptors of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Holds {
    pub(super) programs: usize,
    /// perf events. An event that is opened once per CPU counts once.
    pub(super) events: usize,
    /// perf events that are opened once per CPU.
    pub(super) events_per_cpu: usize,
}

impl Holds {
    /// Counts the descriptors in /proc/PID/fd.
    fn by(links: impl IntoIterator<Item = PathBuf>) -> Self {
        let mut holds = Self::default();
        for link in links {
            match link.to_str() {
                Some("anon_inode:bpf-prog") => holds.programs += 1,
                Some("anon_inode:[perf_event]") => holds.events += 1,
                _ => {}
            }
        }
        holds
    }

    fn of_process(id: u32) -> Self {
        let links = fs::read_dir(format!("/proc/{id}/fd")).into_iter().flatten();
        Self::by(links.filter_map(|link| fs::read_link(link.ok()?.path()).ok()))
    }

    fn has(self, wanted: Self, cpus: usize) -> bool {
        self.programs >= wanted.programs
            && self.events >= wanted.events + wanted.events_per_cpu * cpus
    }
}

impl Peer {
    /// The path of the tool, or why it cannot be found.
    pub(super) fn find(&self) -> Result<PathBuf, String> {
        find_program(&[self.program])
            .ok_or_else(|| format!("not installed: Debian's package `{}`", self.package))
    }

    /// Starts the tool, and returns once calls have become slower.
    pub(super) fn attach(&self, cpus: usize, pilot: &mut Pilot) -> Result<Tied> {
        let program = self.find().map_err(anyhow::Error::msg)?;
        let mut command = Command::new(&program);
        command.args(self.args);
        command.args(self.if_known.filter(|flag| help(&program).contains(flag)));
        started(command, self.holds, cpus, pilot)
    }
}

/// Starts a tool, and returns once it has the expected descriptors and calls have become slower.
pub(super) fn started(
    command: Command,
    holds: Holds,
    cpus: usize,
    pilot: &mut Pilot,
) -> Result<Tied> {
    pilot.before();
    let mut started = Tied::start(command)?;
    let attached = |tied: &Tied| Holds::of_process(tied.id()).has(holds, cpus);
    started.until(PATIENCE, "attached", attached)?;
    started.until(PATIENCE, "slowing calls down", |_| pilot.is_dearer())?;
    Ok(started)
}

fn help(program: &Path) -> String {
    let output = Command::new(program).arg("--help").output();
    output.map_or_else(
        |_| String::new(),
        |output| String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned(),
    )
}

/// Returns the version of a program, as the program prints it.
pub(super) fn tool(program: &str, package: &str) -> Tool {
    Tool {
        program: program.to_owned(),
        package: package.to_owned(),
        version: super::work::program_of(program).map(|path| version(&path)),
    }
}

fn version(program: &Path) -> String {
    ["--version", "-V", "-v"]
        .iter()
        .find_map(|flag| {
            let output = Command::new(program).arg(flag).output().ok()?;
            number(&String::from_utf8_lossy(&[output.stdout, output.stderr].concat()))
        })
        .unwrap_or_else(|| "of unknown version".to_owned())
}

/// Returns the first word of the first lines that looks like a version.
fn number(said: &str) -> Option<String> {
    let words = said.lines().take(2).flat_map(|line| line.split([' ', '/', '=', ',', '(', ')']));
    let bare = words.map(|word| word.trim_start_matches('v').trim_end_matches('.'));
    let mut versions = bare.filter(|word| {
        word.contains('.')
            && word.starts_with(|c: char| c.is_ascii_digit())
            && word.chars().all(|c| c.is_ascii_alphanumeric() || ".-+~:".contains(c))
    });
    versions.next().map(str::to_owned)
}

/// The profiler's executable, which is built beside this one.
pub(super) fn own_program() -> Result<PathBuf> {
    let this = std::env::current_exe()?;
    let beside = this.with_file_name("profiler");
    beside.is_file().then_some(beside).context("no profiler was built beside this program")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_tool_holds_is_read_from_its_descriptors() {
        let links = [
            "/dev/null",
            "pipe:[123]",
            "anon_inode:bpf-map",
            "anon_inode:bpf-prog",
            "anon_inode:bpf-prog",
            "anon_inode:[perf_event]",
            "anon_inode:btf",
        ];
        let holds = Holds::by(links.map(PathBuf::from));
        assert_eq!(holds, Holds { programs: 2, events: 1, events_per_cpu: 0 });
        assert!(holds.has(Holds { programs: 2, ..Holds::default() }, 8));
        assert!(!holds.has(Holds { programs: 3, ..Holds::default() }, 1));
        assert!(!holds.has(Holds { events_per_cpu: 1, ..Holds::default() }, 2), "one of two CPUs");
    }

    #[test]
    fn versions_are_found_in_what_tools_say() {
        for (said, found) in [
            ("bpftrace v0.17.0\n", "0.17.0"),
            ("syscount 0.1\n", "0.1"),
            ("strace -- version 6.1\nCopyright", "6.1"),
            ("perf version 6.1.192\n", "6.1.192"),
            ("sysdig version 0.29.3\n", "0.29.3"),
            ("Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.2.1", "7.0.15"),
            ("nginx version: nginx/1.22.1\n", "1.22.1"),
            ("wrk debian/4.1.0-3+b2 [epoll] Copyright", "4.1.0-3+b2"),
            ("gcc (Debian 12.2.0-14+deb12u1) 12.2.0\n", "12.2.0-14+deb12u1"),
            ("pgbench (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)", "15.14"),
        ] {
            assert_eq!(number(said).as_deref(), Some(found), "{said}");
        }
        assert_eq!(number("usage: tool [options]"), None);
    }
}
