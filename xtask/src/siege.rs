//! `cargo xtask siege`: the daemon under every attack at once, by the kernel tests' executable.

use std::{os::unix::process::CommandExt as _, process::ExitCode};

use anyhow::{Context as _, Result, anyhow};

use crate::{
    privilege,
    test::{KERNEL, executable_of_kernel_tests},
    workspace::{cargo, output, shown},
};

/// Attack a daemon from all sides for minutes, as root, and check what it serves
///
/// Idle, half-sent and unread connections, abusive requests, configurations that are FIFOs,
/// devices or too large, a service manager and a log that are not read. Meanwhile a workload
/// states its counts and a good client scrapes. Fails if a count is not as stated, or if an
/// answer takes longer than a second.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How long
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    minutes: u64,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let mut build = cargo();
    build.args(["test", "--release", "--package", "profiler", "--test", KERNEL, "--no-run"]);
    build.arg("--message-format=json-render-diagnostics");
    let messages = output(&mut build)?;
    let executable = messages.lines().find_map(executable_of_kernel_tests);
    let mut command = privilege::as_root(executable.context("cargo built no kernel tests")?, &[])?;
    command.arg("siege").arg(format!("seconds={}", args.minutes * 60));
    // Takes this process's place, so that signals and the exit code are the siege's.
    let error = command.exec();
    Err(anyhow!(error).context(format!("cannot run {}", shown(&command))))
}
