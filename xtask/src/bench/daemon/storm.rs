//! Processes that live for a few calls, as fast as they can be made, and what each of
//! their calls takes.

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

/// Children at one time.
const AT_ONCE: usize = 256;

/// What it took.
#[derive(Serialize, Deserialize)]
pub(super) struct Storm {
    pub(super) seconds: f64,
    /// Calls that a process makes for the first time.
    pub(super) first: Times,
    /// Those that it makes again.
    pub(super) again: Times,
}

/// What calls took.
#[derive(Serialize, Deserialize)]
pub(super) struct Times {
    pub(super) calls: usize,
    /// How many of them were interrupted for another process, which took its time.
    pub(super) preempted: usize,
    /// Nanoseconds, of the others: median and 99th percentile.
    pub(super) ns: [u32; 2],
}

/// Prints what it took.
pub(super) fn run(processes: u32, calls: usize) -> Result<ExitCode> {
    let timings = 2 * calls * size_of::<u32>();
    let file = File::from(memfd_create("timings", MFdFlags::MFD_CLOEXEC)?);
    file.set_len((processes as usize * timings) as u64)?;
    // SAFETY: nobody else has the file, and each child writes to a part of its own, which is
    // read when it has ended.
    let mut memory = unsafe { MmapMut::map_mut(&file) }?;
    // Its pages are not to be made while calls are timed.
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

/// What a child does: each call, and each again.
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
    // SAFETY: ends this process, without what the parent has to do at its end.
    unsafe { libc::_exit(0) }
}

/// How often this process has had to wait for a CPU, or chose to; by a system call.
fn switches() -> Option<c_long> {
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    Some(usage.voluntary_context_switches() + usage.involuntary_context_switches())
}

/// Stands for what a call took within which another process had the CPU.
const PREEMPTED: u32 = u32::MAX;

fn nanoseconds(time: Duration) -> u32 {
    u32::try_from(time.as_nanos()).unwrap_or(u32::MAX - 1)
}

fn quantiles(mut of: Vec<u32>) -> [u32; 2] {
    of.sort_unstable();
    [0.5, 0.99].map(|q| of[(q * (of.len() - 1) as f64) as usize])
}
