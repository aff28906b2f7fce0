//! `profiler doctor`: what this host offers, what it lacks, and what to do.

mod checks;
mod finding;
mod host;
mod print;

use std::io;

use super::{
    cli::{DoctorArgs, Format},
    error::Error,
};
use crate::{
    launch::interruptible::{End, Interruptible},
    streams::Stream,
};
use finding::Status;
use host::Host;

/// Runs `profiler doctor`.
///
/// # Errors
/// [`Error::Unfit`] if the profiler cannot run here, after saying why, and [`Error::Output`].
pub fn run(args: &DoctorArgs) -> Result<(), Error> {
    let host = Interruptible::begin()?.run(|_| End::BySignal, Host::look)?;
    let findings = checks::all(&host);
    let (stream, mut text) = (Stream::Output, Vec::new());
    let written = match args.format {
        Format::Table => print::table(&mut text, &findings),
        Format::Json => print::json(&mut text, &findings),
    };
    stream.outcome(written)?;
    match args.format {
        Format::Table => {
            let text = String::from_utf8(text).map_err(|e| stream.failed(io::Error::other(e)))?;
            stream.tell(&text)?;
        }
        Format::Json => stream.print(&text)?,
    }
    match findings.iter().find(|finding| finding.status == Status::Missing) {
        Some(finding) => Err(Error::Unfit(finding.exit_code)),
        None => Ok(()),
    }
}
