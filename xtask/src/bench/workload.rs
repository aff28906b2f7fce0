//! The loops of system calls that are timed, each run in a process of its own.

use std::{hint::black_box, process::ExitCode, time::Instant};

use anyhow::Result;
use clap::ValueEnum;
use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};

/// What the loop calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Workload {
    /// One call, over and over: the best case
    Getppid,
    /// Four different ones in turn
    Alternating,
    /// One that fails
    Failing,
}

impl Workload {
    #[cfg(feature = "bench")]
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Getppid => "getppid",
            Self::Alternating => "getppid, getuid, getgid, geteuid in turn",
            Self::Failing => "close(-1), which fails",
        }
    }

    fn call(self, turn: u64) {
        const FOUR: [libc::c_long; 4] =
            [libc::SYS_getppid, libc::SYS_getuid, libc::SYS_getgid, libc::SYS_geteuid];
        // SAFETY: none of these calls takes a pointer, and no file has descriptor -1.
        let result = unsafe {
            match self {
                Self::Getppid => libc::syscall(libc::SYS_getppid),
                Self::Alternating => libc::syscall(FOUR[(turn % 4) as usize]),
                Self::Failing => libc::syscall(libc::SYS_close, -1),
            }
        };
        black_box(result);
    }
}

/// Times a loop of system calls (`bench hot-path` starts this)
#[derive(clap::Args)]
pub(crate) struct Args {
    /// What to call
    #[arg(long)]
    workload: Workload,
    /// How often
    #[arg(long)]
    calls: u64,
    /// On which CPU
    #[arg(long)]
    cpu: usize,
}

/// Prints nanoseconds a call.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let mut cpus = CpuSet::new();
    cpus.set(args.cpu)?;
    sched_setaffinity(Pid::from_raw(0), &cpus)?;
    // The first calls fill caches, and have the profiler take its record.
    for turn in 0..args.calls / 20 {
        args.workload.call(turn);
    }
    let start = Instant::now();
    for turn in 0..args.calls {
        args.workload.call(turn);
    }
    let nanoseconds = start.elapsed().as_nanos() as f64 / args.calls as f64;
    println!("{nanoseconds}");
    Ok(ExitCode::SUCCESS)
}
