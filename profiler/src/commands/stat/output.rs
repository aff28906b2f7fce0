//! The destination of the report, and its style.

use std::{
    borrow::Cow,
    io::{self, Write},
    os::fd::{AsFd, BorrowedFd},
};

use crate::{
    commands::{
        cli::{Format, StatArgs},
        destination::{Destination, Reader},
        error::Error,
        style,
        wait::Events,
    },
    environment,
    present::{
        Report, json,
        table::{self, Style},
    },
    streams,
};

/// An open destination.
pub(super) struct Output {
    to: Destination,
    format: Format,
}

impl Output {
    /// Opens the file that the flags name, or a stream.
    ///
    /// # Errors
    /// [`Error::Output`].
    pub(super) fn open(args: &StatArgs) -> Result<Self, Error> {
        let to = Destination::open(args.output.as_deref(), !args.command.is_empty())?;
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
        self.write(&mut text, report, style).map_err(|source| self.to.failed(source))?;
        Ok(self.to.write(&text, events)?)
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
        self.to.reader()
    }
}

impl AsFd for Output {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.to.as_fd()
    }
}
