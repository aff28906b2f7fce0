//! `profiler trace --last N`: prints nothing until something happens, and then the last calls of each
//! thread of the process.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    time::{Duration, Instant},
};

use profiler_common::trace::Losses;

use super::{
    Missing, Next, REST, entered_before,
    heading::{Heading, Reason},
    order::Step,
    output::Output,
    tell_losses,
};
use crate::{
    commands::{
        cli::{Occasion, TraceArgs},
        destination::Reader,
        error::Error,
        wait::{self, Events, REQUEST, Sources},
    },
    engine::kernel::trace::{At, Last, Recording, Report, Tracer},
    launch::{command::Prepared, relay::Relay, watched::Watched},
    model::{Event, Happened},
    streams::Stream,
};

/// How often to check whether the trace is over.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How often to check whether all threads of a process that fails have ended.
const CHECK_EVERY: Duration = Duration::from_millis(5);

/// How long the threads of a process that fails may take to end. Then the calls in which they hang
/// are printed as calls in flight.
const DEATH: Duration = Duration::from_secs(1);

/// What to keep, as the flags say it; `None` without `--last`.
pub(super) fn last(args: &TraceArgs) -> Option<Last> {
    let calls = args.last?;
    let by_call = args.failed || !args.errno.is_empty() || args.slower.is_some();
    let is_default = args.on.is_empty() && !by_call;
    Some(Last { calls, failures: is_default || args.on.contains(&Occasion::Exit) })
}

/// Refuses invalid combinations of flags.
pub(super) fn check(args: &TraceArgs) -> Result<(), Error> {
    if args.last.is_some() && args.follow > 1 {
        return Err(Error::Usage {
            problem: "--last and -ff cannot be combined",
            hint: "--last prints the calls of all threads of a process together: use -o FILE",
        });
    }
    Ok(())
}

/// A process that fails.
struct Failing {
    since: Instant,
    reports: Vec<Report>,
}

/// A flight recorder that runs.
pub(super) struct Session {
    pub(super) tracer: Tracer,
    pub(super) output: Output,
    pub(super) command: Option<Prepared>,
    pub(super) watched: Watched,
    /// When the time is over.
    pub(super) ends: Option<Instant>,
    relay: Relay,
    /// When reports were read last.
    read: Instant,
    /// The processes that fail, by id.
    failing: BTreeMap<u32, Failing>,
    /// The processes whose failure was printed, by id, and when.
    failed: BTreeMap<u32, Instant>,
}

impl Session {
    /// A flight recorder that has just attached.
    pub(super) fn new(
        tracer: Tracer,
        output: Output,
        command: Option<Prepared>,
        watched: Watched,
        ends: Option<Instant>,
    ) -> Self {
        Self {
            tracer,
            output,
            command,
            watched,
            ends,
            relay: Relay::default(),
            read: Instant::now(),
            failing: BTreeMap::new(),
            failed: BTreeMap::new(),
        }
    }

    /// Runs until the end. Returns the exit code.
    ///
    /// # Errors
    /// If the output cannot be written.
    pub(super) fn run(mut self, events: &mut Events) -> Result<u8, Error> {
        loop {
            match self.step(events) {
                Ok(Next::Wait) => {}
                Ok(Next::End) => return self.end(events),
                Ok(Next::Unread) => return self.end_unread(events, None),
                Err(error) => return self.end_unread(events, Some(error)),
            }
        }
    }

    /// Waits for the next event, and handles it.
    fn step(&mut self, events: &mut Events) -> Result<Next, Error> {
        let sources = Sources {
            wake: Some(self.tracer.wake_fd()),
            deaf_until: Some(self.read + REST),
            output: self.output.descriptor(),
        };
        let mut is_requested = false;
        match events.next(self.next_deadline(), sources) {
            wait::Event::Signal(received) if received.signal == REQUEST => is_requested = true,
            wait::Event::Signal(received) => {
                if self.command.is_none() || self.relay.take(received, Instant::now()) {
                    return Ok(Next::End);
                }
            }
            wait::Event::ReaderGone => return Ok(Next::Unread),
            wait::Event::Wake | wait::Event::ChildChanged | wait::Event::Deadline => {}
        }
        if let Some(command) = &mut self.command {
            if command.has_ended() {
                return Ok(Next::End);
            }
            wait::pass_on(&mut self.relay, command, None);
        }
        let is_over = self.ends.is_some_and(|ends| Instant::now() >= ends);
        if is_over || self.watched.all_ended() {
            return Ok(Next::End);
        }
        let mut reader = self.print_reports(events, false)?;
        if is_requested && reader == Reader::Present {
            reader = self.print_all(events, |process, at_ns| Reason::Request(process, at_ns))?;
        }
        match reader {
            Reader::Present => Ok(Next::Wait),
            Reader::Gone => Ok(Next::Unread),
        }
    }

    fn next_deadline(&self) -> Instant {
        let wait = if self.failing.is_empty() { LOOK_EVERY } else { CHECK_EVERY };
        let look = Instant::now() + wait;
        [self.ends, self.relay.deadline()].into_iter().flatten().fold(look, Instant::min)
    }

    /// Reads the reports, and prints the recordings of their processes. A process that fails is
    /// printed when all of its threads have ended. If `is_end`, it is printed now.
    fn print_reports(&mut self, events: &mut Events, is_end: bool) -> Result<Reader, Error> {
        let mut reports = Vec::new();
        self.tracer.read_reports(&mut reports);
        self.read = Instant::now();
        let mut of_calls: BTreeMap<u32, Vec<Report>> = BTreeMap::new();
        for report in reports {
            let tgid = report.event.tgid;
            if !matches!(report.event.happened, Happened::Ended { .. }) {
                of_calls.entry(tgid).or_default().push(report);
                continue;
            }
            let new = || Failing { since: self.read, reports: Vec::new() };
            self.failing.entry(tgid).or_insert_with(new).reports.push(report);
        }
        for (tgid, reports) in of_calls {
            let recording = self.recording(tgid, At::Reports(&reports));
            if self.print(Reason::Reports(&reports), &recording, events)? == Reader::Gone {
                return Ok(Reader::Gone);
            }
        }
        self.failed.retain(|_, at| at.elapsed() < DEATH);
        let is_due = |tgid: u32, failing: &Failing| {
            is_end || failing.since.elapsed() >= DEATH || !self.tracer.has_recorded_threads(tgid)
        };
        let due = self.failing.iter().filter(|(tgid, failing)| is_due(**tgid, failing));
        let due: Vec<u32> = due.map(|(tgid, _)| *tgid).collect();
        for tgid in due {
            let Some(Failing { reports, .. }) = self.failing.remove(&tgid) else { continue };
            let mut recording = self.recording(tgid, At::End);
            let unrecorded = reports.iter().filter(|report| report.is_of_unrecorded_thread());
            recording.unrecorded_threads += unrecorded.count();
            // Threads without a ring can end after the others.
            let is_empty = recording.events.is_empty() && recording.in_flight.is_empty();
            if self.failed.insert(tgid, Instant::now()).is_some() && is_empty {
                continue;
            }
            // The first thread that ended stands for the process.
            let first = reports.get(..1).unwrap_or_default();
            if self.print(Reason::Reports(first), &recording, events)? == Reader::Gone {
                return Ok(Reader::Gone);
            }
        }
        Ok(Reader::Present)
    }

    /// Prints the last calls of all processes that run.
    fn print_all(
        &mut self,
        events: &mut Events,
        reason: impl Fn(&Event, u64) -> Reason<'_>,
    ) -> Result<Reader, Error> {
        let at_ns = self.tracer.now_ns();
        for tgid in self.tracer.recorded_processes() {
            let recording = self.recording(tgid, At::Time(at_ns));
            let all = || recording.events.iter().chain(&recording.in_flight);
            let leader = all().find(|event| event.tid == event.tgid);
            // Nothing is new.
            let Some(process) = leader.or_else(|| all().next()) else { continue };
            if self.print(reason(process, at_ns), &recording, events)? == Reader::Gone {
                return Ok(Reader::Gone);
            }
        }
        Ok(Reader::Present)
    }

    fn recording(&mut self, tgid: u32, at: At<'_>) -> Recording {
        let mut recording = self.tracer.recording(tgid, at);
        // Before the command runs, its process waits for the profiler.
        if let Some(command) = &self.command {
            recording.events.retain(|event| event.tid != command.pid() || !entered_before(event));
        }
        recording
    }

    fn print(
        &mut self,
        reason: Reason<'_>,
        recording: &Recording,
        events: &mut Events,
    ) -> Result<Reader, Error> {
        let heading = Heading { reason, recording };
        self.output.print_recording(&heading, steps(recording), events)
    }

    fn end(mut self, events: &mut Events) -> Result<u8, Error> {
        if self.output.reader() == Reader::Gone {
            return self.end_unread(events, None);
        }
        let printed = self.print_reports(events, true).and_then(|reader| match reader {
            Reader::Present => self.print_all(events, |process, at_ns| Reason::End(process, at_ns)),
            Reader::Gone => Ok(reader),
        });
        let Self { tracer, command, .. } = self;
        let skipped = tracer.program_misses().iter().map(|(_, skipped)| skipped).sum();
        let (losses, malformed) = (tracer.losses(), tracer.malformed());
        drop(tracer);
        tell_missing(Missing { losses, malformed, skipped })?;
        printed?;
        Ok(command.map_or(0, |mut command| command.exit_code()))
    }

    /// Ends without printing: see [`super::Session::end_unread`].
    fn end_unread(self, events: &mut Events, failure: Option<Error>) -> Result<u8, Error> {
        let Self { tracer, command, relay, .. } = self;
        drop(tracer);
        wait::end_unwatched(command, relay, events, failure)
    }
}

/// The steps of a recording, in the order in which calls entered.
fn steps(recording: &Recording) -> Vec<Step> {
    let left = recording.events.iter().map(|event| match event {
        event if entered_before(event) => Step::Resumed(event.clone()),
        event => Step::Whole(event.clone()),
    });
    let in_flight = recording.in_flight.iter().map(|event| Step::Begun(event.clone()));
    let mut steps: Vec<_> = left.chain(in_flight).collect();
    // Stable, so that events of the same time keep the order in which they were recorded.
    steps.sort_by_key(|step| entered_ns(step.event()));
    steps
}

/// When a call entered, or when another event happened.
fn entered_ns(event: &Event) -> u64 {
    match &event.happened {
        Happened::Call(call) => call.entry_ns.or(call.over_ns()).unwrap_or(0),
        Happened::Signal(signal) => signal.at_ns,
        Happened::Ended { at_ns, .. } => *at_ns,
    }
}

/// Says what is missing, if anything is.
fn tell_missing(missing: Missing) -> Result<(), Error> {
    let Losses { dropped, unrecorded, threads_without_ring, .. } = missing.losses;
    let mut text = String::new();
    // Writing to a `String` cannot fail.
    if dropped > 0 {
        let _ = writeln!(
            text,
            "profiler: {dropped} events at which calls are printed were dropped, because the \
             profiler was too slow\n  select fewer events with --errno, --slower or --syscall"
        );
    }
    if unrecorded > 0 {
        let _ = writeln!(
            text,
            "profiler: {unrecorded} calls of {threads_without_ring} threads were not recorded, because \
             there are more threads than there is memory for\n  increase --buffer, decrease --last, or \
             follow fewer processes, by -p, --comm or --cgroup"
        );
    }
    Stream::Error.tell(&text)?;
    let losses = Losses { dropped: 0, ..missing.losses };
    tell_losses(&Missing { losses, ..missing }, &BTreeMap::new())
}
