//! Where the lines go: a stream, a file, or a file per thread.

use std::{
    collections::{HashMap, hash_map::Entry},
    fs::File,
    io::Write as _,
    os::fd::{AsFd as _, BorrowedFd},
    path::{Path, PathBuf},
};

use super::{
    heading::Heading,
    lines::{Lines, Start},
    order::Step,
};
use crate::{
    commands::{
        cli::TraceArgs,
        destination::{self, Destination, Reader},
        error::Error,
        wait::Events,
    },
    model::{Event, Happened},
    streams::OutputError,
};

/// An open destination, and the lines that go there.
pub(super) enum Output {
    /// All threads print to one place.
    One(Destination, Lines),
    /// Each thread prints to a file of its own: this path, and the id of the thread.
    PerThread {
        /// The path without the id.
        path: PathBuf,
        /// Lines as they begin for each thread.
        new: Lines,
        /// The threads that have a file.
        threads: HashMap<u32, Lines>,
    },
}

impl Output {
    /// Sets the clocks when the profiler started to follow.
    pub(super) fn set_start(&mut self, start: Start) {
        match self {
            Self::One(_, lines) | Self::PerThread { new: lines, .. } => lines.set_start(start),
        }
    }

    /// Opens the file that the flags name, or a stream.
    ///
    /// # Errors
    /// [`Error::Output`].
    pub(super) fn open(args: &TraceArgs, lines: Lines) -> Result<Self, Error> {
        match &args.output {
            Some(path) if args.follow > 1 => {
                Ok(Self::PerThread { path: path.clone(), new: lines, threads: HashMap::new() })
            }
            path => {
                let to = Destination::open(path.as_deref(), !args.command.is_empty())?;
                Ok(Self::One(to, lines))
            }
        }
    }

    /// Prints these steps. A signal ends the wait for a reader that does not read.
    ///
    /// # Errors
    /// [`Error::Output`]. It is not an error if the reader closed its end.
    pub(super) fn print(&mut self, steps: &[Step], events: &mut Events) -> Result<Reader, Error> {
        match self {
            Self::One(to, lines) => {
                let mut text = Vec::new();
                steps.iter().for_each(|step| lines.write(step, &mut text));
                Ok(to.write(&text, events)?)
            }
            Self::PerThread { path, new, threads } => {
                let mut texts: HashMap<u32, Vec<u8>> = HashMap::new();
                for step in steps {
                    let tid = step.event().tid;
                    let lines = match threads.entry(tid) {
                        Entry::Occupied(known) => known.into_mut(),
                        Entry::Vacant(first) => {
                            // The file may be that of a run before.
                            destination::create(&file_of(path, tid))?;
                            first.insert(new.clone())
                        }
                    };
                    let text = texts.entry(tid).or_default();
                    lines.write(step, text);
                    if matches!(step.event().happened, Happened::Ended { .. }) {
                        lines.finish(&[], text);
                        threads.remove(&tid);
                    }
                }
                texts.iter().try_for_each(|(tid, text)| append(&file_of(path, *tid), text))?;
                Ok(Reader::Present)
            }
        }
    }

    /// Prints a recording: its heading, and its events in order. The calls in flight, which are
    /// [`Step::Begun`], end as unfinished lines.
    ///
    /// # Errors
    /// [`Error::Output`]. It is not an error if the reader closed its end.
    pub(super) fn print_recording(
        &mut self,
        heading: &Heading<'_>,
        steps: Vec<Step>,
        events: &mut Events,
    ) -> Result<Reader, Error> {
        // A recording goes to one place: see `recording::check`.
        let Self::One(to, lines) = self else { return Ok(Reader::Present) };
        let mut text = Vec::new();
        lines.head(heading, &mut text);
        for step in steps {
            let step = match step {
                Step::Begun(event) if lines.is_json() => Step::Whole(event),
                other => other,
            };
            lines.write(&step, &mut text);
        }
        lines.finish(&[], &mut text);
        Ok(to.write(&text, events)?)
    }

    /// Completes lines that have only begun, and prints the calls that are in flight at the end.
    ///
    /// # Errors
    /// [`Error::Output`].
    pub(super) fn finish(
        &mut self,
        in_flight: &[Event],
        events: &mut Events,
    ) -> Result<Reader, Error> {
        match self {
            Self::One(to, lines) => {
                let mut text = Vec::new();
                lines.finish(in_flight, &mut text);
                Ok(to.write(&text, events)?)
            }
            Self::PerThread { path, new, threads } => {
                for event in in_flight {
                    threads.entry(event.tid).or_insert_with(|| new.clone());
                }
                for (&tid, lines) in threads {
                    let own = in_flight.iter().find(|event| event.tid == tid);
                    let mut text = Vec::new();
                    lines.finish(own.map_or(&[], std::slice::from_ref), &mut text);
                    append(&file_of(path, tid), &text)?;
                }
                Ok(Reader::Present)
            }
        }
    }

    /// The descriptor that shows whether the output has a reader.
    pub(super) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::One(to, _) => Some(to.as_fd()),
            Self::PerThread { .. } => None,
        }
    }

    /// Whether the output still has a reader.
    pub(super) fn reader(&self) -> Reader {
        match self {
            Self::One(to, _) => to.reader(),
            Self::PerThread { .. } => Reader::Present,
        }
    }
}

impl Step {
    /// The event of the step.
    pub(super) fn event(&self) -> &Event {
        match self {
            Self::Whole(event) | Self::Begun(event) | Self::Resumed(event) => event,
        }
    }
}

/// The file of a thread.
fn file_of(path: &Path, tid: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{tid}"));
    name.into()
}

/// Adds text to the file of a thread. The file is closed again, because there may be more threads
/// than a process can open files.
fn append(path: &Path, text: &[u8]) -> Result<(), OutputError> {
    if text.is_empty() {
        return Ok(());
    }
    let opened = File::options().append(true).create(true).open(path);
    opened
        .and_then(|mut file| file.write_all(text))
        .map_err(|source| OutputError { path: path.to_owned(), source })
}
