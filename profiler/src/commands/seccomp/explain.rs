//! `profiler seccomp explain`: says what a profile allows.

use std::io;

use super::files;
use crate::{
    commands::{
        cli::{ExplainArgs, Format},
        error::Error,
        style,
    },
    present::seccomp::{write_explanation, write_explanation_json},
    streams::Stream,
};

/// Runs `profiler seccomp explain`.
///
/// # Errors
/// If the profile cannot be used, or the output not be written.
pub(super) fn run(args: &ExplainArgs) -> Result<(), Error> {
    let profile = files::profile(&args.profile)?;
    let container = files::container(&args.cap);
    let stream = Stream::Output;
    let mut text = Vec::new();
    stream.outcome(match args.format {
        Format::Table => write_explanation(&mut text, &profile, &container, style::of(stream)),
        Format::Json => write_explanation_json(&mut text, &profile, &container),
    })?;
    let text = String::from_utf8(text).map_err(|e| stream.failed(io::Error::other(e)))?;
    Ok(stream.tell(&text)?)
}
