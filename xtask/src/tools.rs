//! The project's commands, except `run`. Each command is a module. CI runs the same commands.

mod bench;
mod case;
mod compare;
mod conformance;
mod containers;
mod debian;
mod deny;
mod ebpf;
mod fuzz;
mod kernels;
mod oracle;
mod release;
mod report_json;
mod siege;
mod soak;
mod syscalls;
mod test;
#[cfg(test)]
mod tidy;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use xtask::{privilege, run, workspace};

/// The project's commands
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Compile the kernel side into the objects that the profiler embeds
    BuildEbpf(ebpf::Args),
    Run(Run),
    /// Run every test; those that load programs into the kernel run as root
    Test(test::Args),
    Conformance(conformance::Args),
    TestKernels(kernels::Args),
    Bench(bench::Args),
    Compare(compare::Args),
    Oracle(oracle::Args),
    Containers(containers::Args),
    Soak(soak::Args),
    Siege(siege::Args),
    Fuzz(fuzz::Args),
    Deny(deny::Args),
    Release(release::Args),
    Syscalls(syscalls::Args),
    #[command(hide = true)]
    BenchLoop(bench::workload::Args),
    #[command(hide = true)]
    BenchSwitch(bench::switch::LoopArgs),
    #[command(hide = true)]
    BenchDaemonLoad(bench::daemon::load::Args),
    BenchCrowd(bench::crowd::Args),
}

/// Build the profiler and run it, as root if necessary
// Only for the help: the binary `xtask` runs it.
#[derive(clap::Args)]
#[command(
    override_usage = "cargo xtask run <top|stat|trace|explain|daemon|doctor|syscalls> [ARGS]..."
)]
struct Run {
    /// Arguments for `profiler`, such as `stat -a -d 1s` or `stat -- ls -l`
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    profiler_args: Vec<std::ffi::OsString>,
}

fn main() -> ExitCode {
    if let Some(code) = ebpf::rustc::stand_in() {
        return code;
    }
    match dispatch(Cli::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: Command) -> Result<ExitCode> {
    match command {
        Command::BuildEbpf(args) => ebpf::run(&args),
        Command::Run(args) => match run::run(&args.profiler_args)? {},
        Command::Test(args) => test::run(&args),
        Command::Conformance(args) => conformance::run(&args),
        Command::TestKernels(args) => kernels::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Compare(args) => compare::run(&args),
        Command::Oracle(args) => oracle::run(&args),
        Command::Containers(args) => containers::run(&args),
        Command::Soak(args) => soak::run(&args),
        Command::Siege(args) => siege::run(&args),
        Command::Fuzz(args) => fuzz::run(&args),
        Command::Deny(args) => deny::run(&args),
        Command::Release(args) => release::run(&args),
        Command::Syscalls(args) => syscalls::run(&args),
        Command::BenchLoop(args) => bench::workload::run(&args),
        Command::BenchSwitch(args) => bench::switch::switch(&args),
        Command::BenchDaemonLoad(args) => bench::daemon::load::run(&args),
        Command::BenchCrowd(args) => bench::crowd::run(&args),
    }
}
