//! Watches a process for a while: counts its syscalls, and traces those that fail.

use std::time::Instant;

use super::failures::{Counter, PATH_BYTES};
use crate::{
    aggregate::KeepEnded,
    decode,
    engine::{
        Cadence, Engine as _,
        kernel::{
            KernelError, Options, Profiler, Request,
            trace::{TraceOptions, Tracer},
        },
    },
    model::{
        CallLine, CallProfile, CallRow, Detail, ErrorLine, Event, Figures, Happened,
        ProcessProfile, Scope, Snapshot, ThreadInFlight, Unknown, nanoseconds,
    },
    names::{errnos, syscalls, waits::waits_by_nature},
};

/// Syscalls that are listed.
const MOST_CALLS: usize = 12;

/// Errors that are listed.
const MOST_ERRORS: usize = 12;

/// Kernel memory for failed calls that were not read yet, bytes.
const RING_BYTES: u32 = 4 << 20;

/// Attached programs.
pub(super) struct Watch {
    pid: u32,
    profiler: Profiler,
    cadence: Cadence,
    tracer: Option<Tracer>,
    failures: Counter,
    /// When counting began, nanoseconds of `CLOCK_MONOTONIC`. Earlier calls were traced, and not
    /// counted.
    counts_from_ns: u64,
}

/// What was seen.
pub(super) struct Seen {
    pub(super) profile: ProcessProfile,
    /// The oldest calls in flight.
    pub(super) in_flight: Vec<ThreadInFlight>,
    /// The calls in flight that entered after the attach.
    pub(super) traced: Vec<Event>,
    /// The time of these, nanoseconds of `CLOCK_MONOTONIC`.
    pub(super) now_ns: u64,
}

impl Watch {
    /// Attaches to a process. Also returns what cannot be seen, and why.
    ///
    /// # Errors
    /// If nothing can be seen.
    pub(super) fn attach(pid: u32) -> Result<(Self, Vec<Unknown>), Unknown> {
        let mut unknown = Vec::new();
        // The tracer first, so that each failed call that is counted was traced.
        let tracer = tracer(pid);
        let profiler = match profiler(pid, true) {
            Ok(profiler) => profiler,
            Err(why @ KernelError::Privilege { .. }) => return Err(unseen(&why)),
            Err(why) => {
                // The programs that split times require more than the others.
                let profiler = profiler(pid, false).map_err(|error| unseen(&error))?;
                unknown.push(Unknown { what: "time on a CPU and waiting", why: explained(&why) });
                profiler
            }
        };
        for warning in profiler.warnings() {
            unknown.push(Unknown { what: "some figures", why: warning.clone() });
        }
        let counts_from_ns = tracer.as_ref().map_or(0, Tracer::now_ns);
        let tracer = match tracer {
            Ok(tracer) => Some(tracer),
            Err(why) => {
                unknown.push(Unknown { what: "the paths of failed calls", why: explained(&why) });
                None
            }
        };
        let cadence = Cadence::new(Instant::now());
        let failures = Counter::default();
        Ok((Self { pid, profiler, cadence, tracer, failures, counts_from_ns }, unknown))
    }

    /// Reads what is new, so that no table fills up.
    pub(super) fn look(&mut self) {
        self.read_traced();
        let started = Instant::now();
        if self.cadence.due() <= started {
            self.profiler.read();
            self.cadence.was_read(started, Instant::now());
        }
    }

    /// Reads traced calls. Returns those in flight.
    fn read_traced(&mut self) -> (Vec<Event>, u64) {
        let Some(tracer) = &mut self.tracer else { return (Vec::new(), 0) };
        let mut events = Vec::new();
        let read = tracer.read(&mut events);
        // Children are watched too.
        for event in events.iter().filter(|event| event.tgid == self.pid) {
            if let Happened::Call(call) = &event.happened
                && call.over_ns().is_some_and(|over| over >= self.counts_from_ns)
            {
                self.failures.add(call);
            }
        }
        (read.in_flight, read.losses.dropped + read.losses.unseen + read.malformed)
    }

    /// Reads what is left, and detaches.
    pub(super) fn finish(mut self) -> Seen {
        let (mut traced, dropped) = self.read_traced();
        let now_ns = self.tracer.as_ref().map_or(0, Tracer::now_ns);
        traced.retain(|event| event.tgid == self.pid);
        let snapshot = self.profiler.snapshot(Detail::Processes);
        let mut profile = ProcessProfile {
            window_ns: nanoseconds(snapshot.window),
            calls: Some(calls(&snapshot, self.pid)),
            ..ProcessProfile::default()
        };
        profile.failures = self.tracer.is_some().then(|| self.failures.finish(dropped));
        let mut in_flight = snapshot.in_flight.oldest;
        in_flight.retain(|thread| thread.process.tgid == Some(self.pid));
        Seen { profile, in_flight, traced, now_ns }
    }
}

fn profiler(pid: u32, off_cpu: bool) -> Result<Profiler, KernelError> {
    let request = Request { off_cpu, ..Request::default() };
    let options = Options::new(Scope::Processes(vec![pid]), &request)?;
    Profiler::attach(&options, KeepEnded::Always)
}

fn tracer(pid: u32) -> Result<Tracer, KernelError> {
    let options = TraceOptions {
        options: Options::new(Scope::Processes(vec![pid]), &Request::default())?,
        string_limit: PATH_BYTES,
        only_failed: true,
        ring_bytes: RING_BYTES,
        ..TraceOptions::default()
    };
    Tracer::attach(&options, decode::plan_with_files)
}

fn unseen(error: &KernelError) -> Unknown {
    Unknown { what: "the syscalls of the last seconds", why: explained(error) }
}

/// An error with what the user can do, in one line.
fn explained(error: &KernelError) -> String {
    match error.hint() {
        Some(hint) => format!("{error}; {}", hint.replace('\n', " ")),
        None => error.to_string(),
    }
}

/// The syscalls of a process.
fn calls(snapshot: &Snapshot, pid: u32) -> CallProfile {
    let of_process = snapshot.processes.iter().filter(|row| row.process.tgid == Some(pid));
    let mut rows: Vec<&CallRow> = of_process.flat_map(|row| row.calls.iter()).collect();
    // Calls that wait by nature are last, because their time says little.
    rows.sort_by_key(|row| {
        let waits = waits_by_nature(row.key);
        (waits, std::cmp::Reverse((row.total.estimated_total_ns(), row.total.calls)))
    });
    let sum: Figures = rows.iter().map(|row| &row.total).collect();
    let mut by_errno: Vec<ErrorLine> = rows.iter().flat_map(|row| errors(row)).collect();
    by_errno.sort_by_key(|line| std::cmp::Reverse(line.count));
    by_errno.truncate(MOST_ERRORS);
    rows.retain(|row| row.total.calls > 0 || row.total.left() > 0);
    CallProfile {
        calls: sum.calls,
        errors: sum.errors,
        omitted: rows.len().saturating_sub(MOST_CALLS),
        rows: rows.iter().take(MOST_CALLS).map(|row| line(row)).collect(),
        by_errno,
        is_split: snapshot.health.off_cpu,
        lost: sum.lost + snapshot.health.lost(),
    }
}

fn line(row: &CallRow) -> CallLine {
    let figures = &row.total;
    CallLine {
        syscall: syscalls::name_with_abi(row.key),
        calls: figures.calls,
        errors: figures.errors,
        total_ns: figures.estimated_total_ns(),
        on_cpu_ns: figures.estimated_on_cpu_ns(),
        waiting_ns: figures.estimated_waiting_ns(),
        runnable_ns: figures.estimated_runnable_ns(),
        max_ns: figures.max_ns(),
        waits_by_nature: waits_by_nature(row.key),
    }
}

fn errors(row: &CallRow) -> impl Iterator<Item = ErrorLine> {
    let syscall = syscalls::name_with_abi(row.key);
    row.total.errnos.iter().map(move |&(errno, count)| ErrorLine {
        syscall: syscall.clone(),
        errno: errnos::name(errno).into_owned(),
        count,
    })
}
