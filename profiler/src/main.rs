//! The `profiler` command.

use std::process::ExitCode;

use clap::Parser;
use profiler::{
    cli::{Cli, Command},
    daemon, doctor,
    error::Error,
    stat, tui,
};

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Stat(args) => stat::run(&args),
        Command::Top(args) => tui::run(&args).map(|()| 0),
        Command::Daemon(args) => daemon::run(&args).map(|()| 0),
        Command::Doctor(args) => doctor::run(&args).map(|()| 0),
    };
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            report(&error);
            ExitCode::from(error.exit_code())
        }
    }
}

fn report(error: &Error) {
    eprintln!("profiler: {error}");
    if let Some(hint) = error.hint() {
        for line in hint.lines() {
            eprintln!("  {line}");
        }
    }
}
