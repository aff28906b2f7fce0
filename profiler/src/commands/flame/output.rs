//! Where the report goes, and its format.

use std::{
    io::{self, IsTerminal as _},
    os::fd::AsFd as _,
};

use crate::{
    commands::{
        cli::{FlameArgs, FlameFormat},
        destination::{Destination, Reader},
        error::Error,
        wait::Events,
    },
    environment,
    model::stacks::StackProfile,
    present::flame::{folded, json, summary, svg, text},
    streams::Stream,
};

/// An open destination.
pub(super) struct Output {
    to: Destination,
    format: FlameFormat,
}

impl Output {
    /// Opens the file that the flags name, or a stream.
    ///
    /// # Errors
    /// [`Error::Output`].
    pub(super) fn open(args: &FlameArgs) -> Result<Self, Error> {
        let to = Destination::open(args.output.as_deref(), !args.command.is_empty())?;
        let by_suffix = || {
            let suffix = args.output.as_deref()?.extension()?.to_str()?;
            match suffix {
                "svg" => Some(FlameFormat::Svg),
                "json" => Some(FlameFormat::Json),
                "txt" => Some(FlameFormat::Text),
                "folded" => Some(FlameFormat::Folded),
                _ => None,
            }
        };
        let is_terminal = match &to {
            Destination::File(_, file) => file.is_terminal(),
            Destination::Stream(stream) => stream.as_fd().is_terminal(),
        };
        let by_kind = if is_terminal { FlameFormat::Text } else { FlameFormat::Folded };
        let format = args.format.or_else(by_suffix).unwrap_or(by_kind);
        Ok(Self { to, format })
    }

    /// Prints the report. What folded text has no place for goes to standard error. A signal ends the
    /// wait for a reader that does not read.
    ///
    /// # Errors
    /// [`Error::Output`]. It is not an error if the reader closed its end.
    pub(super) fn print(
        &mut self,
        profile: &StackProfile,
        events: &mut Events,
    ) -> Result<Reader, Error> {
        let mut bytes = Vec::new();
        let written = match self.format {
            FlameFormat::Text => text::write(&mut bytes, profile),
            FlameFormat::Folded => folded::write(&mut bytes, profile),
            FlameFormat::Svg => svg::write(&mut bytes, profile),
            FlameFormat::Json => json::write(&mut bytes, profile),
        };
        written.map_err(|source| self.to.failed(source))?;
        if self.format == FlameFormat::Text {
            let text = String::from_utf8(bytes).map_err(io::Error::other);
            let text = text.map_err(|source| self.to.failed(source))?;
            bytes = environment::in_locale(&text).as_bytes().to_vec();
        }
        if self.format == FlameFormat::Folded {
            let notes: String =
                summary(profile).lines().map(|line| format!("profiler: {line}\n")).collect();
            Stream::Error.tell(&notes)?;
        }
        Ok(self.to.write(&bytes, events)?)
    }
}
