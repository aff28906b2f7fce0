//! The kernel side as seen from user space: the only place that knows aya.
//!
//! [`Session`] is loaded and attached programs; [`Tables`] is what they recorded,
//! as plain values. What the values mean is the business of [`crate::drain`].

mod arena;
mod attached;
mod before;
mod btf;
mod error;
pub mod features;
mod filter;
mod identity;
mod load;
mod mapping;
mod memory;
mod object;
mod options;
mod programs;
mod signals;
mod statistics;
mod tables;

use std::{fs::File, io::Read as _, os::fd::RawFd};

pub use arena::Cast;
pub use error::KernelError;
pub use load::{Session, release_memory, return_large_blocks};
pub use memory::{Fit, MemoryLimit};
pub use options::{Options, Scope, Timed};
pub use signals::SignalsSent;
pub use statistics::{Program, Runs, Statistics, Untimed, can_be_kept};
#[cfg(any(test, feature = "bench"))]
pub(crate) use tables::UNOWNED;
pub(crate) use tables::ZERO_OVERFLOW;
pub use tables::{Activity, Before, MapTables, SlotCounts, Tables};

/// A number out of `/proc/self/fdinfo` (bpf_map_show_fdinfo and
/// bpf_prog_show_fdinfo, kernel/bpf/syscall.c).
fn fdinfo(fd: RawFd, key: &str) -> Option<u64> {
    field(&fdinfo_text(fd)?, key)
}

/// All of them.
fn fdinfo_text(fd: RawFd) -> Option<String> {
    // With room for all of it at once: the kernel is asked at every drain.
    let mut text = String::with_capacity(1024);
    File::open(format!("/proc/self/fdinfo/{fd}")).ok()?.read_to_string(&mut text).ok()?;
    Some(text)
}

/// The number behind `key:` in such a text.
fn field(text: &str, key: &str) -> Option<u64> {
    let (_, value) = text.lines().filter_map(|l| l.split_once(':')).find(|(k, _)| *k == key)?;
    value.trim().parse().ok()
}

/// CPUs online, whether or not this process may run on them; 1 if that cannot be read.
pub fn online_cpus() -> usize {
    aya::util::online_cpus().map_or(1, |cpus| cpus.len())
}
