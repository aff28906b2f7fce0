//! The kernel side as seen from user space: the only place that knows aya.
//!
//! [`Session`] is loaded and attached programs; [`Tables`] is what they recorded,
//! as plain values. What the values mean is the business of [`crate::engine::kernel::drain`].

mod arena;
mod attached;
mod before;
mod btf;
pub mod drain;
mod error;
pub mod features;
mod filter;
mod identity;
mod load;
mod loader;
mod mapping;
mod memory;
mod object;
mod options;
mod prefetch;
mod programs;
mod signals;
mod statistics;
mod tables;
mod users;

use std::{
    fs::File,
    os::{fd::RawFd, unix::fs::FileExt as _},
};

pub use arena::Cast;
pub use error::KernelError;
pub use load::{Session, release_memory, return_large_blocks};
pub use memory::{Fit, MemoryLimit};
pub use options::{Options, Request};
pub use signals::SignalsSent;
pub use statistics::{Statistics, can_be_kept};
#[cfg(any(test, feature = "bench"))]
pub(crate) use tables::UNOWNED;
pub(crate) use tables::ZERO_OVERFLOW;
pub use tables::{Activity, Before, MapTables, SlotCounts, Tables};

/// What the kernel says of one of our descriptors, in `/proc/self/fdinfo`
/// (bpf_map_show_fdinfo and bpf_prog_show_fdinfo, kernel/bpf/syscall.c).
///
/// Opened once: before Linux 5.14 only root may open such a file of a process that cannot be
/// traced, and a daemon becomes one (`proc_fdinfo_inode_operations`, fs/proc/fd.c).
struct FdInfo(Option<File>);

impl FdInfo {
    fn of(fd: RawFd) -> Self {
        Self(File::open(format!("/proc/self/fdinfo/{fd}")).ok())
    }

    /// All that it says now.
    fn text(&self) -> Option<String> {
        // With room for all of it at once: the kernel is asked at every drain.
        let mut text = vec![0; 2048];
        let mut length = 0;
        // At offset 0 the kernel makes the text anew (seq_read_iter, fs/seq_file.c).
        while let read @ 1.. = self.0.as_ref()?.read_at(&mut text[length..], length as u64).ok()? {
            length += read;
        }
        text.truncate(length);
        String::from_utf8(text).ok()
    }

    /// A number that it says.
    fn number(&self, key: &str) -> Option<u64> {
        field(&self.text()?, key)
    }
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
