//! `profiler seccomp diff`: compares two profiles.

use std::io;

use super::files;
use crate::{
    commands::{
        cli::{DiffArgs, Format},
        error::Error,
        style,
    },
    present::seccomp::{differences, write_differences, write_differences_json},
    streams::Stream,
};

/// Runs `profiler seccomp diff`.
///
/// # Errors
/// If a profile cannot be used, or the output not be written.
pub(super) fn run(args: &DiffArgs) -> Result<(), Error> {
    let [first, second] = [files::profile(&args.first)?, files::profile(&args.second)?];
    let all = differences(&first, &second, &files::container(&args.cap));
    let stream = Stream::Output;
    let mut text = Vec::new();
    stream.outcome(match args.format {
        Format::Table => write_differences(&mut text, &all, style::of(stream)),
        Format::Json => write_differences_json(&mut text, &all),
    })?;
    let text = String::from_utf8(text).map_err(|e| stream.failed(io::Error::other(e)))?;
    Ok(stream.tell(&text)?)
}
