//! `profiler syscalls`: explains syscalls, without attaching.

use std::io;

use super::{
    cli::{Format, SyscallsArgs},
    error::Error,
    style,
};
use crate::{
    names::find::Query,
    present::syscalls::{self, Findings},
    streams::Stream,
};

/// Runs `profiler syscalls`.
///
/// # Errors
/// [`Error::Usage`] if `--abi` excludes everything, and [`Error::Output`].
pub fn run(args: &SyscallsArgs) -> Result<(), Error> {
    let all = [Query::all()];
    let queries = if args.queries.is_empty() { &all[..] } else { &args.queries };
    let findings = Findings::new(queries, args.abi);
    if findings.is_empty() {
        return Err(Error::Usage {
            problem: "this ABI has none of these syscalls",
            hint: "omit --abi to see which ABIs have them",
        });
    }
    let stream = Stream::Output;
    let mut text = Vec::new();
    match args.format {
        Format::Table => {
            stream.outcome(syscalls::write(&mut text, &findings, style::of(stream)))?;
            let text = String::from_utf8(text).map_err(|e| stream.failed(io::Error::other(e)))?;
            stream.tell(&text)?;
        }
        Format::Json => {
            stream.outcome(syscalls::write_json(&mut text, &findings))?;
            stream.print(&text)?;
        }
    }
    Ok(())
}
