//! The programs in the kernel: their size, and how often each ran and for how long.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Name of the program that counts entries.
pub(crate) const ENTRY: &str = "sys_enter";

/// Name of the program that counts exits.
pub(crate) const EXIT: &str = "sys_exit";

/// An eBPF program of the profiler, with all its copies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// The name of the program.
    pub name: String,
    /// Number of loaded copies, attached or not.
    pub copies: usize,
    /// Machine code of all copies, in bytes. 0 if the kernel interprets the programs.
    pub jited_bytes: u64,
    /// Instructions that the verifier processed: the maximum over the copies. `None` before Linux
    /// 5.16.
    pub verified_instructions: Option<u32>,
}

/// Runs of a program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runs {
    /// Number of runs of all copies.
    pub count: u64,
    /// Number of runs of the copy that ran most often. This is the number of events that the
    /// program is attached to.
    pub events: u64,
    /// Time of all runs. Includes the time in which the kernel reads the clock.
    pub time: Duration,
}

/// Why [`Runs`] are unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum Untimed {
    /// Nobody requested the statistics.
    #[error("the kernel's BPF statistics are off")]
    Off,
    /// The privilege to request the statistics is missing.
    #[error("requires CAP_SYS_ADMIN or sysctl kernel.bpf_stats_enabled=1")]
    Privilege,
    /// The kernel refused the statistics for another reason: an errno.
    #[error("the kernel refused to enable BPF statistics: errno {0}")]
    Refused(i32),
}
