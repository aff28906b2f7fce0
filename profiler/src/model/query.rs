//! What to watch, how to time it, and what to show of it.

use std::{num::NonZeroU32, time::Duration};

use super::{CallRow, Figures, Snapshot};

/// Which processes count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// All of the host's.
    #[default]
    Host,
    /// These, by host process id, and the children that they start from now on.
    Processes(Vec<u32>),
}

/// Which calls are timed. All are counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Timed {
    /// All of them.
    #[default]
    All,
    /// One in so many on average, of every thread and system call alike; two or more.
    OneIn(NonZeroU32),
    /// None: counts and outcomes only.
    None,
}

impl Timed {
    /// One call in how many: 1 for all; `None` for none.
    pub fn one_in(self) -> Option<u32> {
        match self {
            Self::All => Some(1),
            Self::OneIn(calls) => Some(calls.get()),
            Self::None => None,
        }
    }
}

/// A column to sort by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum SortKey {
    /// Total time
    #[default]
    Total,
    /// Calls
    Calls,
    /// Errors
    Errors,
    /// Mean latency
    Mean,
    /// Median latency
    P50,
    /// 99th percentile of latency
    P99,
    /// Greatest latency
    Max,
    /// Name, ascending
    Name,
}

/// What makes a row of `profiler stat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Grouping {
    /// A system call, over all processes
    #[default]
    Syscall,
    /// A process, over all its system calls
    Process,
    /// A system call of a process
    ProcessSyscall,
}

/// Which figures of a snapshot are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// Since the programs were attached.
    Total,
    /// Within the last interval.
    Recent,
}

impl Span {
    /// These figures of a row.
    pub fn of(self, row: &CallRow) -> &Figures {
        match self {
            Self::Total => &row.total,
            Self::Recent => &row.recent,
        }
    }

    /// Its length.
    pub fn length(self, snapshot: &Snapshot) -> Duration {
        match self {
            Self::Total => snapshot.window,
            Self::Recent => snapshot.interval,
        }
    }
}
