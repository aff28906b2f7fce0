//! The `profiler` command.

#![deny(clippy::print_stderr, clippy::print_stdout)]

use std::{fmt::Write as _, process::ExitCode};

use clap::Parser;
use profiler::{
    cli::{Cli, Command},
    daemon, doctor,
    error::Error,
    stat,
    streams::Stream,
    tui,
};

fn main() -> ExitCode {
    let outcome = match Cli::try_parse() {
        Ok(cli) => run(&cli.command),
        Err(error) => explain(&error),
    };
    ExitCode::from(outcome.unwrap_or_else(|error| {
        report(&error);
        error.exit_code()
    }))
}

fn run(command: &Command) -> Result<u8, Error> {
    match command {
        Command::Stat(args) => stat::run(args),
        Command::Top(args) => tui::run(args).map(|()| 0),
        Command::Daemon(args) => daemon::run(args).map(|()| 0),
        Command::Doctor(args) => doctor::run(args).map(|()| 0),
    }
}

/// Prints what the user asked for with `--help` or `--version`, or why the command line was
/// refused.
fn explain(error: &clap::Error) -> Result<u8, Error> {
    let stream = if error.use_stderr() { Stream::Error } else { Stream::Output };
    let text = error.render();
    let text = if stream.allows_colour() { text.ansi().to_string() } else { text.to_string() };
    let printed = stream.print(text.as_bytes());
    // A refusal is one even if nobody can read why.
    if !error.use_stderr() {
        printed?;
    }
    Ok(u8::try_from(error.exit_code()).unwrap_or(1))
}

/// Says what failed. Where that cannot be written, the exit code still tells.
fn report(error: &Error) {
    let mut text = format!("profiler: {error}\n");
    for line in error.hint().iter().flat_map(|hint| hint.lines()) {
        // A `String` takes everything.
        let _ = writeln!(text, "  {line}");
    }
    let _ = Stream::Error.print(text.as_bytes());
}
