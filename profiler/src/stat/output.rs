//! Where the result goes, and how it may look there.

use std::{
    env,
    fs::File,
    io::{self, BufWriter, IsTerminal, Write},
    os::fd::{AsFd, BorrowedFd},
    path::{Path, PathBuf},
};

use crate::{
    cli::{Format, StatArgs},
    environment,
    error::Error,
    export::{
        Report, json,
        table::{self, Style},
    },
};

/// An open destination.
pub(super) struct Output {
    to: Destination,
    format: Format,
}

enum Destination {
    File(PathBuf, BufWriter<File>),
    Stdout,
    Stderr,
}

impl Output {
    /// Opens what the flags say: a file; otherwise standard output, unless a
    /// command runs, whose output stays clean: then standard error.
    ///
    /// # Errors
    /// [`Error::Output`].
    pub(super) fn open(args: &StatArgs) -> Result<Self, Error> {
        let to = match &args.output {
            Some(path) if path == Path::new("-") => Destination::Stdout,
            Some(path) => {
                let file = File::create(path)
                    .map_err(|source| Error::Output { path: path.clone(), source })?;
                Destination::File(path.clone(), BufWriter::new(file))
            }
            None if args.command.is_empty() => Destination::Stdout,
            None => Destination::Stderr,
        };
        Ok(Self { to, format: args.format })
    }

    /// Prints one report.
    ///
    /// # Errors
    /// [`Error::Output`]. A pipe that nobody reads any more is none.
    pub(super) fn print(&mut self, report: &Report<'_>) -> Result<(), Error> {
        let format = self.format;
        let (path, written) = match &mut self.to {
            Destination::File(path, file) => {
                (path.clone(), write(file, report, Style::PLAIN, format))
            }
            Destination::Stdout => {
                let out = io::stdout().lock();
                let style = style(out.as_fd());
                ("standard output".into(), write(BufWriter::new(out), report, style, format))
            }
            Destination::Stderr => {
                let out = io::stderr().lock();
                let style = style(out.as_fd());
                ("standard error".into(), write(BufWriter::new(out), report, style, format))
            }
        };
        match written {
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            other => other.map_err(|source| Error::Output { path, source }),
        }
    }
}

fn write(mut out: impl Write, report: &Report<'_>, style: Style, format: Format) -> io::Result<()> {
    match format {
        Format::Table => {
            writeln!(out)?;
            table::write(&mut out, report, style)?;
        }
        Format::Json => json::write(&mut out, report)?,
    }
    out.flush()
}

/// What the destination can show.
fn style(out: BorrowedFd<'_>) -> Style {
    if !out.is_terminal() {
        return Style::PLAIN;
    }
    Style {
        width: terminal_size::terminal_size_of(out).map(|(width, _)| usize::from(width.0)),
        sparkline: true,
        color: environment::allows_colour(|name| env::var_os(name))
            && env::var_os("TERM").is_some_and(|term| term != "dumb"),
        unicode: environment::allows_unicode(|name| env::var_os(name)),
    }
}
