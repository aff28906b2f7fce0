//! Writes to standard output and standard error. No other module does.
//!
//! The standard library's `println!` panics if the text cannot be written, and its streams report
//! success if the descriptor is not open for writing. This module returns every failure as
//! [`OutputError`], which has its own exit code.
//!
//! If the reader closes its end, as `head` does, that is not a failure. The error has the kind
//! [`io::ErrorKind::BrokenPipe`], and [`Stream::print`] returns success, as in ripgrep.

use std::{
    borrow::Cow,
    io::{self, Write},
    os::fd::{AsFd, BorrowedFd},
    path::PathBuf,
};

use anstream::{AutoStream, ColorChoice, adapter::strip_str};
use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    unistd,
};

use crate::{environment, inherited, text};

/// The output cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}: {source}", text::path(path))]
pub struct OutputError {
    /// The file or stream.
    pub path: PathBuf,
    /// The kernel's error.
    pub source: io::Error,
}

/// A standard stream of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Output,
    /// Standard error.
    Error,
}

impl Stream {
    /// The name in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Output => "standard output",
            Self::Error => "standard error",
        }
    }

    fn descriptor(self) -> libc::c_int {
        match self {
            Self::Output => libc::STDOUT_FILENO,
            Self::Error => libc::STDERR_FILENO,
        }
    }

    /// Checks that the stream was open when the process started. Rust's runtime opens /dev/null in
    /// place of a closed stream, which would swallow all output.
    ///
    /// # Errors
    /// [`OutputError`].
    pub fn check(self) -> Result<(), OutputError> {
        if inherited::was_closed(self.descriptor()) {
            return Err(self.failed(Errno::EBADF.into()));
        }
        Ok(())
    }

    /// Writes `text`. Returns success if the reader closed its end.
    ///
    /// # Errors
    /// [`OutputError`].
    pub fn print(mut self, text: &[u8]) -> Result<(), OutputError> {
        self.outcome(self.write_all(text))
    }

    /// Writes `text` for people: without styles unless [`Self::allows_colour`], and in ASCII unless
    /// the locale is UTF-8. Returns success if the reader closed its end.
    ///
    /// # Errors
    /// [`OutputError`].
    pub fn tell(self, text: &str) -> Result<(), OutputError> {
        self.print(environment::in_locale(&self.styled(text)).as_bytes())
    }

    /// Removes the styles from `text` unless [`Self::allows_colour`].
    pub fn styled(self, text: &str) -> Cow<'_, str> {
        if self.allows_colour() { Cow::Borrowed(text) } else { Cow::Owned(unstyled(text)) }
    }

    /// Converts the result of a write. Returns success if the reader closed its end.
    ///
    /// # Errors
    /// [`OutputError`].
    pub fn outcome(self, written: io::Result<()>) -> Result<(), OutputError> {
        match written {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(self.failed(error)),
            _ => Ok(()),
        }
    }

    /// The error of a write to this stream.
    pub fn failed(self, source: io::Error) -> OutputError {
        OutputError { path: self.name().into(), source }
    }

    /// Whether styles may be used: the stream is a terminal, and `TERM` is not `dumb`. `NO_COLOR`
    /// and `CLICOLOR=0` turn styles off, and `CLICOLOR_FORCE` turns them on, also in a pipe
    pub fn allows_colour(self) -> bool {
        let choice = match self {
            Self::Output => AutoStream::choice(&io::stdout()),
            Self::Error => AutoStream::choice(&io::stderr()),
        };
        choice != ColorChoice::Never
    }
}

/// Removes all styles from `text`.
pub(crate) fn unstyled(text: &str) -> String {
    strip_str(text).to_string()
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the descriptor is open. Rust's runtime opens closed standard streams at the
        // start, and nothing in this process closes them.
        unsafe { BorrowedFd::borrow_raw(self.descriptor()) }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if inherited::was_closed(self.descriptor()) {
            return Err(Errno::EBADF.into());
        }
        loop {
            match unistd::write(self.as_fd(), bytes) {
                // Another process has made the shared file description non-blocking.
                Err(Errno::EAGAIN) => wait_until_writable(self.as_fd(), None).map(drop)?,
                written => return Ok(written?),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Waits until `out` can be written or `wake` is readable. Returns whether `out` can be written.
fn wait_until_writable(out: BorrowedFd<'_>, wake: Option<BorrowedFd<'_>>) -> io::Result<bool> {
    let mut fds = vec![PollFd::new(out, PollFlags::POLLOUT)];
    fds.extend(wake.map(|wake| PollFd::new(wake, PollFlags::POLLIN)));
    match poll(&mut fds, PollTimeout::NONE) {
        Ok(_) => Ok(fds[0].any().unwrap_or(true)),
        Err(Errno::EINTR) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// Whether the reader of `out` is gone: `out` is a pipe or a socket without a reader, or a terminal
/// that hung up.
pub(crate) fn reader_is_gone(out: BorrowedFd<'_>) -> bool {
    // poll(2) always reports POLLERR and POLLHUP.
    let mut fds = [PollFd::new(out, PollFlags::empty())];
    poll(&mut fds, PollTimeout::ZERO).is_ok() && fds[0].revents().is_some_and(is_gone)
}

/// Whether `events` of poll(2) say that the reader of an output is gone.
pub(crate) fn is_gone(events: PollFlags) -> bool {
    events.intersects(PollFlags::POLLERR | PollFlags::POLLHUP)
}

/// The maximum size of an atomic write to a pipe (`PIPE_BUF`, pipe(7)).
const PIECE: usize = 4096;

/// Writes `bytes` to `out`. While the reader does not read, calls `interrupted` whenever `wake` is
/// readable, so that a signal ends the wait.
///
/// # Errors
/// The kernel's, and [`io::ErrorKind::TimedOut`] if the write was interrupted.
pub(crate) fn write_interruptibly(
    out: BorrowedFd<'_>,
    mut bytes: &[u8],
    wake: BorrowedFd<'_>,
    mut interrupted: impl FnMut() -> bool,
) -> io::Result<()> {
    while !bytes.is_empty() {
        while !wait_until_writable(out, Some(wake))? {
            if interrupted() {
                let why = "interrupted while nobody read the output";
                return Err(io::Error::new(io::ErrorKind::TimedOut, why));
            }
        }
        let piece = &bytes[..bytes.len().min(PIECE)];
        match unistd::write(out, piece) {
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{
        fs::File,
        io::{Read, pipe},
    };

    use super::*;

    #[test]
    fn a_pipe_without_a_reader_is_gone() {
        let (reader, writer) = pipe().expect("a pipe");
        assert!(!reader_is_gone(writer.as_fd()));
        drop(reader);
        assert!(reader_is_gone(writer.as_fd()));
        let file = File::options().write(true).open("/dev/null").expect("every host has it");
        assert!(!reader_is_gone(file.as_fd()));
    }

    #[test]
    fn a_write_that_nobody_reads_can_be_interrupted() {
        let (mut reader, writer) = pipe().expect("a pipe");
        let (signal, mut raise) = pipe().expect("a pipe");
        raise.write_all(b"x").expect("room");
        let text = vec![b'x'; 1 << 20];
        let mut asked = 0;
        let written = write_interruptibly(writer.as_fd(), &text, signal.as_fd(), || {
            asked += 1;
            asked == 2
        });
        assert_eq!(written.map_err(|error| error.kind()), Err(io::ErrorKind::TimedOut));
        drop(writer);
        let mut read = Vec::new();
        reader.read_to_end(&mut read).expect("what was written");
        assert!(!read.is_empty() && read.len() < text.len());
    }

    #[test]
    fn a_full_disk_is_an_error_and_a_reader_that_left_is_none() {
        let outcome = |errno: Errno| Stream::Output.outcome(Err(errno.into()));
        assert!(matches!(outcome(Errno::ENOSPC), Err(OutputError { .. })));
        assert!(outcome(Errno::EPIPE).is_ok());
    }
}
