//! `cargo xtask soak`: mixes workloads, daemons and attachments for minutes. The executable of the
//! kernel tests does the work.

use std::{
    process::ExitCode,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::Result;

use crate::test::become_kernel_tests;

/// Mix workloads, daemons and attachments for minutes, as root, and check the figures throughout
///
/// Daemons, intervals and the live view watch the whole host while workloads that state their own
/// counts start and end at random, some of them under a separate profiler. Some are killed. Fails
/// if a figure is not as stated.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Duration, minutes
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    minutes: u64,
    /// Seed of the random choices [default: the time]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Number of concurrent workloads
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    workers: u64,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    become_kernel_tests(&[
        "soak".into(),
        format!("seconds={}", args.minutes * 60),
        format!("seed={}", args.seed.unwrap_or(now)),
        format!("workers={}", args.workers),
    ])
}
