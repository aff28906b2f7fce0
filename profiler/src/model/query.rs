//! What to watch, how to time it, and what to show of it.

use std::{num::NonZeroU32, time::Duration};

use serde::{Deserialize, Serialize};

use super::{CallRow, Detail, Figures, Snapshot};

/// Which processes count.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scope {
    /// All of the host's.
    #[default]
    Host,
    /// These, by host process id, and the children that they start from now on.
    Processes(Vec<u32>),
}

/// Which calls are timed. All are counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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

/// What rows can be told apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dimension {
    /// The syscall, with its ABI.
    Syscall,
    /// The ABI of the syscall.
    Abi,
    /// The category of the syscall.
    Category,
    /// The set of strace's classes that the syscall is in. Each call is in one row.
    Class,
    /// The process.
    Process,
    /// The name of the process: one row for all processes of that name.
    Comm,
    /// The real user of the process.
    User,
    /// The thread.
    Thread,
}

impl Dimension {
    /// Every dimension.
    pub const ALL: [Self; 8] = [
        Self::Syscall,
        Self::Abi,
        Self::Category,
        Self::Class,
        Self::Process,
        Self::Comm,
        Self::User,
        Self::Thread,
    ];

    /// The name in flags, JSON and labels.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Syscall => "syscall",
            Self::Abi => "abi",
            Self::Category => "category",
            Self::Class => "class",
            Self::Process => "process",
            Self::Comm => "comm",
            Self::User => "user",
            Self::Thread => "thread",
        }
    }

    /// How much a snapshot has to hold for rows of this dimension.
    pub const fn detail(self) -> Detail {
        match self {
            Self::Syscall | Self::Abi | Self::Category | Self::Class => Detail::Calls,
            Self::Process | Self::Comm | Self::User => Detail::Processes,
            Self::Thread => Detail::Threads,
        }
    }

    const fn bit(self) -> u32 {
        1 << self as u32
    }
}

/// The dimensions of a row's key: rows that agree in all of them are one row. By default, the
/// syscall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grouping(u32);

impl Grouping {
    /// A row per syscall.
    pub const SYSCALL: Self = Self(Dimension::Syscall.bit());
    /// A row per process.
    pub const PROCESS: Self = Self(Dimension::Process.bit());
    /// A row per process and syscall.
    pub const PROCESS_SYSCALL: Self = Self(Self::SYSCALL.0 | Self::PROCESS.0);

    /// Whether rows are told apart by this dimension.
    pub const fn has(self, dimension: Dimension) -> bool {
        self.0 & dimension.bit() != 0
    }

    /// Its dimensions, in the order of [`Dimension::ALL`].
    pub fn dimensions(self) -> impl Iterator<Item = Dimension> {
        Dimension::ALL.into_iter().filter(move |&dimension| self.has(dimension))
    }

    /// How much a snapshot has to hold for such rows.
    pub fn detail(self) -> Detail {
        self.dimensions().map(Dimension::detail).max().unwrap_or(Detail::Calls)
    }
}

impl Default for Grouping {
    fn default() -> Self {
        Self::SYSCALL
    }
}

impl FromIterator<Dimension> for Grouping {
    fn from_iter<I: IntoIterator<Item = Dimension>>(dimensions: I) -> Self {
        Self(dimensions.into_iter().fold(0, |bits, dimension| bits | dimension.bit()))
    }
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
