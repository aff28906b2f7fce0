//! `profiler doctor`: what this host offers, what is missing, which way is taken,
//! and what to do.

mod checks;
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
use host::Host;

/// How a check went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    /// As it should be.
    Ok,
    /// It works, with a drawback.
    Warning,
    /// It keeps the profiler from running.
    Missing,
}

/// One check and its outcome.
#[derive(Clone, Debug, serde::Serialize)]
struct Finding {
    /// What was looked at.
    what: &'static str,
    status: Status,
    /// What was found.
    found: String,
    /// What to do about it, where something is to be done.
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
    /// Exit code if this is what keeps the profiler from running.
    #[serde(skip)]
    exit_code: u8,
}

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
