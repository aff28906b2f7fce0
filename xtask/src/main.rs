//! `cargo xtask`: runs the profiler, or builds and starts the tools for every other command.

use std::{env, ffi::OsString, os::unix::process::CommandExt as _, process::ExitCode};

use xtask::{
    failure::Failure,
    run,
    workspace::{cargo, shown},
};

fn main() -> ExitCode {
    let mut args = env::args_os().skip(1).peekable();
    let outcome = if args.next_if(|first| first == "run").is_some() {
        let args: Vec<_> = args.collect();
        if args.is_empty() || ["-h", "--help"].iter().any(|help| args[0] == *help) {
            print!("{}", run::USAGE);
            return if args.is_empty() { ExitCode::from(2) } else { ExitCode::SUCCESS };
        }
        run::run(&args)
    } else {
        start_tools(args)
    };
    let Err(failure) = outcome;
    eprintln!("xtask: {failure}");
    ExitCode::FAILURE
}

/// Builds the other binary of this package, and executes it.
fn start_tools(args: impl Iterator<Item = OsString>) -> Result<std::convert::Infallible, Failure> {
    let mut command = cargo();
    command.args(["run", "--package", "xtask", "--features", "tools", "--bin", "xtask-tools"]);
    command.arg("--").args(args);
    let error = command.exec();
    Err(Failure::new(format!("cannot run {}: {error}", shown(&command))))
}
