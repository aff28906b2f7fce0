//! The kernel side as seen from user space: the only place that knows aya.
//!
//! [`Session`] is loaded and attached programs; [`Tables`] is what they recorded,
//! as plain values. What the values mean is the business of [`crate::drain`].

mod attached;
mod before;
mod btf;
mod error;
pub mod features;
mod filter;
mod load;
mod mapping;
mod object;
mod options;
mod programs;
mod tables;

use std::{fs, os::fd::RawFd, time::Duration};

use nix::time::{ClockId, clock_gettime};

pub use error::KernelError;
pub use load::Session;
pub use options::{Options, Scope};
#[cfg(test)]
pub(crate) use tables::UNOWNED;
pub use tables::{Activity, Before, MapTables, SlotCounts, Tables};

/// The time by the clock of `bpf_ktime_get_ns`, nanoseconds.
pub fn now_ns() -> u64 {
    // There is this clock since Linux 2.6: it cannot fail.
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, |now| Duration::from(now).as_nanos() as u64)
}

/// A number out of `/proc/self/fdinfo` (bpf_map_show_fdinfo and
/// bpf_prog_show_fdinfo, kernel/bpf/syscall.c).
fn fdinfo(fd: RawFd, key: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).ok()?;
    let (_, value) = text.lines().filter_map(|l| l.split_once(':')).find(|(k, _)| *k == key)?;
    value.trim().parse().ok()
}
