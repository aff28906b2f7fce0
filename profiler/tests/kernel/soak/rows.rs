//! The intervals of the whole host by process and syscall, and the statements of workloads.

use std::{
    collections::{BTreeMap, VecDeque},
    io::{BufRead as _, BufReader},
    process::{Child, ChildStdout, Command, Stdio},
    sync::{Arc, Mutex, MutexGuard, mpsc},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::{tally::Tally, tasks::count_stated};
use crate::{
    report::Report,
    run::PROFILER,
    workload::{Calls, Made, Statement},
};

/// The interval, and the maximum number of intervals until a call is included: the current one, one
/// that is printed, and one that is parsed.
const INTERVAL: Duration = Duration::from_secs(1);
const INTERVALS_LATE: u64 = 3;

/// Number of intervals that are kept, longer than any task.
const KEPT: usize = 180;

/// One interval.
#[derive(Default)]
struct Interval {
    by_process: BTreeMap<u32, Calls>,
    /// Overflowed and lost calls.
    without_process: u64,
    /// Processes and threads created since boot, at the end of the interval.
    births: u64,
}

/// The statement of a workload, and the intervals in which it ran.
struct Expected {
    args: Vec<String>,
    statement: Statement,
    begun: Begun,
    /// Number of intervals read when it ended.
    ended: u64,
}

/// A moment.
#[derive(Clone, Copy)]
pub(super) struct Begun {
    intervals: u64,
    births: u64,
}

#[derive(Default)]
struct State {
    intervals: VecDeque<Interval>,
    /// Number of intervals read, including forgotten ones.
    read: u64,
    /// Calls of all processes since the start.
    totals: Calls,
    expected: Vec<Expected>,
}

pub(super) struct HostRows {
    state: Arc<Mutex<State>>,
    child: Mutex<Child>,
}

impl HostRows {
    pub(super) fn start(tally: &Arc<Tally>) -> Self {
        let mut command = Command::new(PROFILER);
        command.args(["stat", "--all", "--by", "process,syscall", "--format", "json"]);
        command.args(["--interval", "1s"]).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the profiler");
        let lines = BufReader::new(child.stdout.take().expect("a pipe"));
        let state = Arc::<Mutex<State>>::default();
        let (to, tally) = (Arc::clone(&state), Arc::clone(tally));
        let (sender, received) = mpsc::channel();
        thread::spawn(move || take(lines, &sender));
        thread::spawn(move || {
            for line in received {
                tally.check("an interval", || read(&line, &to, &tally));
            }
        });
        let rows = Self { state, child: Mutex::new(child) };
        // Wait for the first interval, so that all later calls are included.
        crate::run::wait_until("the first interval", || rows.state().read > 0);
        rows
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic while it is held")
    }

    /// The current moment, for a workload that is about to begin.
    pub(super) fn begin(&self) -> Begun {
        Begun { intervals: self.state().read, births: births() }
    }

    /// Adds the statement of an ended workload.
    pub(super) fn expect(&self, begun: Begun, args: &[String], statement: Statement) {
        let mut state = self.state();
        let ended = state.read;
        state.expected.push(Expected { args: args.to_vec(), statement, begun, ended });
    }

    /// Compares statements whose intervals are complete.
    pub(super) fn compare(&self, tally: &Tally) {
        let mut state = self.state();
        let read = state.read;
        let (due, later) = std::mem::take(&mut state.expected)
            .into_iter()
            .partition::<Vec<_>, _>(|expected| expected.ended + INTERVALS_LATE < read);
        state.expected = later;
        for expected in due {
            tally.check(&format!("{:?} beside the intervals", expected.args), || {
                compare(&state, &expected, tally);
            });
        }
    }

    /// Waits until all statements are compared.
    pub(super) fn settle(&self, tally: &Tally) {
        crate::run::wait_until("all has been compared", || {
            self.compare(tally);
            thread::sleep(INTERVAL / 10);
            self.state().expected.is_empty()
        });
    }

    /// Calls of all processes since the start, once all calls until now are included.
    pub(super) fn totals(&self) -> Calls {
        let now = self.state().read;
        crate::run::wait_until("the intervals go on", || self.state().read > now + INTERVALS_LATE);
        self.state().totals.clone()
    }

    pub(super) fn end(&self) {
        let mut child = self.child.lock().expect("no panic while it is held");
        assert!(child.try_wait().expect("a child of ours").is_none(), "it has ended by itself");
        // SAFETY: a child of ours that has not been waited for.
        unsafe { libc::kill(child.id().cast_signed(), libc::SIGINT) };
        let asked = Instant::now();
        let status = child.wait().expect("a child of ours");
        assert!(status.success(), "{status}");
        assert!(asked.elapsed() < Duration::from_secs(10), "it took {:?}", asked.elapsed());
    }
}

impl Drop for HostRows {
    fn drop(&mut self) {
        // Only if the soak failed before `end`.
        if let Ok(child) = self.child.get_mut() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Processes and threads made since the host booted.
fn births() -> u64 {
    let stat = std::fs::read_to_string("/proc/stat").expect("/proc");
    let line = stat.lines().find_map(|line| line.strip_prefix("processes "));
    line.and_then(|count| count.parse().ok()).expect("a count of forks")
}

fn compare(state: &State, expected: &Expected, tally: &Tally) {
    let Expected { statement, begun, ended, .. } = expected;
    let first = state.read - state.intervals.len() as u64;
    assert!(begun.intervals >= first, "it took longer than intervals are kept");
    // One before it, should that have been on its way here.
    let from = (begun.intervals.max(first + 1) - 1 - first) as usize;
    let to = ((ended + INTERVALS_LATE - first) as usize).min(state.intervals.len());
    let intervals = || state.intervals.range(from..to);
    let greatest = std::fs::read_to_string("/proc/sys/kernel/pid_max").expect("/proc");
    let ids: u64 = greatest.trim().parse().expect("a number");
    // With more births, an id may be reused. Half of the range, because many ids are in use and are
    // skipped.
    if intervals().any(|interval| interval.births - begun.births.min(interval.births) > ids / 2) {
        Tally::count(&tally.skipped, 1);
        return;
    }
    // The profiler reports overflow, so its rows by process are too low.
    if intervals().any(|interval| interval.without_process > 0) {
        Tally::count(&tally.overflowed, 1);
        return;
    }
    for process in &statement.processes {
        let mut reported = Calls::new();
        for calls in intervals().filter_map(|all| all.by_process.get(&process.pid)) {
            for (name, made) in calls.iter().filter(|(name, _)| process.calls.contains_key(*name)) {
                reported.entry(name.clone()).or_default().add(made);
            }
        }
        let stated = &process.calls;
        assert_eq!(&reported, stated, "process {}, reported and stated", process.pid);
    }
    count_stated(tally, statement);
}

/// Reads each line at once, because the profiler does not drain while it waits for space in the
/// pipe. Another thread parses the lines.
fn take(lines: BufReader<ChildStdout>, to: &mpsc::Sender<String>) {
    for line in lines.lines() {
        if to.send(line.expect("text")).is_err() {
            return;
        }
    }
}

fn read(line: &str, state: &Mutex<State>, tally: &Tally) {
    let mut interval = Interval { births: births(), ..Interval::default() };
    let mut totals = Calls::new();
    match exact(line, tally, Report::parse_interval) {
        None => interval.without_process = 1,
        Some(report) => {
            for row in report.rows {
                let Some(name) = row.name() else { continue };
                totals.entry(name.clone()).or_default().add(&row.made());
                match row.pid {
                    None => interval.without_process += row.calls,
                    Some(pid) => {
                        let of_process = interval.by_process.entry(pid).or_default();
                        of_process.entry(name).or_default().add(&row.made());
                    }
                }
            }
        }
    }
    let mut state = state.lock().expect("no panic while it is held");
    for (name, made) in totals {
        state.totals.entry(name).or_default().add(&made);
    }
    state.intervals.push_back(interval);
    state.read += 1;
    if state.intervals.len() > KEPT {
        state.intervals.pop_front();
    }
}

/// Parses a report. `None` if it reports lost calls on a kernel that can skip programs (Linux 7.1
/// and later).
pub(super) fn exact(json: &str, tally: &Tally, parse: fn(&str) -> Report) -> Option<Report> {
    let lost =
        serde_json::from_str(json).map_or(0, |report: Value| report["lost"].as_u64().unwrap_or(0));
    if lost > 0 && kernel_skips_programs() {
        Tally::count(&tally.lost, lost);
        return None;
    }
    Some(parse(json))
}

pub(super) fn kernel_skips_programs() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("/proc");
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(7), Some(1))
}

/// Calls of a syscall that only workloads make.
pub(super) fn made<'a>(calls: &'a Calls, name: &str) -> Option<&'a Made> {
    calls.get(&format!("x86_64/{name}"))
}
