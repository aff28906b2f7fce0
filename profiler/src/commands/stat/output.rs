//! The destination of the report, and its style.

use std::{
    borrow::Cow,
    fs::File,
    io::{self, Write},
    os::fd::{AsFd, BorrowedFd},
    path::{Path, PathBuf},
};

use crate::{
    commands::{
        cli::{Format, StatArgs},
        error::Error,
        style,
        wait::Events,
    },
    environment,
    present::{
        Report, json,
        table::{self, Style},
    },
    streams::{self, OutputError, Stream},
};

/// An open destination.
pub(super) struct Output {
    to: Destination,
    format: Format,
}

enum Destination {
    File(PathBuf, File),
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

impl Output {
    /// Opens the file that the flags name. Without a file, the output is standard output, or
    /// standard error if a command runs, because the command uses standard output.
    ///
    /// # Errors
    /// [`Error::Output`].
    pub(super) fn open(args: &StatArgs) -> Result<Self, Error> {
        let to = match &args.output {
            Some(path) if path == Path::new("-") => Destination::Stream(Stream::Output),
            Some(path) => {
                let file = File::create(path)
                    .map_err(|source| OutputError { path: path.clone(), source })?;
                Destination::File(path.clone(), file)
            }
            None if args.command.is_empty() => Destination::Stream(Stream::Output),
            None => Destination::Stream(Stream::Error),
        };
        if let Destination::Stream(stream) = to {
            stream.check()?;
        }
        Ok(Self { to, format: args.format })
    }

    /// Prints one report. A signal ends the wait for a reader that does not read.
    ///
    /// # Errors
    /// [`Error::Output`]. It is not an error if the reader closed its end.
    pub(super) fn print(
        &mut self,
        report: &Report<'_>,
        events: &mut Events,
    ) -> Result<Reader, Error> {
        let style = match &self.to {
            Destination::File(..) => Style::PLAIN,
            Destination::Stream(stream) => style::of(*stream),
        };
        let mut text = Vec::new();
        let written =
            self.write(&mut text, report, style).and_then(|()| events.write(self.as_fd(), &text));
        match written {
            Ok(()) => Ok(Reader::Present),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Reader::Gone),
            Err(source) => Err(match &self.to {
                Destination::File(path, _) => OutputError { path: path.clone(), source },
                Destination::Stream(stream) => stream.failed(source),
            }
            .into()),
        }
    }

    fn write(&self, out: &mut Vec<u8>, report: &Report<'_>, style: Style) -> io::Result<()> {
        match self.format {
            Format::Table => {
                let mut table = Vec::new();
                writeln!(table)?;
                table::write(&mut table, report, style)?;
                let table = String::from_utf8(table).map_err(io::Error::other)?;
                let table = match &self.to {
                    Destination::File(..) => Cow::Owned(streams::unstyled(&table)),
                    Destination::Stream(stream) => stream.styled(&table),
                };
                out.write_all(environment::in_locale(&table).as_bytes())
            }
            Format::Json => json::write(out, report),
        }
    }

    /// Whether the output still has a reader.
    pub(super) fn reader(&self) -> Reader {
        if streams::reader_is_gone(self.as_fd()) { Reader::Gone } else { Reader::Present }
    }
}

impl AsFd for Output {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.to {
            Destination::File(_, file) => file.as_fd(),
            Destination::Stream(stream) => stream.as_fd(),
        }
    }
}
