//! Starts and ends processes as fast as possible, and times each of their few calls.

use std::{
    fs::File,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use memmap2::MmapMut;
use nix::{
    libc::c_long,
    sys::{
        memfd::{MFdFlags, memfd_create},
        resource::{UsageWho, getrusage},
        wait::wait,
    },
    unistd::{ForkResult, fork},
};
use serde::{Deserialize, Serialize};

use super::load::call;

/// Number of concurrent children.
const AT_ONCE: usize = 256;

/// The durations of calls.
#[derive(Serialize, Deserialize)]
pub(super) struct Storm {
    pub(super) seconds: f64,
    /// The first call of each syscall in a process.
    pub(super) first: Times,
    /// The second call of each syscall in a process.
    pub(super) again: Times,
}

/// A summary of the durations of calls.
#[derive(Serialize, Deserialize)]
pub(super) struct Times {
    pub(super) calls: usize,
    /// Number of preempted calls.
    pub(super) preempted: usize,
    /// Median and 99th percentile of all other calls, nanoseconds.
    pub(super) ns: [u32; 2],
}

/// Runs the storm, and prints the durations.
pub(super) fn run(processes: u32, calls: usize) -> Result<ExitCode> {
    let timings = 2 * calls * size_of::<u32>();
    let file = File::from(memfd_create("timings", MFdFlags::MFD_CLOEXEC)?);
    file.set_len((processes as usize * timings) as u64)?;
    // SAFETY: no other process has the file. Each child writes to its own part, which is read after
    // the child has ended.
    let mut memory = unsafe { MmapMut::map_mut(&file) }?;
    // Allocate the pages before calls are timed.
    memory.fill(1);
    let started = Instant::now();
    for (process, timings) in memory.chunks_exact_mut(timings).enumerate() {
        if process >= AT_ONCE {
            wait()?;
        }
        // SAFETY: there is no other thread.
        match unsafe { fork() }.context("cannot fork")? {
            ForkResult::Parent { .. } => {}
            ForkResult::Child => live(timings, calls),
        }
    }
    while wait().is_ok() {}
    let seconds = started.elapsed().as_secs_f64();
    let timing = |bytes: &[u8; 4]| u32::from_ne_bytes(*bytes);
    let of_round = |round: usize| -> Times {
        let of_process = memory.chunks_exact(timings);
        let half = calls * size_of::<u32>();
        let all =
            of_process.flat_map(|all| all[round * half..][..half].as_chunks().0.iter().map(timing));
        let (undisturbed, preempted): (Vec<_>, Vec<_>) = all.partition(|&ns| ns != PREEMPTED);
        let calls = undisturbed.len() + preempted.len();
        Times { calls, preempted: preempted.len(), ns: quantiles(undisturbed) }
    };
    let storm = Storm { seconds, first: of_round(0), again: of_round(1) };
    println!("{}", serde_json::to_string(&storm)?);
    Ok(ExitCode::SUCCESS)
}

/// Makes each call twice, in a child.
fn live(timings: &mut [u8], calls: usize) -> ! {
    let mut before = switches();
    for (at, timing) in timings.as_chunks_mut().0.iter_mut().enumerate() {
        let started = Instant::now();
        call(at % calls);
        let took = started.elapsed();
        let after = switches();
        let took = if after == before { nanoseconds(took) } else { PREEMPTED };
        *timing = took.to_ne_bytes();
        before = after;
    }
    // SAFETY: ends this process without running the exit handlers of the parent.
    unsafe { libc::_exit(0) }
}

/// The number of context switches of this process. Makes one syscall.
fn switches() -> Option<c_long> {
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    Some(usage.voluntary_context_switches() + usage.involuntary_context_switches())
}

/// The value that stands for the duration of a preempted call.
const PREEMPTED: u32 = u32::MAX;

fn nanoseconds(time: Duration) -> u32 {
    u32::try_from(time.as_nanos()).unwrap_or(u32::MAX - 1)
}

fn quantiles(mut of: Vec<u32>) -> [u32; 2] {
    of.sort_unstable();
    [0.5, 0.99].map(|q| of[(q * (of.len() - 1) as f64) as usize])
}
