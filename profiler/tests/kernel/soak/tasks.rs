//! The random tasks of a worker.

use std::{
    process::{Command, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use super::{
    random::Random,
    rows::{self, HostRows},
    tally::Tally,
};
use crate::{
    report::Report,
    run::{Held, Mode, Stat, workload_args},
    workload::Statement,
};

pub(super) struct Worker {
    random: Random,
    rows: Arc<HostRows>,
    tally: Arc<Tally>,
}

impl Worker {
    pub(super) fn new(random: Random, rows: Arc<HostRows>, tally: Arc<Tally>) -> Self {
        Self { random, rows, tally }
    }

    pub(super) fn run_until(mut self, until: Instant) {
        let tally = Arc::clone(&self.tally);
        while Instant::now() < until {
            tally.check("a task", || self.task());
            Tally::count(&tally.tasks, 1);
        }
    }

    fn task(&mut self) {
        match self.random.between(0, 9) {
            0..=3 => self.beside(),
            4..=6 => self.under(),
            7 => self.attach_for_a_while(),
            8 => self.storm(),
            _ => self.killed_halfway(),
        }
    }

    /// Runs a workload whose statement is compared with the intervals.
    fn beside(&mut self) {
        let args = self.workload();
        let begun = self.rows.begin();
        let statement = stated(&args);
        self.rows.expect(begun, &args, statement);
    }

    /// Runs a workload under a separate profiler.
    fn under(&mut self) {
        let args = self.workload();
        let words: Vec<&str> = args.iter().map(String::as_str).collect();
        let flags: &[&str] =
            if self.random.once_in(3) { &["--max-threads", "4", "--max-memory", "1"] } else { &[] };
        let line = workload_args(&words);
        let running = Stat::new(self.mode())
            .by_process_and_call()
            .args(flags.iter().copied())
            .args(["--"])
            .args(line)
            .start();
        Tally::count(&self.tally.attached, 1);
        let ended = running.end();
        assert!(ended.output.status.success(), "{args:?}: {:?}", ended.output);
        let Some(report) = rows::exact(ended.text(), &self.tally, Report::parse) else { return };
        let statement = serde_json::from_slice(&ended.output.stdout).expect("a statement");
        self.tally.check(&format!("{args:?} with {flags:?}"), || {
            if report.overflowed == 0 {
                report.has_exactly_by_process(&statement);
            }
            if words[0] == CHILDREN_ONLY {
                report.nothing_is_in_flight();
            } else {
                report.has_exactly(&statement);
            }
            let without_process = report.rows.iter().filter(|row| row.pid.is_none());
            assert_eq!(without_process.map(|row| row.calls).sum::<u64>(), report.overflowed);
        });
        count_stated(&self.tally, &statement);
    }

    /// Runs a profiler of the whole host for a while, and ends it with a random signal.
    fn attach_for_a_while(&mut self) {
        let by: &[&str] = self.random.one_of(&[
            &["--by", "syscall"][..],
            &["--by", "process"],
            &["--by", "process,syscall", "--interval", "50ms"],
            &["--max-threads", "1", "--max-memory", "1"],
        ]);
        let running = Stat::new(self.mode()).args(["--all"]).args(by.iter().copied()).start();
        Tally::count(&self.tally.attached, 1);
        let running = running.attached();
        self.pause(20, 800);
        if self.random.once_in(3) {
            running.signal(libc::SIGKILL);
            Tally::count(&self.tally.killed, 1);
            assert_eq!(running.end().code(), None);
            return;
        }
        running.signal(if self.random.once_in(2) { libc::SIGINT } else { libc::SIGTERM });
        let ended = running.end();
        assert!(ended.output.status.success(), "{:?}", ended.output);
        // Check the properties of intervals, because calls are in flight at both ends.
        for line in ended.text().lines() {
            rows::exact(line, &self.tally, Report::parse_interval);
        }
    }

    /// Creates threads and processes as fast as possible, and kills the workload.
    fn storm(&mut self) {
        let threads = format!("threads={}", self.random.between(1, 6));
        let held = Held::start(&["burn", &threads]);
        self.pause(50, 700);
        held.kill();
        Tally::count(&self.tally.killed, 1);
    }

    fn killed_halfway(&mut self) {
        let threads = format!("threads={}", self.random.between(0, 8));
        let args = ["counts", "calls=100000", &threads, "processes=8"];
        let line = workload_args(&args);
        let mut child = Command::new(&line[0])
            .args(&line[1..])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("this executable");
        self.pause(1, 400);
        child.kill().expect("a child of ours");
        child.wait().expect("a child of ours");
        Tally::count(&self.tally.killed, 1);
    }

    fn mode(&mut self) -> Mode {
        if self.random.once_in(3) { Mode::Fallback } else { Mode::Main }
    }

    fn pause(&mut self, least_ms: u64, most_ms: u64) {
        thread::sleep(Duration::from_millis(self.random.between(least_ms, most_ms)));
    }

    /// A random workload with a statement.
    fn workload(&mut self) -> Vec<String> {
        let random = &mut self.random;
        let one = |name: &str| vec![name.to_owned()];
        let some =
            |name: &str, key: &str, number: u64| vec![name.to_owned(), format!("{key}={number}")];
        match random.between(0, 13) {
            0..=3 => {
                let mut args = one("counts");
                for (key, most) in [("threads", 8), ("calls", 200), ("processes", 24)] {
                    args.push(format!("{key}={}", random.between(0, most)));
                }
                args
            }
            4 | 5 => some("forks", "calls", random.between(1, 60)),
            6 => some("exec-by-thread", "calls", random.between(1, 50)),
            7 => some("killed", "threads", random.between(1, 12)),
            8 => some("handled", "calls", random.between(1, 500)),
            9 => some("restarted", "calls", random.between(1, 50)),
            10 => some("denied", "calls", random.between(1, 100)),
            11 => some("abis", "calls", random.between(1, 100)),
            12 => some("bogus", "calls", random.between(1, 100)),
            _ => {
                one(random.one_of(&[CHILDREN_ONLY, "rename", "named-threads", "renamed-by-thread"]))
            }
        }
    }
}

/// A workload that states only the calls of its children, and makes such calls itself too.
const CHILDREN_ONLY: &str = "stopped";

/// Runs a workload by itself.
fn stated(args: &[String]) -> Statement {
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let line = workload_args(&words);
    let mut command = Command::new(&line[0]);
    let ended = command.args(&line[1..]).stdin(Stdio::null()).output().expect("this executable");
    assert!(ended.status.success(), "{args:?}: {ended:?}");
    serde_json::from_slice(&ended.stdout).expect("a statement")
}

/// Counts a statement that was compared successfully.
pub(super) fn count_stated(tally: &Tally, statement: &Statement) {
    Tally::count(&tally.compared, 1);
    Tally::count(&tally.calls, statement.total().values().map(|made| made.calls).sum());
}
