//! Follows calls until the end, and then prints the report.

use std::{
    collections::{BTreeSet, HashMap},
    time::{Duration, Instant},
};

use profiler_common::stacks::{FIRST_STACK, StackLosses};

use super::{
    output::Output,
    rows::{self, Copies, Summed},
};
use crate::{
    commands::{
        cli::{FlameArgs, FlameWeight},
        destination::Reader,
        error::Error,
        target::Target,
        wait::{self, Events, Sources},
    },
    engine::kernel::{
        Options, Request,
        stacks::{Record, StackCollector, StackOptions},
    },
    launch::{
        command::Prepared,
        interruptible::{End, Interruptible},
        relay::Relay,
        watched::Watched,
    },
    model::{
        nanoseconds,
        stacks::{Sampling, StackProfile, Weight},
    },
    symbols::{ImageId, Symbols, Unread},
};

/// How often records are read.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The least time between two readings.
const REST: Duration = Duration::from_micros(200);

/// How often the processes of all rows are looked at.
const SCAN_EVERY: Duration = Duration::from_millis(250);

/// A scan takes at most this part of the time.
const SCAN_SHARE: u32 = 50;

/// Runs `profiler flame`.
pub(super) fn run(args: &FlameArgs) -> Result<u8, Error> {
    let user = args.user.find()?;
    let mut output = Output::open(args)?;
    // Block the signals before any thread starts, because a thread that does not block them would
    // receive them.
    let mut events = Events::new(!args.command.is_empty())?;
    let pids = args.followed.pid.concat();
    let Target { mut command, watched, scope } =
        Target::prepare(&args.command, pids.clone(), user)?;
    let options = Options::new(scope, &Request::default())?.filtered(args.filters.filter()?);
    let options = StackOptions {
        options,
        weight: match args.weight {
            FlameWeight::Calls => Weight::Calls,
            FlameWeight::Time => Weight::Time,
            FlameWeight::Errors => Weight::Errors,
        },
        slower_ns: args.slower.map_or(0, nanoseconds),
        every: args.every,
        kernel: args.kernel,
        copies: !args.frame_pointers,
        rate: args.rate,
        max_stacks: args.max_stacks,
    };
    let attach = || StackCollector::attach(&options);
    let collector = Interruptible::begin()?.run(|_| End::BySignal, attach)??;
    let mut symbols = Symbols::default();
    let known = command.as_ref().map(Prepared::pid).into_iter().chain(pids);
    known.for_each(|pid| symbols.see(ImageId { pid, image: 0 }));
    if let Some(command) = &mut command {
        command.start()?;
    }
    let now = Instant::now();
    let mut session = Session {
        collector,
        symbols,
        copies: Copies::default(),
        command,
        watched,
        relay: Relay::default(),
        started: now,
        ends: args.followed.duration.map(|duration| now + duration.get()),
        look: now,
        read: now,
        scan: now,
    };
    while session.step(&mut events) {}
    session.end(&mut output, &options, &mut events)
}

struct Session {
    collector: StackCollector,
    symbols: Symbols,
    copies: Copies,
    command: Option<Prepared>,
    watched: Watched,
    relay: Relay,
    started: Instant,
    /// When the time is over.
    ends: Option<Instant>,
    /// When to read next.
    look: Instant,
    /// When records were read last.
    read: Instant,
    /// When to look at the processes of all rows next.
    scan: Instant,
}

impl Session {
    /// Waits for the next event, and handles it. Returns whether to continue.
    fn step(&mut self, events: &mut Events) -> bool {
        let sources = Sources {
            wake: Some(self.collector.wake_fd()),
            deaf_until: Some(self.read + REST),
            output: None,
        };
        match events.next(self.next_deadline(), sources) {
            wait::Event::Signal(received) => {
                if self.command.is_none() || self.relay.take(received, Instant::now()) {
                    return false;
                }
            }
            wait::Event::ReaderGone => return false,
            wait::Event::Wake => self.look = Instant::now(),
            wait::Event::ChildChanged | wait::Event::Deadline => {}
        }
        if let Some(command) = &mut self.command {
            if command.has_ended() {
                return false;
            }
            wait::pass_on(&mut self.relay, command, None);
        }
        let is_over = self.ends.is_some_and(|ends| Instant::now() >= ends);
        if is_over || self.watched.all_ended() {
            return false;
        }
        if Instant::now() >= self.look {
            self.read();
            self.look = Instant::now() + LOOK_EVERY;
        }
        if Instant::now() >= self.scan {
            let started = Instant::now();
            self.see_all();
            self.scan = Instant::now() + SCAN_EVERY.max(started.elapsed() * SCAN_SHARE);
        }
        true
    }

    fn next_deadline(&self) -> Instant {
        [self.ends, self.relay.deadline()].into_iter().flatten().fold(self.look, Instant::min)
    }

    /// Reads what is new, and unwinds the stacks that were copied.
    fn read(&mut self) {
        let Self { collector, symbols, copies, .. } = self;
        let mut copied = Vec::new();
        // First what says which programs have ended: what a process maps now is that of its last one.
        collector.read(|record| match record {
            Record::Copied(copy) => copied.push(copy),
            Record::Exec { pid, image } => {
                let id = ImageId { pid, image };
                symbols.note_exec(id);
                symbols.see(id);
            }
            Record::Fork { pid, image, parent } => {
                symbols.note_fork(ImageId { pid, image }, parent);
            }
        });
        for copy in copied {
            let id = ImageId { pid: copy.key.tgid, image: copy.key.image };
            let registers = (copy.ip, copy.sp, copy.bp);
            if let Some(unwound) = symbols.unwind(id, registers, &copy.memory) {
                copies.add(copy.key, copy.weight, unwound);
            }
        }
        self.read = Instant::now();
    }

    /// Reads what the processes of all rows map, unless that is known.
    fn see_all(&mut self) {
        let keys = self.collector.keys();
        let images: BTreeSet<_> =
            keys.map(|key| ImageId { pid: key.tgid, image: key.image }).collect();
        images.into_iter().for_each(|id| self.symbols.see(id));
    }

    /// Detaches, and prints the report.
    fn end(
        mut self,
        output: &mut Output,
        options: &StackOptions,
        events: &mut Events,
    ) -> Result<u8, Error> {
        let duration = self.started.elapsed();
        self.collector.detach();
        self.read();
        self.see_all();
        self.symbols.refresh();
        let profile = self.profile(options, duration)?;
        let Self { collector, command, relay, .. } = self;
        drop(collector);
        let printed = output.print(&profile, events);
        let code = match command {
            // The command continues unwatched, and the profiler waits for its end.
            Some(command) if matches!(printed, Ok(Reader::Gone)) => {
                wait::for_end(command, relay, events)
            }
            Some(mut command) => command.exit_code(),
            None => 0,
        };
        printed?;
        Ok(code)
    }

    /// The report.
    fn profile(
        &mut self,
        options: &StackOptions,
        duration: Duration,
    ) -> Result<StackProfile, Error> {
        let sampling = match options.every {
            true => Sampling::Every,
            false => Sampling::Rate(options.rate),
        };
        let summed_rows = self.collector.rows();
        let ids: BTreeSet<u64> =
            summed_rows.iter().flat_map(|(key, _)| [key.user, key.kernel]).collect();
        let frames = ids.into_iter().filter(|&id| id >= FIRST_STACK);
        let frames: HashMap<_, _> =
            frames.filter_map(|id| Some((id, self.collector.frames(id)?))).collect();
        let totals = self.collector.totals()?;
        let summed = Summed { rows: summed_rows, frames, totals };
        let how = (options.weight, sampling);
        let rows = rows::all(&summed, &self.copies, &mut self.symbols, how);
        Ok(StackProfile {
            weight: options.weight,
            sampling,
            duration_ns: nanoseconds(duration),
            total: summed.totals.values().map(|total| total.weight).sum(),
            calls: summed.totals.values().map(|total| total.calls).sum(),
            rows,
            remarks: self.remarks(),
        })
    }

    /// What is missing, one sentence each.
    fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        let StackLosses { dropped, unseen, without_frames, notices_dropped } =
            self.collector.losses();
        let Unread { ended, denied, without_space, files, kernel } = self.symbols.unread();
        let mut add = |count: u64, text: &str| {
            if count > 0 {
                remarks.push(format!("{text}: {count}"));
            }
        };
        add(ended, "programs that ended before their mappings were read, so functions lack names");
        add(denied, "processes whose mappings may not be read, which requires CAP_SYS_PTRACE");
        add(without_space, "times that there was no space for a further program");
        add(files, "files that could not be read, so functions lack names");
        add(dropped, "stacks not unwound because the buffer was full; a lower --rate helps");
        add(self.copies.without_space, "stacks not unwound because there are too many");
        add(without_frames, "stacks for which there was no space; a higher --max-stacks helps");
        add(notices_dropped, "execs and forks not noticed because the buffer was full");
        add(unseen, "calls not counted because the table of threads was full");
        let skipped = self.collector.program_misses();
        add(skipped, "times, at most, that the kernel skipped a program and missed a call");
        add(self.collector.malformed(), "malformed records, which are a bug: please report it");
        if kernel {
            remarks.push("the kernel hides its addresses: see kernel.kptr_restrict".into());
        }
        remarks
    }
}
