//! `cargo xtask bench`: what the profiler costs. Reports; never passes or fails.
//!
//! What measures needs the profiler as a library, in release. So that `xtask`
//! builds at once and also while the profiler does not, that part is behind the
//! feature `bench`, and the command without it builds and starts the one with it.

#[cfg(feature = "bench")]
mod attached;
pub(crate) mod daemon;
#[cfg(feature = "bench")]
mod hot_path;
#[cfg(feature = "bench")]
mod report;
pub(crate) mod workload;

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand)]
enum What {
    /// What one probed system call costs, beside the least that any probe does
    HotPath(HotPath),
    /// What the user side costs: the daemon under loads, a scrape, a start, a fork storm
    Daemon(daemon::Args),
}

/// `cargo xtask bench hot-path`.
#[derive(clap::Args)]
pub(crate) struct HotPath {
    /// Measurements of each figure, in turn with those of all others
    #[arg(long, value_name = "N", default_value_t = 12, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// System calls in each measurement
    #[arg(long, value_name = "N", default_value_t = 300_000, value_parser = clap::value_parser!(u64).range(1..))]
    calls: u64,
    /// CPU to make the calls on [default: the last one]
    #[arg(long, value_name = "CPU")]
    cpu: Option<usize>,
    /// Measure the fallback for older kernels too
    #[arg(long)]
    fallback: bool,
    /// Measure the profiler while the kernel times its programs too, as with --self
    #[arg(long)]
    timed: bool,
    /// Write the figures, with every measurement, to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[cfg(feature = "bench")]
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    match &args.what {
        What::HotPath(args) => hot_path::run(args),
        What::Daemon(args) => daemon::run(args),
    }
}

#[cfg(not(feature = "bench"))]
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    use std::os::unix::process::CommandExt as _;

    use crate::{
        privilege,
        workspace::{cargo, shown, succeed, target_dir},
    };

    // This one measures an executable, and needs no library.
    if let What::Daemon(args) = &args.what {
        return daemon::run(args);
    }
    // A directory of its own, or each of the two would displace the other.
    let target = target_dir().join("bench");
    succeed(
        cargo()
            .args(["build", "--quiet", "--release", "--package", "xtask", "--features", "bench"])
            .env("CARGO_TARGET_DIR", &target),
    )?;
    let mut command = privilege::as_root(target.join("release/xtask"), &[])?;
    command.args(std::env::args_os().skip(1));
    let error = command.exec();
    Err(anyhow::Error::new(error).context(format!("cannot run {}", shown(&command))))
}
