//! What the profiler's own process costs.

use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};

/// CPU time and memory of this process.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Own {
    /// User and system time of all threads since the start.
    pub(super) cpu_time: Duration,
    /// Resident memory now, shared mappings included; 0 without /proc.
    pub(super) resident_bytes: u64,
}

/// Reads them.
pub(super) fn own() -> Own {
    let cpu_time = getrusage(UsageWho::RUSAGE_SELF).map_or(Duration::ZERO, |usage| {
        [usage.user_time(), usage.system_time()]
            .into_iter()
            .map(|t| {
                let micros = t.tv_sec().unsigned_abs() * 1_000_000 + t.tv_usec().unsigned_abs();
                Duration::from_micros(micros)
            })
            .sum()
    });
    let resident_bytes = procfs::process::Process::myself()
        .and_then(|process| process.statm())
        .map_or(0, |statm| statm.resident * procfs::page_size());
    Own { cpu_time, resident_bytes }
}
