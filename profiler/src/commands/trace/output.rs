//! Where the lines go: a stream, a file, or a file per thread.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, Write as _},
    os::fd::{AsFd, BorrowedFd},
    path::{Path, PathBuf},
};

use super::lines::Lines;
use crate::{
    commands::{cli::TraceArgs, error::Error, wait::Events},
    model::Event,
    streams::{self, OutputError, Stream},
};

use super::order::Step;

/// Whether the output has a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reader {
    /// The output has a reader, as far as the kernel knows.
    Present,
    /// The output is a pipe that has no reader any more.
    Gone,
}

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

/// A stream or a file.
pub(super) enum Destination {
    /// A file.
    File(PathBuf, File),
    /// Standard output or standard error.
    Stream(Stream),
}

impl Output {
    /// Opens the file that the flags name. Without a file, the output is standard output, or
    /// standard error if a command runs, because the command uses standard output.
    ///
    /// # Errors
    /// [`Error::Output`].
    pub(super) fn open(args: &TraceArgs, lines: Lines) -> Result<Self, Error> {
        let to = match &args.output {
            Some(path) if path == Path::new("-") => Destination::Stream(Stream::Output),
            Some(path) if args.follow > 1 => {
                let path = path.clone();
                return Ok(Self::PerThread { path, new: lines, threads: HashMap::new() });
            }
            Some(path) => Destination::File(path.clone(), create(path)?),
            None if args.command.is_empty() => Destination::Stream(Stream::Output),
            None => Destination::Stream(Stream::Error),
        };
        if let Destination::Stream(stream) = to {
            stream.check()?;
        }
        Ok(Self::One(to, lines))
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
                to.write(&text, events)
            }
            Self::PerThread { path, new, threads } => {
                let mut texts: HashMap<u32, Vec<u8>> = HashMap::new();
                for step in steps {
                    let tid = step.event().tid;
                    let lines = threads.entry(tid).or_insert_with(|| new.clone());
                    lines.write(step, texts.entry(tid).or_default());
                }
                texts.iter().try_for_each(|(tid, text)| append(&file_of(path, *tid), text))?;
                Ok(Reader::Present)
            }
        }
    }

    /// Completes a line that has only begun.
    ///
    /// # Errors
    /// [`Error::Output`].
    pub(super) fn finish(&mut self, events: &mut Events) -> Result<Reader, Error> {
        match self {
            Self::One(to, lines) => {
                let mut text = Vec::new();
                lines.finish(&mut text);
                to.write(&text, events)
            }
            Self::PerThread { path, threads, .. } => {
                for (&tid, lines) in threads {
                    let mut text = Vec::new();
                    lines.finish(&mut text);
                    append(&file_of(path, tid), &text)?;
                }
                Ok(Reader::Present)
            }
        }
    }

    /// The descriptor that shows whether the output has a reader.
    pub(super) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::One(Destination::File(_, file), _) => Some(file.as_fd()),
            Self::One(Destination::Stream(stream), _) => Some(stream.as_fd()),
            Self::PerThread { .. } => None,
        }
    }

    /// Whether the output still has a reader.
    pub(super) fn reader(&self) -> Reader {
        let is_gone = self.descriptor().is_some_and(streams::reader_is_gone);
        if is_gone { Reader::Gone } else { Reader::Present }
    }
}

impl Destination {
    fn write(&self, text: &[u8], events: &mut Events) -> Result<Reader, Error> {
        let fd = match self {
            Self::File(_, file) => file.as_fd(),
            Self::Stream(stream) => stream.as_fd(),
        };
        match events.write(fd, text) {
            Ok(()) => Ok(Reader::Present),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Reader::Gone),
            Err(source) => Err(match self {
                Self::File(path, _) => OutputError { path: path.clone(), source },
                Self::Stream(stream) => stream.failed(source),
            }
            .into()),
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

fn create(path: &Path) -> Result<File, OutputError> {
    File::create(path).map_err(|source| OutputError { path: path.to_owned(), source })
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
    let opened = File::options().create(true).append(true).open(path);
    opened
        .and_then(|mut file| file.write_all(text))
        .map_err(|source| OutputError { path: path.to_owned(), source })
}
