//! `profiler stat`: counts syscalls for a time, then prints a report.

mod budget;
mod hints;
mod output;

use std::{
    os::fd::AsFd as _,
    time::{Duration, Instant, SystemTime},
};

use super::{
    cli::{Format, StatArgs},
    destination::Reader,
    error::Error,
    target::Target,
    wait::{self, Event, Events, Sources},
};
use crate::{
    aggregate::KeepEnded,
    budget::Verdict,
    decode::targets,
    duration::Interval,
    engine::{
        Cadence, Engine as _, Intervals,
        kernel::{Options, Profiler},
    },
    launch::{
        command::Prepared,
        interruptible::{End, Interruptible},
        relay::Relay,
        watched::Watched,
    },
    model::{Cost, Detail, Dimension, Snapshot, Span},
    present::{OwnCost, Report, failures, operations, origin::Origin, shown::Shown},
    streams::Stream,
};
pub use budget::BudgetError;
use budget::Budgets;
use output::Output;

/// Runs `profiler stat`. Returns the exit code, which is that of the command if there is one.
///
/// # Errors
/// If the profiler cannot count or print.
pub fn run(args: &StatArgs) -> Result<u8, Error> {
    // First do everything that can fail without the kernel side.
    check(args)?;
    let user = args.user.find()?;
    let output = Output::open(args)?;
    // Block the signals before any thread starts, because a thread that does not block them would
    // receive them.
    let mut events = Events::new(!args.command.is_empty())?;
    let target = Target::prepare(&args.command, args.pid.concat(), user)?;
    let Target { command: mut prepared, watched, scope } = target;
    let filter = args.filters.filter()?;
    let options = Options::new(scope, &args.kernel.request())?.filtered(filter);
    let budgets = Budgets::open(args, &options.filter, options.timed)?;
    let command = prepared.as_ref().map(Prepared::pid);
    let users = args.by.has(Dimension::User);
    let cgroups = args.by.is_by_cgroup();
    let targets = args.paths.show_paths.then(targets::plans);
    let options =
        Options { time_programs: args.own_cost, command, users, cgroups, targets, ..options };
    // An interval shows only its own calls, so processes that ended before it need not be listed.
    let keep = match args.interval {
        Some(interval) => KeepEnded::For(interval.get()),
        None => KeepEnded::Always,
    };
    let attach = || Profiler::attach(&options, keep);
    let mut profiler = Interruptible::begin()?.run(|_| End::BySignal, attach)??;
    profiler.set_detail(detail(args, &options));
    for warning in profiler.warnings() {
        Stream::Error.print(format!("profiler: {warning}\n").as_bytes())?;
    }
    // Before the command starts, because a short command may end before the next line runs.
    let origin = Origin::here(&args.command);
    if let Some(command) = &mut prepared {
        command.start()?;
    }
    hints::at_start(args);
    let mut session = Session {
        args,
        shown: args.shown.shown(args.sort),
        options,
        budgets,
        profiler,
        intervals: Intervals::default(),
        output,
        started: Instant::now(),
        interval_started: Instant::now(),
        command: prepared,
        watched,
        relay: Relay::default(),
        cadence: Cadence::new(Instant::now()),
        cost_before: None,
        origin,
    };
    loop {
        match session.step(&mut events) {
            Ok(Next::Wait) => {}
            Ok(Next::Report) => return session.end(&mut events),
            Ok(Next::Unread) => return session.end_unread(&mut events, None),
            Err(error) => return session.end_unread(&mut events, Some(error)),
        }
    }
}

/// Refuses invalid combinations of flags.
fn check(args: &StatArgs) -> Result<(), Error> {
    args.user.check(&args.command, "for example: profiler stat -u nobody -- ls")?;
    if args.shown.buckets && args.format != Format::Json {
        return Err(Error::Usage {
            problem: "--buckets requires --format json",
            hint: "for example: profiler stat --buckets --format json -a -d 5s",
        });
    }
    Ok(())
}

/// The next step after an event.
enum Next {
    /// Wait for the next event.
    Wait,
    /// End, and print the report.
    Report,
    /// End without a report, because the reader is gone.
    Unread,
}

struct Session<'a> {
    args: &'a StatArgs,
    shown: Shown,
    options: Options,
    budgets: Budgets,
    profiler: Profiler,
    intervals: Intervals,
    output: Output,
    started: Instant,
    interval_started: Instant,
    command: Option<Prepared>,
    watched: Watched,
    relay: Relay,
    cadence: Cadence,
    /// The cost of the profiler at the last report.
    cost_before: Option<Cost>,
    /// The origin of the next report.
    origin: Origin,
}

impl Session<'_> {
    /// Waits for the next event, and handles it.
    fn step(&mut self, events: &mut Events) -> Result<Next, Error> {
        let sources = Sources {
            wake: self.profiler.wake_fd(),
            deaf_until: Some(self.cadence.deaf_until()),
            output: Some(self.output.as_fd()),
        };
        match events.next(self.next_deadline(), sources) {
            // The signal is passed on to the command. A second interrupt ends the run with a
            // report.
            Event::Signal(received) => {
                if self.command.is_none() || self.relay.take(received, Instant::now()) {
                    return Ok(Next::Report);
                }
            }
            Event::ReaderGone => return Ok(Next::Unread),
            Event::ChildChanged | Event::Wake | Event::Deadline => {}
        }
        if let Some(command) = &mut self.command {
            if command.has_ended() {
                return Ok(Next::Report);
            }
            wait::pass_on(&mut self.relay, command, self.profiler.signals_sent());
        }
        if self.watched.all_ended() {
            return Ok(Next::Report);
        }
        if self.args.duration.is_some_and(|d| self.started.elapsed() >= d.get()) {
            return Ok(Next::Report);
        }
        match self.args.interval.map(Interval::get) {
            Some(interval) if self.interval_started.elapsed() >= interval => {
                self.interval_started = latest_start(self.interval_started, interval);
                self.origin.end = SystemTime::now();
                let started = Instant::now();
                let snapshot = self.profiler.snapshot(self.detail());
                self.cadence.was_read(started, Instant::now());
                let snapshot = self.intervals.end_with(snapshot);
                if self.print(snapshot, events)? == Reader::Gone {
                    return Ok(Next::Unread);
                }
            }
            _ => {
                let started = Instant::now();
                self.profiler.read();
                self.cadence.was_read(started, Instant::now());
            }
        }
        Ok(Next::Wait)
    }

    fn next_deadline(&self) -> Instant {
        let poll = (!self.args.pid.is_empty()).then(|| Instant::now() + POLL_PIDS);
        let end = self.args.duration.map(|d| self.started + d.get());
        let interval = self.args.interval.map(|i| self.interval_started + i.get());
        let relay = self.relay.deadline();
        [end, interval, relay, poll].into_iter().flatten().fold(self.cadence.due(), Instant::min)
    }

    fn detail(&self) -> Detail {
        detail(self.args, &self.options)
    }

    /// Prints an interval.
    fn print(&mut self, snapshot: Snapshot, events: &mut Events) -> Result<Reader, Error> {
        let before = self.cost_before.as_ref();
        let origin = &self.origin;
        let span = Span::Recent;
        let report =
            Printed { origin, snapshot: &snapshot, before, span, verdict: None, more_follow: true };
        let of = (self.args, &self.shown, &self.options);
        let reader = print((&mut self.output, events), of, &report)?;
        self.cost_before = Some(snapshot.health.cost);
        self.origin.start = self.origin.end;
        Ok(reader)
    }

    fn end(mut self, events: &mut Events) -> Result<u8, Error> {
        if self.output.reader() == Reader::Gone {
            return self.end_unread(events, None);
        }
        self.origin.end = SystemTime::now();
        self.profiler.stop();
        let detail = self.detail();
        let span = if self.args.interval.is_some() { Span::Recent } else { Span::Total };
        let Self {
            args,
            shown,
            options,
            mut budgets,
            profiler,
            mut intervals,
            mut output,
            cost_before,
            mut command,
            origin,
            ..
        } = self;
        let snapshot = profiler.finish(detail);
        let snapshot = match span {
            Span::Recent => intervals.end_with(snapshot),
            Span::Total => snapshot,
        };
        let before = cost_before.as_ref();
        let origin = &origin;
        let has_ended = command.as_mut().is_none_or(Prepared::has_ended);
        let verdict = budgets.verdict(&snapshot, has_ended);
        let verdict = verdict.as_ref();
        let report =
            Printed { origin, snapshot: &snapshot, before, span, verdict, more_follow: false };
        print((&mut output, events), (args, &shown, &options), &report)?;
        budgets.write(args, &snapshot)?;
        hints::at_end(args, &options.filter.comms, &snapshot);
        let code = command.map_or(0, |mut command| command.exit_code());
        let Some(verdict) = verdict else { return Ok(code) };
        budgets.tell(verdict);
        Ok(if verdict.is_met() { code } else { budget::EXCEEDED })
    }

    /// Ends without a report, because the reader is gone or, with `failure`, the output cannot be
    /// written. A command continues unwatched, and the profiler waits for its end.
    fn end_unread(self, events: &mut Events, failure: Option<Error>) -> Result<u8, Error> {
        let Self { profiler, command, relay, budgets, .. } = self;
        drop(profiler);
        let code = command.map_or(0, |command| wait::for_end(command, relay, events));
        failure.map_or_else(|| Ok(budgets.unchecked().unwrap_or(code)), Err)
    }
}

/// The detail of the snapshots that the report requires.
fn detail(args: &StatArgs, options: &Options) -> Detail {
    // The names of processes show which names of `--comm` were seen.
    let by_name = !options.filter.comms.is_empty();
    args.by.detail().max(if by_name || args.paths.show_paths {
        Detail::Processes
    } else {
        Detail::Calls
    })
}

/// The start of the current interval. Missed intervals, for example while the process was stopped,
/// are joined.
fn latest_start(mut start: Instant, interval: Duration) -> Instant {
    let missed = start.elapsed().as_nanos() / interval.as_nanos().max(1);
    if let Some(passed) = u32::try_from(missed).ok().and_then(|n| interval.checked_mul(n)) {
        start += passed;
    }
    start
}

/// The inputs of a report, in addition to the snapshot.
struct Printed<'a> {
    origin: &'a Origin,
    snapshot: &'a Snapshot,
    /// The cost of the profiler before the interval.
    before: Option<&'a Cost>,
    span: Span,
    /// The verdict on the budget.
    verdict: Option<&'a Verdict>,
    /// Whether further intervals follow.
    more_follow: bool,
}

fn print(
    (output, events): (&mut Output, &mut Events),
    (args, shown, options): (&StatArgs, &Shown, &Options),
    printed: &Printed<'_>,
) -> Result<Reader, Error> {
    let &Printed { origin, snapshot, before, span, verdict, more_follow } = printed;
    let cost = &snapshot.health.cost;
    let spent = before.map_or_else(|| cost.since_attached(), |before| cost.since(before));
    let (rows, hidden) = shown.rows(snapshot, args.by, span);
    let operations = operations::rows(&snapshot.io_uring.rows, args.by, span);
    let failures = if args.paths.show_paths {
        failures::sums(snapshot, args.by, shown, span)
    } else {
        Vec::new()
    };
    let report = Report {
        origin,
        rows: &rows,
        hidden: &hidden,
        shown,
        by: args.by,
        window: span.length(snapshot),
        health: &snapshot.health,
        in_flight: &snapshot.in_flight,
        operations: &operations,
        coverage: &snapshot.io_uring.coverage,
        failures: &failures,
        failure_coverage: snapshot.failures.coverage,
        security_modules: snapshot.failures.modules.as_deref(),
        own: args.own_cost.then_some(OwnCost { spent: &spent, cpus: snapshot.cpus }),
        scope: &options.scope,
        filter: &options.filter,
        verdict,
        more_follow,
    };
    output.print(&report, events)
}

/// How often to check whether the processes of `-p` have ended.
const POLL_PIDS: Duration = Duration::from_millis(100);
