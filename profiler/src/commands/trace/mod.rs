//! `profiler trace`: prints every call as it happens, with its arguments.

mod heading;
mod json;
mod lines;
#[cfg(test)]
mod lines_tests;
mod order;
mod output;
mod recording;

use std::{
    collections::{BTreeMap, HashSet},
    fmt::Write as _,
    time::{Duration, Instant, SystemTime},
};

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
    target::Target,
    wait::{self, Events, Sources},
};
use crate::{
    decode,
    engine::kernel::{
        Options, Request,
        trace::{DroppedLast, TraceOptions, Tracer},
    },
    inspect,
    launch::{
        command::Prepared,
        interruptible::{End, Interruptible},
        relay::Relay,
        watched::Watched,
    },
    model::{Event, Happened, nanoseconds},
    streams::Stream,
    text::Untrusted,
};

/// How often events are read and printed.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The least time between two readings. The buffer has data nearly all the time if a program is busy,
/// and each reading looks at all threads.
const REST: Duration = Duration::from_millis(5);

/// Threads in the message about events that were left out.
const MOST_LOSERS: usize = 5;

/// Runs `profiler trace`. Returns the exit code, which is that of the command if there is one.
///
/// # Errors
/// If the profiler cannot follow or print.
pub fn run(args: &TraceArgs) -> Result<u8, Error> {
    check(args)?;
    let user = args.user.find()?;
    // Opening a FIFO waits for its reader, and a signal has to end that.
    let now = Start { wall: SystemTime::now(), monotonic_ns: 0 };
    let mut output = Output::open(args, Lines::new(args, now))?;
    // Block the signals before any thread starts, because a thread that does not block them would
    // receive them.
    let with_command = !args.command.is_empty();
    let mut events = match args.last {
        Some(_) => Events::with_requests(with_command)?,
        None => Events::new(with_command)?,
    };
    let pids = args.followed.pid.concat();
    let target = Target::prepare(&args.command, pids.clone(), user)?;
    let Target { mut command, watched, scope } = target;
    let options = Options::new(scope, &Request::default())?.filtered(args.filters.filter()?);
    let options = TraceOptions {
        options,
        string_limit: args.string_limit,
        only_failed: args.failed,
        errnos: args.errno.iter().map(|errno| errno.number().into()).collect(),
        slower_ns: args.slower.map_or(0, nanoseconds),
        files: !args.no_paths,
        ring_bytes: args.buffer.unwrap_or(default_buffer(args)) << 20,
        last: recording::last(args),
    };
    let by_result = args.failed || !args.errno.is_empty() || args.slower.is_some();
    let plan = if args.no_paths { decode::plan } else { decode::plan_with_files };
    let attach = || Tracer::attach(&options, plan);
    let tracer = Interruptible::begin()?.run(|_| End::BySignal, attach)??;
    output.set_start(Start { wall: SystemTime::now(), monotonic_ns: tracer.now_ns() });
    if let Some(command) = &mut command {
        command.start()?;
    }
    let ends = args.followed.duration.map(|duration| Instant::now() + duration.get());
    if args.last.is_some() {
        let session = recording::Session::new(tracer, output, command, watched, ends);
        return session.run(&mut events);
    }
    let mut session = Session {
        tracer,
        order: Order::new(by_result),
        output,
        command,
        watched,
        relay: Relay::default(),
        ends,
        look: Instant::now(),
        read: Instant::now(),
        stopped_ns: u64::MAX,
        losses: Losses::default(),
        malformed: 0,
        dropped: BTreeMap::new(),
    };
    let before = match by_result || options.options.filter.changes() {
        true => Vec::new(),
        false => inspect::calls_in_flight(&pids, plan, args.string_limit),
    };
    let before = before.into_iter().filter(|(key, _)| options.options.filter.counts(*key));
    // A thread that has made a call since is no longer in the call that entered before.
    let reading = session.read();
    let since: HashSet<u32> =
        reading.events.iter().chain(&reading.in_flight).map(|event| event.tid).collect();
    let before = before.filter(|(_, event)| !since.contains(&event.tid));
    let mut before: Vec<_> = before.map(|(_, event)| Step::Begun(event)).collect();
    before.extend(session.order.add(reading));
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

/// The default of `--buffer`, MiB.
fn default_buffer(args: &TraceArgs) -> u32 {
    if args.last.is_some() { 64 } else { 16 }
}

/// Refuses invalid combinations of flags.
fn check(args: &TraceArgs) -> Result<(), Error> {
    args.user.check(&args.command, "for example: profiler trace -u nobody -- ls")?;
    let filters = &args.filters;
    if !(filters.unit.is_empty() && filters.container.is_empty() && filters.pod.is_empty()) {
        return Err(Error::Usage {
            problem: "`profiler trace` does not support --unit, --container and --pod yet",
            hint: "name the cgroup of the unit, container or pod instead, for example: profiler \
                   trace --cgroup /system.slice/nginx.service",
        });
    }
    recording::check(args)?;
    let has_file = args.output.as_ref().is_some_and(|path| path.as_os_str() != "-");
    if args.follow > 1 && !has_file {
        return Err(Error::Usage {
            problem: "-ff requires -o FILE",
            hint: "for example: profiler trace -ff -o out -- make, which writes one file per \
                   thread, out.TID",
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
    /// When to read next.
    look: Instant,
    /// When events were read last.
    read: Instant,
    /// The time after which entries are no longer seen, nanoseconds of `CLOCK_MONOTONIC`.
    stopped_ns: u64,
    /// What is missing so far.
    losses: Losses,
    /// How many records were malformed so far.
    malformed: u64,
    /// The name of each thread of which events were dropped, and how many.
    dropped: BTreeMap<u32, (Untrusted, u64)>,
}

impl Session {
    /// Waits for the next event, and handles it.
    fn step(&mut self, events: &mut Events) -> Result<Next, Error> {
        let sources = Sources {
            wake: Some(self.tracer.wake_fd()),
            deaf_until: Some(self.read + REST),
            output: self.output.descriptor(),
        };
        match events.next(self.next_deadline(), sources) {
            wait::Event::Signal(received) => {
                if self.command.is_none() || self.relay.take(received, Instant::now()) {
                    return Ok(Next::End);
                }
            }
            wait::Event::ReaderGone => return Ok(Next::Unread),
            wait::Event::Wake => self.look = Instant::now(),
            wait::Event::ChildChanged | wait::Event::Deadline => {}
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
        if Instant::now() < self.look {
            return Ok(Next::Wait);
        }
        let reading = self.read();
        self.look = Instant::now() + LOOK_EVERY;
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
        // Entries are no longer seen, so these calls only look denied.
        let stopped_ns = self.stopped_ns;
        events.retain(|event| !left_denied_since(event, stopped_ns));
        self.read = Instant::now();
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
        self.stopped_ns = self.tracer.now_ns();
        self.tracer.stop();
        let mut reading = self.read();
        // A record that was being written may have hidden those behind it.
        let last = self.read();
        reading.events.extend(last.events);
        reading.in_flight = last.in_flight;
        let in_flight = self.order.shown_in_flight(&reading);
        let steps = self.order.finish(reading);
        let printed = self.print(&steps, events);
        let printed = printed.and_then(|_| self.output.finish(&in_flight, events));
        for DroppedLast { tid, records, .. } in self.tracer.dropped_last() {
            self.dropped.entry(tid).or_default().1 += u64::from(records);
        }
        let Self { tracer, command, dropped, losses, malformed, .. } = self;
        let skipped = tracer.program_misses().iter().map(|(_, skipped)| skipped).sum();
        drop(tracer);
        tell_losses(&Missing { losses, malformed, skipped }, &dropped)?;
        printed?;
        Ok(command.map_or(0, |mut command| command.exit_code()))
    }

    /// Ends without printing, because the reader is gone or, with `failure`, the output cannot be
    /// written. A command continues unwatched, and the profiler waits for its end.
    fn end_unread(self, events: &mut Events, failure: Option<Error>) -> Result<u8, Error> {
        let Self { tracer, command, relay, .. } = self;
        drop(tracer);
        wait::end_unwatched(command, relay, events, failure)
    }
}

/// Whether the event is a call that entered before the profiler attached.
fn entered_before(event: &Event) -> bool {
    matches!(&event.happened, Happened::Call(call) if call.entry_ns.is_none() && !call.is_denied)
}

/// Whether the event is a call that looks denied and left at this time or later.
fn left_denied_since(event: &Event, since_ns: u64) -> bool {
    matches!(&event.happened, Happened::Call(call)
        if call.is_denied && call.left.is_some_and(|left| left.exit_ns >= since_ns))
}

fn note_dropped(all: &mut BTreeMap<u32, (Untrusted, u64)>, event: &Event) {
    let of = all.entry(event.tid).or_insert_with(|| (event.comm.clone(), 0));
    of.1 += event.dropped;
}

/// What is missing.
struct Missing {
    losses: Losses,
    /// How many records were malformed.
    malformed: u64,
    /// How often, at most, the kernel skipped a program, because the CPU was already running it.
    skipped: u64,
}

/// Says what is missing, if anything is. `threads` are those of which events were left out.
fn tell_losses(missing: &Missing, threads: &BTreeMap<u32, (Untrusted, u64)>) -> Result<(), Error> {
    let &Missing { losses, malformed, skipped } = missing;
    let mut text = String::new();
    // Writing to a `String` cannot fail.
    if losses.dropped > 0 {
        let _ = writeln!(
            text,
            "profiler: {} events were dropped, because the buffer was full{}\n  to drop fewer, write \
             to a file with -o, increase --buffer, or select calls with --syscall",
            losses.dropped,
            of_threads(threads),
        );
    }
    if losses.unseen > 0 {
        let _ = writeln!(
            text,
            "profiler: {} calls were dropped, because the table of threads was full\n  follow fewer \
             processes, by -p, --comm or --cgroup",
            losses.unseen
        );
    }
    if losses.without_data > 0 {
        let _ = writeln!(
            text,
            "profiler: {} calls are shown without strings and structures, because there are more \
             threads than there is space for\n  follow fewer processes, by -p, --comm or --cgroup",
            losses.without_data
        );
    }
    if skipped > 0 {
        let _ = writeln!(
            text,
            "profiler: the kernel skipped the profiler's programs up to {skipped} times, so as many \
             events may be missing"
        );
    }
    if malformed > 0 {
        let _ = writeln!(
            text,
            "profiler: {malformed} events could not be decoded; this is a bug: please report it"
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
