//! `profiler explain`: says what a process is doing now, what it waits for, and who could end the
//! wait.

mod failures;
pub(super) mod page;
mod watch;

use std::{
    io,
    os::fd::AsFd as _,
    path::Path,
    time::{Duration, Instant},
};

use super::{
    cli::{ExplainProcessArgs, PageFormat},
    destination::{Destination, Reader},
    error::Error,
    wait::{Event, Events, Sources},
};
use crate::{
    environment,
    inspect::{self, Failure, Patience, Reading},
    launch::{
        LaunchError,
        interruptible::{End, Interruptible},
        watched::Watched,
    },
    model::{Explanation, ProcessProfile, TaskState, Unknown},
    present::explain,
    streams,
};
use watch::Watch;

/// Where the kernel describes processes.
const PROC: &str = "/proc";

/// How often events are read.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Runs `profiler explain`.
///
/// # Errors
/// If there is no such process, or the page cannot be printed.
pub fn run(args: &ExplainProcessArgs) -> Result<u8, Error> {
    let output = Destination::open(args.output.as_deref(), false)?;
    // Block the signals before any thread starts, because a thread that does not block them would
    // receive them.
    let mut events = Events::new(false)?;
    let mut patience = Patience::default();
    let proc = Path::new(PROC);
    let failed = |failure| failed(failure, args.id);
    let pid = inspect::process_of(proc, args.id, &mut patience).map_err(failed)?;
    let first = Reading::take(proc, pid, &mut patience).map_err(failed)?;
    let mut unknown = Vec::new();
    let watched = Watched::new(&[pid]).ok();
    let mut watch = None;
    if !args.no_watch && can_be_watched(&first, watched.as_ref()) {
        let attach = || Watch::attach(pid);
        match Interruptible::begin()?.run(|_| End::BySignal, attach)? {
            Ok((attached, missing)) => {
                watch = Some(attached);
                unknown.extend(missing);
            }
            Err(missing) => unknown.push(missing),
        }
        let ends = Instant::now() + args.duration.get();
        if wait(ends, &mut watch, watched.as_ref(), (&output, &mut events)) == Reader::Gone {
            return Ok(0);
        }
    }
    let thread = (pid != args.id).then_some(args.id);
    let mut explanation = finish(proc, &first, thread, watch, &mut patience);
    explanation.unknown.extend(unknown);
    print(&explanation, args.format, &output, &mut events)
}

fn failed(failure: Failure, id: u32) -> Error {
    match failure {
        Failure::Gone => LaunchError::NoSuchProcess(id).into(),
        Failure::TimedOut => Error::Io {
            context: "cannot read the process from /proc within 1 s",
            source: io::ErrorKind::TimedOut.into(),
        },
    }
}

/// Whether the process makes syscalls: it runs, and is no thread of the kernel.
fn can_be_watched(first: &Reading, watched: Option<&Watched>) -> bool {
    !first.process.is_kernel_thread && !watched.is_some_and(Watched::all_ended)
}

/// Watches the process until the time is over, the process ends, or a signal arrives.
fn wait(
    ends: Instant,
    watch: &mut Option<Watch>,
    watched: Option<&Watched>,
    (output, events): (&Destination, &mut Events),
) -> Reader {
    loop {
        let now = Instant::now();
        if now >= ends || watched.is_some_and(Watched::all_ended) {
            return Reader::Present;
        }
        let sources = Sources { output: Some(output.as_fd()), ..Sources::default() };
        match events.next(ends.min(now + LOOK_EVERY), sources) {
            Event::Signal(_) => return Reader::Present,
            Event::ReaderGone => return Reader::Gone,
            Event::ChildChanged | Event::Wake | Event::Deadline => {}
        }
        if let Some(watch) = watch {
            watch.look();
        }
    }
}

/// Reads the process again, and explains it. If it has ended, the first reading is explained.
fn finish(
    proc: &Path,
    first: &Reading,
    thread: Option<u32>,
    watch: Option<Watch>,
    patience: &mut Patience,
) -> Explanation {
    let pid = first.process.pid;
    // Without a pause, a second reading says nothing new.
    let now = if first.taken.is_some_and(|taken| taken.elapsed() > LOOK_EVERY / 10) {
        Reading::take(proc, pid, patience)
    } else {
        Ok(first.clone())
    };
    let seen = watch.map(Watch::finish);
    // A process that has ended stays as a zombie until its parent reads its exit status.
    let has_ended =
        |of: &Reading| of.process.state == TaskState::ZOMBIE && !of.process.leader_has_ended;
    let now = now.ok().filter(|now| has_ended(first) || !has_ended(now));
    let Some(now) = now else {
        let mut explanation =
            inspect::explain(proc, first, thread, &page::same_calls(first, first), patience);
        explanation.has_ended = true;
        explanation.profile = seen.map(|seen| seen.profile);
        return explanation;
    };
    let ages = page::ages(first, &now, seen.as_ref());
    let mut explanation = inspect::explain(proc, &now, thread, &ages, patience);
    let mut profile = seen.map(|seen| seen.profile);
    if let Some(cpu) = page::cpu_use(first, &now) {
        profile.get_or_insert_with(ProcessProfile::default).cpu = Some(cpu);
    }
    explanation.profile = profile;
    if thread.is_some_and(|tid| !now.threads.iter().any(|thread| thread.tid == tid)) {
        let what = "what the thread does";
        explanation.unknown.push(Unknown { what, why: "the thread has ended".to_owned() });
    }
    explanation
}

fn print(
    explanation: &Explanation,
    format: PageFormat,
    output: &Destination,
    events: &mut Events,
) -> Result<u8, Error> {
    let mut text = Vec::new();
    match format {
        PageFormat::Json => explain::write_json(&mut text, explanation),
        PageFormat::Text => explain::write(&mut text, explanation),
    }
    .map_err(|source| output.failed(source))?;
    if format == PageFormat::Text {
        let page =
            String::from_utf8(text).map_err(|error| output.failed(io::Error::other(error)))?;
        let page = match output {
            Destination::File(..) => streams::unstyled(&page),
            Destination::Stream(stream) => stream.styled(&page).into_owned(),
        };
        text = environment::in_locale(&page).as_bytes().to_vec();
    }
    output.write(&text, events)?;
    Ok(0)
}
