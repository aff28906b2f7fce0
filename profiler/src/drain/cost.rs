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
    Own { cpu_time, resident_bytes: resident_pages().unwrap_or(0) * procfs::page_size() }
}

/// The second number of /proc/self/statm (proc_pid_statm(5)).
fn resident_pages() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    statm.split(' ').nth(1)?.parse().ok()
}
