//! Measures how much longer real programs take while a tool watches, on this machine and its
//! loopback interface.

mod commands;
mod postgres;
mod redis;
mod web;

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command, time::Duration};

use anyhow::{Context as _, Result};

use super::{attached::Attached, child::Tied, rows::Turns, subjects::WORK};
use crate::{
    bench::{
        Measure,
        results::{Load, Row, Work},
    },
    workspace::find_program,
};

/// How long a server may take to start.
const PATIENCE: Duration = Duration::from_secs(20);

/// A program under load. Dropping this value ends all of its processes.
trait Running {
    /// Does the work once, and returns seconds per unit of work. If the amount of work can be
    /// chosen, it is divided by `fewer`.
    fn once(&mut self, attached: &Attached, fewer: u64) -> Result<f64>;
}

/// A kind of load.
struct Kind {
    name: &'static str,
    about: &'static str,
    /// The unit of work.
    unit: &'static str,
    /// The required programs, and their Debian packages.
    needs: &'static [(&'static str, &'static str)],
    start: fn(&Path) -> Result<Box<dyn Running>>,
}

const KINDS: [Kind; 5] = [
    Kind {
        name: "PostgreSQL",
        about: "pgbench, SELECT only, 2 clients over a socket",
        unit: "transaction",
        needs: &postgres::NEEDS,
        start: postgres::start,
    },
    Kind {
        name: "redis",
        about: "redis-benchmark, GET and SET, 10 clients over a socket",
        unit: "request",
        needs: &redis::NEEDS,
        start: redis::start,
    },
    Kind {
        name: "nginx",
        about: "wrk, a file of 1 KiB, 8 connections on loopback, with an access log",
        unit: "request",
        needs: &web::NEEDS,
        start: web::start,
    },
    Kind {
        name: "gcc",
        about: "six files, compiled one after the other",
        unit: "file",
        needs: &[("cc", "gcc")],
        start: commands::compiler,
    },
    Kind {
        name: "dd bs=1",
        about: "from /dev/zero to /dev/null: only syscalls, the worst case",
        unit: "byte",
        needs: &[],
        start: commands::dd,
    },
];

/// The programs that the loads require, and their Debian packages.
pub(super) fn needs() -> impl Iterator<Item = (&'static str, &'static str)> {
    KINDS.iter().flat_map(|kind| kind.needs).copied()
}

pub(super) fn run(args: &Measure) -> Result<Work> {
    let directory = tempfile::Builder::new().prefix("profiler-bench").tempdir()?;
    // A server that runs as another user must be able to access its directory.
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o711))?;
    let is_wanted = |kind: &&Kind| {
        args.loads.is_empty() || args.loads.iter().any(|name| kind.name.contains(name.as_str()))
    };
    let kinds: Vec<_> = KINDS.iter().filter(is_wanted).collect();
    let mut running = Vec::new();
    for kind in &kinds {
        eprintln!("starting: {}", kind.name);
        running.push(started(kind, directory.path()).map_err(|error| format!("{error:#}")));
    }
    let mut turns = Turns::new(WORK.iter().collect())?;
    for running in running.iter_mut().flatten() {
        // A first run, so that files and code are in memory.
        running.once(&Attached::Nothing, 4)?;
    }
    turns.rounds(args.rounds, |subject, attached| {
        let mut places = Vec::new();
        for (kind, running) in kinds.iter().zip(&mut running) {
            super::child::check()?;
            let once = |running: &mut Box<dyn Running>| running.once(attached, subject.fewer);
            let took = running.as_mut().ok().map(once).transpose();
            places.push(took.with_context(|| kind.name)?);
        }
        Ok(places)
    })?;
    let loads = kinds.iter().zip(running).enumerate().map(|(place, (kind, running))| {
        let why = running.err();
        let rows = turns.rows(place).into_iter();
        Load {
            name: kind.name.to_owned(),
            about: kind.about.to_owned(),
            unit: kind.unit.to_owned(),
            rows: rows.map(|row| Row { absent: row.absent.or(why.clone()), ..row }).collect(),
        }
    });
    Ok(Work { quiet: turns.quiet, loads: loads.collect() })
}

fn started(kind: &Kind, directory: &Path) -> Result<Box<dyn Running>> {
    for (program, package) in kind.needs {
        anyhow::ensure!(
            program_of(program).is_some(),
            "{program} is not installed: Debian's package `{package}`"
        );
    }
    (kind.start)(directory)
}

/// Finds a program in PATH, or in Debian's directory of PostgreSQL.
pub(super) fn program_of(name: &str) -> Option<std::path::PathBuf> {
    find_program(&[name]).or_else(|| postgres::program(name).ok())
}

/// strace on running processes. Dropping this value detaches strace.
struct Traced(#[expect(dead_code, reason = "held because dropping it detaches strace")] Tied);

impl Traced {
    /// If strace is the subject, attaches it to this process, with all its threads and children.
    fn by(attached: &Attached, id: u32) -> Result<Option<Self>> {
        let Attached::Strace = attached else { return Ok(None) };
        let mut strace = Command::new("strace");
        strace.args(["-f", "-c", "-o", "/dev/null", "-p", &id.to_string()]);
        let mut strace = Tied::start(strace)?;
        strace.until(PATIENCE, "attached", |_| is_traced(id))?;
        Ok(Some(Self(strace)))
    }
}

fn is_traced(id: u32) -> bool {
    let Ok(threads) = fs::read_dir(format!("/proc/{id}/task")) else { return false };
    threads.flatten().all(|thread| {
        let status = fs::read_to_string(thread.path().join("status")).unwrap_or_default();
        tracer(&status).is_some_and(|tracer| tracer != 0)
    })
}

/// Returns the tracer of a thread from its status. 0 if the thread has no tracer.
fn tracer(status: &str) -> Option<u32> {
    status.lines().find_map(|line| line.strip_prefix("TracerPid:"))?.trim().parse().ok()
}

/// Returns the number before or after `words`.
fn number(said: &str, words: &str) -> Result<f64> {
    let found = said.lines().find_map(|line| {
        let (before, after) = line.split_once(words)?;
        let number = |word: Option<&str>| word?.trim_end_matches(',').parse().ok();
        number(after.split_whitespace().next())
            .or_else(|| number(before.split_whitespace().next_back()))
    });
    found.with_context(|| format!("no number beside {words:?} in: {said}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_from_what_the_loads_say() {
        let wrk = "  12 requests in 1.10s, 1.2MB read\nRequests/sec:  12345.67\nTransfer/sec: 1MB";
        assert_eq!(number(wrk, "Requests/sec:").expect("a rate"), 12345.67);
        let pgbench = "latency average = 0.1 ms\ntps = 17123.456 (without initial connection time)";
        assert_eq!(number(pgbench, "tps =").expect("a rate"), 17123.456);
        let dd = "300000 bytes (300 kB, 293 KiB) copied, 0.165432 s, 1.8 MB/s";
        assert_eq!(number(dd, " copied,").expect("seconds"), 0.165432);
        assert!(number("failed", "tps =").is_err());
    }

    #[test]
    fn who_traces_a_thread_is_in_its_status() {
        assert_eq!(tracer("Name:\tredis\nTracerPid:\t4711\nUid:\t0"), Some(4711));
        assert_eq!(tracer("TracerPid:\t0\n"), Some(0));
        assert_eq!(tracer(""), None);
    }
}
