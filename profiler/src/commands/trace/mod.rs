//! `profiler trace`: prints every call as it happens, with its arguments.

mod before;
mod json;
mod lines;
#[cfg(test)]
mod lines_tests;
mod order;
mod output;

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    time::{Duration, Instant, SystemTime},
};

use nix::errno::Errno;
use profiler_common::trace::Losses;

use self::{
    lines::{Lines, Start},
    order::{Order, Reading, Step},
    output::Output,
};
use super::{
    cli::TraceArgs,
    destination::Reader,
    error::Error,
    wait::{self, Events, Sources},
};
use crate::{
    decode,
    engine::kernel::{
        Options, Request,
        trace::{DroppedLast, TraceOptions, Tracer},
    },
    launch::{
        command::Prepared,
        interruptible::{End, Interruptible},
        relay::Relay,
        user::User,
        watched::Watched,
    },
    model::{Event, Happened, Scope},
    streams::Stream,
    text::Untrusted,
};

/// How often events are read and printed.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The same if events come fast: the buffer must not fill up until the next reading.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// More events in a reading mean that they come fast. The buffer has space for some 80,000.
const BUSY: usize = 10_000;

/// Threads in the message about events that were left out.
const MOST_LOSERS: usize = 5;

/// Runs `profiler trace`. Returns the exit code, which is that of the command if there is one.
///
/// # Errors
/// If the profiler cannot follow or print.
pub fn run(args: &TraceArgs) -> Result<u8, Error> {
    check(args)?;
    let user = args.user.as_deref().map(User::find).transpose()?;
    // Block the signals before any thread starts, because a thread that does not block them would
    // receive them.
    let failed =
        |errno: Errno| Error::Io { context: "cannot watch for signals", source: errno.into() };
    let mut events = Events::new(!args.command.is_empty()).map_err(failed)?;
    let mut command = match args.command.split_first() {
        Some((program, arguments)) => Some(Prepared::new(program, arguments, user)?),
        None => None,
    };
    let pids = args.pid.concat();
    let watched = Watched::new(&pids)?;
    let scope = match (&command, pids.is_empty()) {
        (Some(command), _) => Scope::Processes(vec![command.pid()]),
        (None, false) => Scope::Processes(pids.clone()),
        (None, true) => Scope::Host,
    };
    let options = Options::new(scope, &Request::default())?.filtered(args.filters.filter()?);
    let options = TraceOptions {
        options,
        string_limit: args.string_limit,
        only_failed: args.failed,
        errnos: args.errno.iter().map(|errno| errno.number().into()).collect(),
        slower_ns: args.slower.map_or(0, |time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)),
        files: !args.no_paths,
        ring_bytes: args.buffer << 20,
    };
    let by_result = args.failed || !args.errno.is_empty() || args.slower.is_some();
    let plan = if args.no_paths { decode::plan } else { decode::plan_with_files };
    let attach = || Tracer::attach(&options, plan);
    let tracer = Interruptible::begin()?.run(|_| End::BySignal, attach)??;
    let start = Start { wall: SystemTime::now(), monotonic_ns: tracer.now_ns() };
    let output = Output::open(args, Lines::new(args, start))?;
    if let Some(command) = &mut command {
        command.start()?;
    }
    let mut session = Session {
        tracer,
        order: Order::new(by_result),
        output,
        command,
        watched,
        relay: Relay::default(),
        ends: args.duration.map(|duration| Instant::now() + duration.get()),
        polls: !args.pid.is_empty(),
        look: Instant::now(),
        losses: Losses::default(),
        malformed: 0,
        dropped: BTreeMap::new(),
    };
    let before = match by_result || options.options.filter.changes() {
        true => Vec::new(),
        false => before::calls_in_flight(&pids, plan, args.string_limit),
    };
    let before = before.into_iter().filter(|(key, _)| options.options.filter.counts(*key));
    let before: Vec<_> = before.map(|(_, event)| Step::Begun(event)).collect();
    if session.print(&before, &mut events)? == Reader::Gone {
        return session.end_unread(&mut events, None);
    }
    loop {
        match session.step(&mut events) {
            Ok(Next::Wait) => {}
            Ok(Next::End) => return session.end(&mut events),
            Ok(Next::Unread) => return session.end_unread(&mut events, None),
            Err(error) => return session.end_unread(&mut events, Some(error)),
        }
    }
}

/// Refuses invalid combinations of flags.
fn check(args: &TraceArgs) -> Result<(), Error> {
    if args.user.is_some() && args.command.is_empty() {
        return Err(Error::Usage {
            problem: "--user requires a command",
            hint: "for example: profiler trace -u nobody -- ls",
        });
    }
    let filters = &args.filters;
    if !(filters.unit.is_empty() && filters.container.is_empty() && filters.pod.is_empty()) {
        return Err(Error::Usage {
            problem: "`profiler trace` does not support --unit, --container and --pod yet",
            hint: "name the cgroup of the unit, container or pod instead, for example: profiler \
                   trace --cgroup /system.slice/nginx.service",
        });
    }
    let has_file = args.output.as_ref().is_some_and(|path| path.as_os_str() != "-");
    if args.follow > 1 && !has_file {
        return Err(Error::Usage {
            problem: "-ff requires a file",
            hint: "for example: profiler trace -ff -o out -- make, which writes out.PID",
        });
    }
    Ok(())
}

/// The next step after an event.
enum Next {
    /// Wait for the next event.
    Wait,
    /// End.
    End,
    /// End without printing, because the reader is gone.
    Unread,
}

struct Session {
    tracer: Tracer,
    order: Order,
    output: Output,
    command: Option<Prepared>,
    watched: Watched,
    relay: Relay,
    /// When the time is over.
    ends: Option<Instant>,
    /// Whether processes are watched that are not children of the profiler.
    polls: bool,
    /// When to read next.
    look: Instant,
    /// What is missing so far.
    losses: Losses,
    /// How many records were malformed so far.
    malformed: u64,
    /// The name of each thread of which events were left out, and how many.
    dropped: BTreeMap<u32, (Untrusted, u64)>,
}

impl Session {
    /// Waits for the next event, and handles it.
    fn step(&mut self, events: &mut Events) -> Result<Next, Error> {
        let sources = Sources { output: self.output.descriptor(), ..Sources::default() };
        match events.next(self.next_deadline(), sources) {
            wait::Event::Signal(received) => {
                if self.command.is_none() || self.relay.take(received, Instant::now()) {
                    return Ok(Next::End);
                }
            }
            wait::Event::ReaderGone => return Ok(Next::Unread),
            wait::Event::ChildChanged | wait::Event::Wake | wait::Event::Deadline => {}
        }
        if let Some(command) = &mut self.command {
            if command.has_ended() {
                return Ok(Next::End);
            }
            let due = self.relay.due(Instant::now(), |_, _, _| None);
            due.into_iter().for_each(|signal| command.signal(signal));
        }
        let is_over = self.ends.is_some_and(|ends| Instant::now() >= ends);
        if is_over || self.polls && self.watched.all_ended() {
            return Ok(Next::End);
        }
        if Instant::now() < self.look {
            return Ok(Next::Wait);
        }
        let reading = self.read();
        let is_busy = reading.events.len() > BUSY;
        self.look = Instant::now() + if is_busy { LOOK_AGAIN } else { LOOK_EVERY };
        let steps = self.order.add(reading);
        match self.print(&steps, events)? {
            Reader::Present => Ok(Next::Wait),
            Reader::Gone => Ok(Next::Unread),
        }
    }

    fn next_deadline(&self) -> Instant {
        [self.ends, self.relay.deadline()].into_iter().flatten().fold(self.look, Instant::min)
    }

    /// Reads what is new.
    fn read(&mut self) -> Reading {
        let mut events = Vec::new();
        let read = self.tracer.read(&mut events);
        // Before the command runs, its process waits for the profiler.
        if let Some(command) = &self.command {
            events.retain(|event| event.tid != command.pid() || !entered_before(event));
        }
        self.losses = read.losses;
        self.malformed = read.malformed;
        Reading { events, in_flight: read.in_flight, horizon_ns: read.horizon_ns }
    }

    fn print(&mut self, steps: &[Step], events: &mut Events) -> Result<Reader, Error> {
        for step in steps {
            let event = step.event();
            if event.dropped > 0 && !matches!(step, Step::Begun(_)) {
                note_dropped(&mut self.dropped, event);
            }
        }
        self.output.print(steps, events)
    }

    fn end(mut self, events: &mut Events) -> Result<u8, Error> {
        if self.output.reader() == Reader::Gone {
            return self.end_unread(events, None);
        }
        self.tracer.stop();
        let reading = self.read();
        let in_flight = self.order.shown_in_flight(&reading);
        let steps = self.order.finish(reading);
        self.print(&steps, events)?;
        self.output.finish(&in_flight, events)?;
        for DroppedLast { tid, records, .. } in self.tracer.dropped_last() {
            self.dropped.entry(tid).or_default().1 += u64::from(records);
        }
        let Self { tracer, command, dropped, losses, malformed, .. } = self;
        drop(tracer);
        tell_losses(&losses, malformed, &dropped)?;
        Ok(command.map_or(0, |mut command| command.exit_code()))
    }

    /// Ends without printing, because the reader is gone or, with `failure`, the output cannot be
    /// written. A command continues unwatched, and the profiler waits for its end.
    fn end_unread(self, events: &mut Events, failure: Option<Error>) -> Result<u8, Error> {
        let Self { tracer, command, relay, .. } = self;
        drop(tracer);
        let code = command.map_or(0, |command| wait::for_end(command, relay, events));
        failure.map_or(Ok(code), Err)
    }
}

/// Whether the event is a call that entered before the profiler attached.
fn entered_before(event: &Event) -> bool {
    matches!(&event.happened, Happened::Call(call) if call.entry_ns.is_none() && !call.is_denied)
}

fn note_dropped(all: &mut BTreeMap<u32, (Untrusted, u64)>, event: &Event) {
    let of = all.entry(event.tid).or_insert_with(|| (event.comm.clone(), 0));
    of.1 += event.dropped;
}

/// Says what is missing, if anything is.
fn tell_losses(
    losses: &Losses,
    malformed: u64,
    threads: &BTreeMap<u32, (Untrusted, u64)>,
) -> Result<(), Error> {
    let mut text = String::new();
    // Writing to a `String` cannot fail.
    if losses.dropped > 0 {
        let _ = writeln!(
            text,
            "profiler: {} events were left out, because they came faster than they could be \
             printed{}\n  -o FILE, a larger --buffer or a filter such as --syscall helps",
            losses.dropped,
            of_threads(threads),
        );
    }
    if losses.unseen > 0 {
        let _ = writeln!(
            text,
            "profiler: {} calls were left out, because there are too many threads to follow",
            losses.unseen
        );
    }
    if losses.without_data > 0 {
        let _ = writeln!(
            text,
            "profiler: {} calls are shown without their memory, because too many threads are in \
             a call at the same time",
            losses.without_data
        );
    }
    if malformed > 0 {
        let _ = writeln!(
            text,
            "profiler: {malformed} events could not be read; this is a bug of the profiler"
        );
    }
    Ok(Stream::Error.tell(&text)?)
}

/// The threads of which most events were left out.
fn of_threads(threads: &BTreeMap<u32, (Untrusted, u64)>) -> String {
    let mut most: Vec<_> = threads.iter().collect();
    most.sort_by_key(|(_, (_, dropped))| std::cmp::Reverse(*dropped));
    let named = most.iter().take(MOST_LOSERS).map(|(tid, (comm, dropped))| {
        if *comm == Untrusted::default() {
            format!("{dropped} of thread {tid}")
        } else {
            format!("{dropped} of thread {tid} ({comm})")
        }
    });
    let named: Vec<_> = named.collect();
    match named.is_empty() {
        true => String::new(),
        false if most.len() > MOST_LOSERS => format!(": {}, and others", named.join(", ")),
        false => format!(": {}", named.join(", ")),
    }
}
