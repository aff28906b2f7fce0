//! `profiler stat`: count for a while, then print.

mod command;
mod output;
mod wait;

use std::time::{Duration, Instant};

use crate::{
    aggregate::KeepEnded,
    cli::{Grouping, StatArgs},
    drain::Profiler,
    error::Error,
    export::{OwnCost, Report},
    filter::Filter,
    kernel::{Options, Scope},
    rows::{self, Span},
    snapshot::{Cost, Detail, Snapshot},
    watched::Watched,
};
use command::Prepared;
use output::Output;
use wait::{Event, Events};

/// Between two readings of the maps while nothing is to be printed: often enough
/// that short-lived processes give their room back.
const READ_EVERY: Duration = Duration::from_secs(1);

/// Least time between two readings that the kernel side asks for: where room runs low
/// and stays so, it asks at every thread that begins.
const LEAST_GAP: Duration = Duration::from_millis(20);

/// Runs `profiler stat`; the exit code is the command's, if there is one.
///
/// # Errors
/// Whatever keeps it from measuring or printing.
pub fn run(args: &StatArgs) -> Result<u8, Error> {
    // Everything that can fail without the kernel side comes before it.
    let output = Output::open(args)?;
    // Before any thread, which would take the signals instead.
    let mut events = Events::new()
        .map_err(|errno| Error::Io { context: "cannot watch for signals", source: errno.into() })?;
    let mut prepared = match args.command.split_first() {
        Some((program, arguments)) => Some(Prepared::new(program, arguments)?),
        None => None,
    };
    let watched = Watched::new(&args.pid)?;
    let scope = match (&prepared, args.pid.is_empty()) {
        (Some(command), _) => Scope::Processes(vec![command.pid()]),
        (None, false) => Scope::Processes(args.pid.clone()),
        (None, true) => Scope::Host,
    };
    let filter = Filter::new(&args.filters)?;
    let options = Options::new(scope, &args.kernel)?.filtered(filter);
    let options = Options { time_programs: args.own_cost, ..options };
    // An interval shows what came in it, so of what ended before it nothing is to be kept.
    let keep = match args.interval {
        Some(_) => KeepEnded::Intervals(0),
        None => KeepEnded::Always,
    };
    let profiler = Profiler::attach(&options, keep)?;
    if let Some(command) = &mut prepared {
        command.start()?;
    }
    let mut session = Session {
        args,
        options,
        profiler,
        output,
        started: Instant::now(),
        interval_started: Instant::now(),
        command: prepared,
        watched,
        signals: 0,
        last_read: Instant::now(),
        cost_before: None,
    };
    while session.step(&mut events)? {}
    session.end()
}

struct Session<'a> {
    args: &'a StatArgs,
    options: Options,
    profiler: Profiler,
    output: Output,
    started: Instant,
    interval_started: Instant,
    command: Option<Prepared>,
    watched: Watched,
    signals: u32,
    last_read: Instant,
    /// What the profiler had cost when this was printed last.
    cost_before: Option<Cost>,
}

impl Session<'_> {
    /// Waits for the next thing to do, and does it; false when it was the last.
    fn step(&mut self, events: &mut Events) -> Result<bool, Error> {
        let deaf_until = self.last_read + LEAST_GAP;
        match events.next(self.next_deadline(), self.profiler.wake_fd(), deaf_until) {
            Event::Signal { signal, from_terminal } => {
                self.signals += 1;
                match &self.command {
                    // The command decides what becomes of it; who insists gets the table.
                    Some(command) if self.signals == 1 => {
                        if !from_terminal {
                            command.signal(signal);
                        }
                    }
                    _ => return Ok(false),
                }
            }
            Event::ChildChanged | Event::Wake | Event::Deadline => {}
        }
        if self.command.as_mut().is_some_and(Prepared::has_ended) {
            return Ok(false);
        }
        if self.watched.all_ended() {
            return Ok(false);
        }
        if self.args.duration.is_some_and(|d| self.started.elapsed() >= d) {
            return Ok(false);
        }
        match self.args.interval {
            Some(interval) if self.interval_started.elapsed() >= interval => {
                // Intervals that were missed, as by a stop, make one.
                while self.interval_started.elapsed() >= interval {
                    self.interval_started += interval;
                }
                let snapshot = self.profiler.drain(self.detail());
                self.print(snapshot, Span::Recent, true)?;
            }
            _ => self.profiler.read(),
        }
        self.last_read = Instant::now();
        Ok(true)
    }

    fn next_deadline(&self) -> Instant {
        let read = Instant::now() + if self.args.pid.is_empty() { READ_EVERY } else { POLL_PIDS };
        let end = self.args.duration.map(|d| self.started + d);
        let interval = self.args.interval.map(|i| self.interval_started + i);
        [end, interval].into_iter().flatten().fold(read, Instant::min)
    }

    fn detail(&self) -> Detail {
        match self.args.by {
            Grouping::Syscall => Detail::Calls,
            Grouping::Process | Grouping::ProcessSyscall => Detail::Processes,
        }
    }

    fn print(&mut self, snapshot: Snapshot, span: Span, more_follow: bool) -> Result<(), Error> {
        let before = self.cost_before.as_ref();
        let of = (self.args, &self.options);
        print(&mut self.output, of, &snapshot, before, span, more_follow)?;
        self.cost_before = Some(snapshot.health.cost);
        Ok(())
    }

    fn end(mut self) -> Result<u8, Error> {
        self.profiler.stop();
        let detail = self.detail();
        let span = if self.args.interval.is_some() { Span::Recent } else { Span::Total };
        let Self { args, options, profiler, mut output, cost_before, command, .. } = self;
        let snapshot = profiler.finish(detail);
        print(&mut output, (args, &options), &snapshot, cost_before.as_ref(), span, false)?;
        Ok(command.map_or(0, |mut command| command.exit_code()))
    }
}

/// `before`: what the profiler had cost before the interval. `more_follow`: as time passes,
/// and not the last.
fn print(
    output: &mut Output,
    (args, options): (&StatArgs, &Options),
    snapshot: &Snapshot,
    before: Option<&Cost>,
    span: Span,
    more_follow: bool,
) -> Result<(), Error> {
    let cost = &snapshot.health.cost;
    let spent = before.map_or_else(|| cost.since_attached(), |before| cost.since(before));
    output.print(&Report {
        rows: &rows::rows(snapshot, args.by, span, args.sort),
        by: args.by,
        window: span.length(snapshot),
        health: &snapshot.health,
        in_flight: &snapshot.in_flight,
        own: args.own_cost.then_some(OwnCost { spent: &spent, cpus: snapshot.cpus }),
        scope: &options.scope,
        filter: &options.filter,
        more_follow,
    })
}

/// How soon the end of a process that was named is noticed.
const POLL_PIDS: Duration = Duration::from_millis(100);
