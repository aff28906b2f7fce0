//! `cargo xtask siege`: runs the daemon under all attacks at once. The executable of the kernel
//! tests does the work.

use std::process::ExitCode;

use anyhow::Result;

use crate::test::become_kernel_tests;

/// Run all attacks of the tests against a daemon for minutes, as root, and check its metrics
///
/// The attacks are idle, half-sent and unread connections, abusive requests, configurations that
/// are FIFOs, devices or too large, and a service manager and a log reader that do not read.
/// Meanwhile, a workload states its counts, and a client scrapes. Fails if a count is not as
/// stated, or if an answer takes longer than a second.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Duration, minutes
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    minutes: u64,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    become_kernel_tests(&["siege".into(), format!("seconds={}", args.minutes * 60)])
}
