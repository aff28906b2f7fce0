//! `cargo xtask siege`: the daemon under every attack at once, by the kernel tests' executable.

use std::process::ExitCode;

use anyhow::Result;

use crate::test::become_kernel_tests;

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
    become_kernel_tests(&["siege".into(), format!("seconds={}", args.minutes * 60)])
}
