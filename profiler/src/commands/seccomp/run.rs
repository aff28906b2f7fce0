//! `profiler seccomp run`: runs a command under a profile, and prints each call that is denied.

use std::{
    fmt::Write as _,
    io,
    time::{Duration, Instant},
};

use super::{check, files};
use crate::{
    aggregate::KeepEnded,
    commands::{
        cli::RunArgs,
        error::Error,
        style,
        wait::{self, Events, Sources},
    },
    decode,
    engine::{
        Engine as _,
        kernel::{
            KernelError, Options, Profiler, Request,
            trace::{TraceOptions, Tracer},
        },
    },
    launch::{
        command::Prepared,
        interruptible::{End, Interruptible},
        relay::Relay,
    },
    model::{Detail, Event, Happened, Scope, Timed},
    present::seccomp::write_denied,
    seccomp::compile,
    streams::Stream,
};

/// How often events are read and printed.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Bytes of a string that are shown.
const STRING_LIMIT: u32 = 64;

/// The exit code of a command that SIGSYS ended.
const KILLED_BY_SECCOMP: u8 = 128 + 31;

/// Runs `profiler seccomp run`. Returns the exit code of the command.
///
/// # Errors
/// If the profile cannot be used, or the profiler cannot watch or print.
pub(super) fn run(args: &RunArgs) -> Result<u8, Error> {
    let profile = files::profile(&args.profile)?;
    let container = files::container(&args.cap);
    let filters = compile(&profile, &container);
    let filters = filters.map_err(|error| files::cannot_compile(&args.profile, &error))?;
    let user = args.user.find()?;
    let mut events = Events::new(true)?;
    let Some((program, arguments)) = args.command.split_first() else {
        return Err(Error::Usage {
            problem: "no command to run",
            hint: "for example: profiler seccomp run app.json -- ./app",
        });
    };
    let mut command = Prepared::confined(program, arguments, user, filters)?;
    let scope = Scope::Processes(vec![command.pid()]);
    let request = Request { timed: Timed::None, ..Request::default() };
    let options = Options::new(scope, &request)?;
    // Calls that fail include those that seccomp refuses with an errno. A call that ends its process
    // has no event: it is only counted.
    let traced = TraceOptions {
        options: options.clone(),
        only_failed: true,
        string_limit: STRING_LIMIT,
        ..TraceOptions::default()
    };
    let attach = || {
        let profiler = Profiler::attach(&options, KeepEnded::Always)?;
        Ok::<_, KernelError>((profiler, Tracer::attach(&traced, decode::plan_with_files)?))
    };
    let (mut profiler, mut tracer) = Interruptible::begin()?.run(|_| End::BySignal, attach)??;
    command.start()?;
    let mut relay = Relay::default();
    let lost = loop {
        let look = Instant::now() + LOOK_EVERY;
        let deadline = relay.deadline().map_or(look, |due| due.min(look));
        let sources = Sources { wake: Some(tracer.wake_fd()), deaf_until: None, output: None };
        if let wait::Event::Signal(received) = events.next(deadline, sources) {
            relay.take(received, Instant::now());
        }
        // Before the events are read, so that none of the command is missed.
        let has_ended = command.has_ended();
        wait::pass_on(&mut relay, &command, None);
        let mut batch = Vec::new();
        let read = tracer.read(&mut batch);
        let mut text = String::new();
        for event in &batch {
            tell_denied(event, &mut text);
        }
        Stream::Error.tell(&text)?;
        profiler.read();
        if has_ended {
            break read.losses.dropped + read.losses.unseen;
        }
    };
    drop(tracer);
    let snapshot = profiler.finish(Detail::Processes);
    let rows = check::denied(&profile, &container, &snapshot, |figures| figures.denied);
    let lost = lost + snapshot.health.lost() + snapshot.health.unseen;
    let (stream, mut text) = (Stream::Error, Vec::new());
    let code = command.exit_code();
    if rows.is_empty() && code == KILLED_BY_SECCOMP {
        stream.tell(
            "\nA signal SIGSYS ended the command, as a profile does. This kernel does not say in \
             which call: `profiler seccomp generate --deny errno` makes a profile that does.\n",
        )?;
        return Ok(code);
    }
    stream.outcome(write_denied(&mut text, &rows, lost, style::of(stream)))?;
    let text = String::from_utf8(text).map_err(|e| stream.failed(io::Error::other(e)))?;
    stream.tell(&text)?;
    Ok(code)
}

/// Adds the line of a denied call to `text`.
fn tell_denied(event: &Event, text: &mut String) {
    let Happened::Call(call) = &event.happened else { return };
    if !call.is_denied {
        return;
    }
    let string_limit = usize::try_from(STRING_LIMIT).unwrap_or(usize::MAX);
    let style = decode::Style { string_limit, with_files: true, ..decode::Style::default() };
    let decoded = decode::decode(call, &style);
    // Writing to a `String` cannot fail.
    let _ = writeln!(
        text,
        "profiler: denied: {} {} {} {}",
        event.tgid,
        event.comm,
        decoded.call_text(),
        decoded.result_text()
    );
}
