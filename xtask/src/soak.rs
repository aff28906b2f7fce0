//! `cargo xtask soak`: everything at once, for minutes, by the kernel tests' executable.

use std::{
    os::unix::process::CommandExt as _,
    process::ExitCode,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, anyhow};

use crate::{
    privilege,
    test::{KERNEL, executable_of_kernel_tests},
    workspace::{cargo, output, shown},
};

/// Mix everything for minutes, as root, and check the figures throughout
///
/// Daemons, intervals and the live view watch the whole host while workloads that state
/// their own counts come and go at random, under profilers of their own and not, and some
/// are killed. Fails on anything that is not as stated.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How long
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    minutes: u64,
    /// What the random choices follow from [default: the time]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// How many workloads at one time
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    workers: u64,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let mut build = cargo();
    build.args(["test", "--release", "--package", "profiler", "--test", KERNEL, "--no-run"]);
    build.arg("--message-format=json-render-diagnostics");
    let messages = output(&mut build)?;
    let executable = messages.lines().find_map(executable_of_kernel_tests);
    let mut command = privilege::as_root(executable.context("cargo built no kernel tests")?, &[])?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    command.arg("soak").arg(format!("seconds={}", args.minutes * 60));
    command.arg(format!("seed={}", args.seed.unwrap_or(now)));
    command.arg(format!("workers={}", args.workers));
    // Takes this process's place, so that signals and the exit code are the soak's.
    let error = command.exec();
    Err(anyhow!(error).context(format!("cannot run {}", shown(&command))))
}
