//! `cargo xtask bench`: measures what the profiler and other tools cost. Prints a report; there is
//! no pass or fail.
//!
//! The measurements require a release build of the profiler as a library. They are behind the
//! feature `bench`, so that `xtask` builds quickly, and builds even if the profiler does not.
//! Without the feature, this command builds itself with the feature, and executes the result.

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

/// Measure what the profiler costs, compared with other tools
///
/// Each round measures every subject in turn. The machine should be otherwise idle. Prints
/// Markdown. Without PART, measures all parts, which takes some minutes.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    other: Option<Other>,
    /// Measure only this part
    #[arg(value_enum)]
    part: Option<Part>,
    #[command(flatten)]
    measure: Measure,
    #[command(flatten)]
    output: Output,
}

/// Measurements with flags of their own.
#[derive(clap::Subcommand)]
enum Other {
    /// What the user side costs: the daemon under loads, a scrape, a start, a fork storm
    Daemon(daemon::Args),
    Code(code::Args),
    Switch(switch::Args),
}

/// The parts of the measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// The cost of a watched call, compared with the minimum cost of any two programs
    HotPath,
    /// The cost of a watched call, also compared with other tools
    Peers,
    /// How much longer real programs take: a database, a web server, a compiler
    Work,
    /// How the cost grows with the number of processes, threads, calls and cores
    Growth,
}

/// Flags of the measurement.
#[derive(clap::Args)]
struct Measure {
    /// Install other tools and the programs under load first (Debian, as root); Debian may start
    /// the servers among them
    #[arg(long)]
    install: bool,
    /// Number of rounds; each round measures everything once
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Syscalls in each measurement of a call
    #[arg(long, value_name = "N", default_value_t = 300_000, value_parser = clap::value_parser!(u64).range(1_000..))]
    calls: u64,
    /// CPU to make the calls on [default: the last CPU]
    #[arg(long, value_name = "CPU")]
    cpu: Option<usize>,
    /// Also measure the objects for older kernels (arrays, the fallback), and --self
    #[arg(long)]
    fallback: bool,
    /// Measure only the real programs whose name contains NAME
    #[arg(long = "load", value_name = "NAME")]
    loads: Vec<String>,
}

/// Flags of the report.
#[derive(clap::Args)]
struct Output {
    /// Instead of measuring, read files that --json wrote; several files are merged, with all their
    /// parts and rounds
    #[arg(long, value_name = "FILE", conflicts_with_all = ["part", "install", "rounds", "calls", "cpu", "fallback", "loads"])]
    from: Vec<PathBuf>,
    /// Also write the tables to this file
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Write the figures, with every measurement, to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draw the cost of a call to this file, and the cost of real work to FILE-work.svg
    #[arg(long, value_name = "FILE.svg")]
    chart: Option<PathBuf>,
    /// Write the figures to the README and profiler/BENCHMARK.md, and the charts to profiler/
    #[arg(long)]
    readme: bool,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    // This part measures an executable, so it does not require the library.
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
    start_with_feature()
}

/// Builds this command with the feature `bench`, and executes it instead of this process.
#[cfg(not(feature = "bench"))]
fn start_with_feature() -> Result<ExitCode> {
    use std::os::unix::process::CommandExt as _;

    use crate::{
        privilege,
        workspace::{cargo, shown, succeed, target_dir},
    };

    // A separate target directory. Otherwise, the two builds would replace each other.
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
