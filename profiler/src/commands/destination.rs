//! Where a report goes: a stream or a file.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, BorrowedFd},
    path::{Path, PathBuf},
};

use super::wait::Events;
use crate::streams::{self, OutputError, Stream};

/// An open stream or file.
pub(super) enum Destination {
    /// A file.
    File(PathBuf, File),
    /// Standard output or standard error.
    Stream(Stream),
}

/// Whether the output has a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reader {
    /// The output has a reader, as far as the kernel knows.
    Present,
    /// The output is a pipe that has no reader any more.
    Gone,
}

impl Destination {
    /// Opens the file of `-o`; `-` is standard output. Without a file, the output is standard
    /// output, or standard error if a command runs, because the command uses standard output.
    ///
    /// # Errors
    /// The file cannot be created, or the stream is closed.
    pub(super) fn open(path: Option<&Path>, has_command: bool) -> Result<Self, OutputError> {
        let to = match path {
            Some(path) if path == Path::new("-") => Self::Stream(Stream::Output),
            Some(path) => Self::File(path.to_owned(), create(path)?),
            None if has_command => Self::Stream(Stream::Error),
            None => Self::Stream(Stream::Output),
        };
        if let Self::Stream(stream) = to {
            stream.check()?;
        }
        Ok(to)
    }

    /// Writes all of `text`. A signal ends the wait for a reader that does not read.
    ///
    /// # Errors
    /// The kernel's. It is not an error if the reader closed its end.
    pub(super) fn write(&self, text: &[u8], events: &mut Events) -> Result<Reader, OutputError> {
        match events.write(self.as_fd(), text) {
            Ok(()) => Ok(Reader::Present),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Reader::Gone),
            Err(source) => Err(self.failed(source)),
        }
    }

    /// The error of a write.
    pub(super) fn failed(&self, source: io::Error) -> OutputError {
        match self {
            Self::File(path, _) => OutputError { path: path.clone(), source },
            Self::Stream(stream) => stream.failed(source),
        }
    }

    /// Whether the output still has a reader.
    pub(super) fn reader(&self) -> Reader {
        if streams::reader_is_gone(self.as_fd()) { Reader::Gone } else { Reader::Present }
    }
}

impl AsFd for Destination {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::File(_, file) => file.as_fd(),
            Self::Stream(stream) => stream.as_fd(),
        }
    }
}

/// Creates a file, or empties it.
///
/// # Errors
/// The kernel's.
pub(super) fn create(path: &Path) -> Result<File, OutputError> {
    File::create(path).map_err(|source| OutputError { path: path.to_owned(), source })
}
