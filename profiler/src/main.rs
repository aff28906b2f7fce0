//! The `profiler` command.

#![deny(clippy::print_stderr, clippy::print_stdout)]

use std::{borrow::Cow, fmt::Write as _, process::ExitCode};

use clap::{
    Parser,
    error::{ContextKind, ContextValue},
};
use profiler::{
    commands::{
        cli::{Cli, Command},
        daemon, doctor,
        error::Error,
        stat, top,
    },
    streams::Stream,
    text::{harmless, harmless_lines},
};

fn main() -> ExitCode {
    let outcome = match Cli::try_parse() {
        Ok(cli) => run(&cli.command),
        Err(error) => explain(error),
    };
    ExitCode::from(outcome.unwrap_or_else(|error| {
        report(&error);
        error.exit_code()
    }))
}

fn run(command: &Command) -> Result<u8, Error> {
    match command {
        Command::Stat(args) => stat::run(args),
        Command::Top(args) => top::run(args).map(|()| 0),
        Command::Daemon(args) => daemon::run(args).map(|()| 0),
        Command::Doctor(args) => doctor::run(args).map(|()| 0),
    }
}

/// Prints what the user asked for with `--help` or `--version`, or why the command line was
/// refused.
fn explain(mut error: clap::Error) -> Result<u8, Error> {
    make_harmless(&mut error);
    let stream = if error.use_stderr() { Stream::Error } else { Stream::Output };
    let printed = stream.tell(&refusal(&error, stream.allows_colour()));
    // A refusal is one even if nobody can read why.
    if !error.use_stderr() {
        printed?;
    }
    Ok(u8::try_from(error.exit_code()).unwrap_or(1))
}

/// Makes the arguments harmless that clap quotes.
fn make_harmless(error: &mut clap::Error) {
    let quoted: Vec<_> = error
        .context()
        .filter_map(|(kind, value)| match value {
            ContextValue::String(text) => {
                Some((kind, ContextValue::String(harmless(text).into_owned())))
            }
            ContextValue::Strings(texts) => {
                let texts = texts.iter().map(|text| harmless(text).into_owned()).collect();
                Some((kind, ContextValue::Strings(texts)))
            }
            // Made by clap out of those, or out of our own definitions.
            _ => None,
        })
        .collect();
    for (kind, value) in quoted {
        if error.insert(kind, value.clone()).is_some_and(|was| was != value) {
            // The hints quote the argument too.
            error.remove(ContextKind::Suggested);
        }
    }
}

/// What clap says, in colours only if nothing in it would be another escape sequence.
fn refusal(error: &clap::Error, colour: bool) -> String {
    let rendered = error.render();
    let plain = rendered.to_string();
    let harmless = harmless_lines(&plain);
    if colour && matches!(harmless, Cow::Borrowed(_)) {
        rendered.ansi().to_string()
    } else {
        harmless.into_owned()
    }
}

/// Says what failed. Where that cannot be written, the exit code still tells.
fn report(error: &Error) {
    let mut text = format!("profiler: {error}\n");
    for line in error.hint().iter().flat_map(|hint| hint.lines()) {
        // A `String` takes everything.
        let _ = writeln!(text, "  {line}");
    }
    // What is untrusted in it is harmless already, by its type: this is for what a library says.
    let _ = Stream::Error.tell(&harmless_lines(&text));
}
