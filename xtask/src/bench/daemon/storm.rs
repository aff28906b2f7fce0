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
    sys::{
        memfd::{MFdFlags, memfd_create},
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
    /// A call that the process makes for the first time, nanoseconds: median and 99th
    /// percentile.
    pub(super) first_ns: [u32; 2],
    /// One that it makes again.
    pub(super) again_ns: [u32; 2],
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
    let of_round = |round: usize| -> Vec<u32> {
        let of_process = memory.chunks_exact(timings);
        let half = calls * size_of::<u32>();
        of_process
            .flat_map(|all| all[round * half..][..half].as_chunks().0.iter().map(timing))
            .collect()
    };
    let storm =
        Storm { seconds, first_ns: quantiles(of_round(0)), again_ns: quantiles(of_round(1)) };
    println!("{}", serde_json::to_string(&storm)?);
    Ok(ExitCode::SUCCESS)
}

/// What a child does: each call, and each again.
fn live(timings: &mut [u8], calls: usize) -> ! {
    for (at, timing) in timings.as_chunks_mut().0.iter_mut().enumerate() {
        let started = Instant::now();
        call(at % calls);
        *timing = nanoseconds(started.elapsed()).to_ne_bytes();
    }
    // SAFETY: ends this process, without what the parent has to do at its end.
    unsafe { libc::_exit(0) }
}

fn nanoseconds(time: Duration) -> u32 {
    u32::try_from(time.as_nanos()).unwrap_or(u32::MAX)
}

fn quantiles(mut of: Vec<u32>) -> [u32; 2] {
    of.sort_unstable();
    [0.5, 0.99].map(|q| of[(q * (of.len() - 1) as f64) as usize])
}
