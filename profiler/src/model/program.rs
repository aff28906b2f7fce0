//! The programs in the kernel: their size, and how often each ran and for how long.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Name of the program that counts entries.
pub(crate) const ENTRY: &str = "sys_enter";

/// Name of the program that counts exits.
pub(crate) const EXIT: &str = "sys_exit";

/// A program of ours, with all its copies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// What it does.
    pub name: String,
    /// Copies that are loaded, whether attached or not.
    pub copies: usize,
    /// Machine code of all copies, bytes; 0 where the programs are interpreted.
    pub jited_bytes: u64,
    /// Instructions that the verifier went through, most for a copy; `None` before Linux
    /// 5.16.
    pub verified_instructions: Option<u32>,
}

/// How often a program ran.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runs {
    /// Runs of all copies.
    pub count: u64,
    /// Runs of the copy that ran most often: with one copy all of them, and with several
    /// how often what they are attached to happened.
    pub events: u64,
    /// How long they took, by the clock of the CPU, of which the kernel's reading it is a
    /// part.
    pub time: Duration,
}

/// Why there are no [`Runs`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum Untimed {
    /// Nobody asked for them.
    #[error("the kernel keeps no statistics of BPF programs now")]
    Off,
    /// They were asked for without the privilege.
    #[error("needs CAP_SYS_ADMIN, or sysctl kernel.bpf_stats_enabled=1")]
    Privilege,
    /// The kernel said no for another reason: an errno.
    #[error("the kernel keeps no statistics of BPF programs: errno {0}")]
    Refused(i32),
}
