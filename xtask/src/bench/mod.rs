//! `cargo xtask bench`: what the profiler costs, beside what others do. Reports; never
//! passes or fails.
//!
//! What measures needs the profiler as a library, in release. So that `xtask`
//! builds at once and also while the profiler does not, that part is behind the
//! feature `bench`, and the command without it builds and starts the one with it.

mod code;
pub(crate) mod crowd;
pub(crate) mod daemon;
mod figures;
#[cfg(feature = "bench")]
mod measure;
mod report;
mod results;
mod start;
mod statistics;
pub(crate) mod switch;
pub(crate) mod workload;

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;

use self::results::Results;

/// Measure what the profiler costs, beside what others do
///
/// Everything is measured in turn, in rounds, on a machine that should do nothing else.
/// Prints Markdown. Without a part, all of them, which takes some minutes.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    other: Option<Other>,
    /// Only this part
    #[arg(value_enum)]
    part: Option<Part>,
    #[command(flatten)]
    measure: Measure,
    #[command(flatten)]
    output: Output,
}

/// What is measured in another way.
#[derive(clap::Subcommand)]
enum Other {
    /// What the user side costs: the daemon under loads, a scrape, a start, a fork storm
    Daemon(daemon::Args),
    Code(code::Args),
    Switch(switch::Args),
}

/// What can be measured by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// What one probed system call costs, beside the least that any probe does
    HotPath,
    /// The same, and beside the tools of others
    Peers,
    /// How much longer real programs take: a database, a web server, a compiler
    Work,
    /// What the cost grows with: processes, threads, calls, cores
    Growth,
}

/// How to measure.
#[derive(clap::Args)]
struct Measure {
    /// Install the tools of others and the programs to load first (Debian, as root);
    /// Debian may start the servers among them
    #[arg(long)]
    install: bool,
    /// Measurements of each figure, in turn with those of all others
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// System calls in each measurement of a call
    #[arg(long, value_name = "N", default_value_t = 300_000, value_parser = clap::value_parser!(u64).range(1_000..))]
    calls: u64,
    /// CPU to make the calls on [default: the last one]
    #[arg(long, value_name = "CPU")]
    cpu: Option<usize>,
    /// Measure also what older kernels get (arrays, the fallback), and --self
    #[arg(long)]
    fallback: bool,
    /// Of the real programs only those whose name contains this
    #[arg(long = "load", value_name = "NAME")]
    loads: Vec<String>,
}

/// What becomes of the figures.
#[derive(clap::Args)]
struct Output {
    /// Measure nothing: take what --json wrote; of several files, all parts and rounds
    #[arg(long, value_name = "FILE", conflicts_with_all = ["part", "install", "rounds", "calls", "cpu", "fallback", "loads"])]
    from: Vec<PathBuf>,
    /// Write the tables to this file too
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Write the figures, with every measurement, to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draw what a call costs to this file; what real work costs beside it, in FILE-work.svg
    #[arg(long, value_name = "FILE.svg")]
    chart: Option<PathBuf>,
    /// Put the figures into the README and profiler/BENCHMARK.md, and the charts beside it
    #[arg(long)]
    readme: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    // This one measures an executable, and needs no library.
    if let Some(Other::Daemon(args)) = &args.other {
        return daemon::run(args);
    }
    if let Some(Other::Switch(args)) = &args.other {
        return switch::run(args);
    }
    let mut files = args.output.from.iter().map(|file| Results::read(file));
    if let Some(first) = files.next() {
        let mut results = first?;
        for other in files {
            results.merge(other?);
        }
        return report::write(&results.with_figures(), &args.output);
    }
    measure(args)
}

#[cfg(feature = "bench")]
fn measure(args: &Args) -> Result<ExitCode> {
    if let Some(Other::Code(args)) = &args.other {
        return measure::code::run(args);
    }
    let results = measure::run(args.part, &args.measure)?;
    report::write(&results.with_figures(), &args.output)
}

#[cfg(not(feature = "bench"))]
fn measure(_: &Args) -> Result<ExitCode> {
    use std::os::unix::process::CommandExt as _;

    use crate::{
        privilege,
        workspace::{cargo, shown, succeed, target_dir},
    };

    // A directory of its own, or each of the two would displace the other.
    let target = target_dir().join("bench");
    succeed(
        cargo()
            .args(["build", "--profile", "dist", "--package", "xtask", "--package", "profiler"])
            .args(["--features", "xtask/bench"])
            .env("CARGO_TARGET_DIR", &target),
    )?;
    let mut command = privilege::as_root(target.join("dist/xtask-tools"), &[])?;
    command.args(std::env::args_os().skip(1));
    let error = command.exec();
    Err(anyhow::Error::new(error).context(format!("cannot run {}", shown(&command))))
}
