//! Watches processes, and says which calls they made.

use std::time::{Duration, Instant, SystemTime};

use crate::{
    aggregate::KeepEnded,
    commands::{
        cli::WatchArgs,
        error::Error,
        target::Target,
        wait::{self, Event, Events, Sources},
    },
    engine::{
        Cadence, Engine as _,
        kernel::{Options, Profiler, Request},
    },
    launch::{
        command::Prepared,
        interruptible::{End, Interruptible},
        relay::Relay,
    },
    model::{Detail, Snapshot, Timed, nanoseconds},
    present::origin::exact_time,
    seccomp::Observation,
    streams::Stream,
    text::{self, Untrusted},
};

/// How often the calls are read, so that an observation says when a call was seen first and last.
const READ_EVERY: Duration = Duration::from_millis(100);

/// How often to check whether the processes of `-p` have ended.
const POLL_PIDS: Duration = Duration::from_millis(100);

/// What was watched.
pub(super) struct Outcome {
    /// The calls.
    pub(super) observation: Observation,
    /// The last snapshot, with all processes.
    pub(super) snapshot: Snapshot,
    /// The exit code of the command; 0 without one.
    pub(super) code: u8,
}

/// Watches what the flags say, until the command or the processes end, the time is over, or a signal
/// arrives.
///
/// # Errors
/// If the profiler cannot watch.
pub(super) fn watch(args: &WatchArgs) -> Result<Outcome, Error> {
    args.user.check(&args.command, "for example: profiler seccomp generate -u nobody -- ls")?;
    let user = args.user.find()?;
    let mut events = Events::new(!args.command.is_empty())?;
    let target = Target::prepare(&args.command, args.pid.concat(), user)?;
    let Target { mut command, watched, scope } = target;
    let request = Request { timed: Timed::None, ..Request::default() };
    let options = Options::new(scope, &request)?.filtered(args.filters.filter()?);
    let options = Options { command: command.as_ref().map(Prepared::pid), ..options };
    let attach = || Profiler::attach(&options, KeepEnded::Always);
    let mut profiler = Interruptible::begin()?.run(|_| End::BySignal, attach)??;
    for warning in profiler.warnings() {
        Stream::Error.print(format!("profiler: {warning}\n").as_bytes())?;
    }
    let mut observation = Observation::default();
    observation.watched.what = what(args);
    observation.watched.began = exact_time(SystemTime::now());
    observation.watched.ran_before = command.is_none();
    if let Some(command) = &mut command {
        command.start()?;
    }
    let (started, mut relay) = (Instant::now(), Relay::default());
    let mut cadence = Cadence::new(started);
    let ends = args.duration.map(|duration| started + duration.get());
    let mut read = started;
    let has_ended = loop {
        let poll = (!args.pid.is_empty()).then(|| Instant::now() + POLL_PIDS);
        let due = [ends, relay.deadline(), poll, Some(cadence.due()), Some(read + READ_EVERY)];
        let deadline = due.into_iter().flatten().min().unwrap_or(started);
        let sources = Sources {
            wake: profiler.wake_fd(),
            deaf_until: Some(cadence.deaf_until()),
            output: None,
        };
        if let Event::Signal(received) = events.next(deadline, sources)
            && (command.is_none() || relay.take(received, Instant::now()))
        {
            break false;
        }
        if let Some(command) = &mut command {
            if command.has_ended() {
                break true;
            }
            wait::pass_on(&mut relay, command, profiler.signals_sent());
        }
        if watched.all_ended() {
            break true;
        }
        let now = Instant::now();
        if ends.is_some_and(|ends| now >= ends) {
            break false;
        }
        if now >= read + READ_EVERY {
            let snapshot = profiler.snapshot(Detail::Calls);
            cadence.was_read(now, Instant::now());
            observation.add(&snapshot, nanoseconds(started.elapsed()));
            read = now;
        }
    };
    profiler.stop();
    let time_ns = nanoseconds(started.elapsed());
    let snapshot = profiler.finish(Detail::Processes);
    observation.add(&snapshot, time_ns);
    let made_calls = snapshot.processes.iter().filter(|row| !row.calls.is_empty());
    observation.watched.processes = u64::try_from(made_calls.count()).unwrap_or(u64::MAX);
    // A child can outlive the command.
    observation.watched.ran_after = !has_ended || !snapshot.in_flight.calls.is_empty();
    let code = command.map_or(0, |mut command| command.exit_code());
    Ok(Outcome { observation, snapshot, code })
}

/// What is watched, for people.
fn what(args: &WatchArgs) -> String {
    let filters = &args.filters;
    let mut words: Vec<String> = Vec::new();
    let named = |words: &mut Vec<String>, flag: &str, values: Vec<String>| {
        if !values.is_empty() {
            words.push(format!("{flag} {}", values.join(",")));
        }
    };
    named(&mut words, "-p", args.pid.concat().iter().map(u32::to_string).collect());
    named(&mut words, "--unit", filters.unit.iter().map(ToString::to_string).collect());
    named(&mut words, "--container", filters.container.iter().map(ToString::to_string).collect());
    named(&mut words, "--pod", filters.pod.iter().map(ToString::to_string).collect());
    let cgroups = filters.cgroup.concat();
    named(
        &mut words,
        "--cgroup",
        cgroups.iter().map(|path| text::path(path).to_string()).collect(),
    );
    named(&mut words, "--comm", filters.comm.concat().iter().map(ToString::to_string).collect());
    if let Some(program) = args.command.first() {
        // The arguments of a command can contain secrets.
        words.push(format!("the command {}", Untrusted::from(program.as_os_str())));
    }
    if words.is_empty() {
        words.push("the host".to_owned());
    }
    words.join(" ")
}
