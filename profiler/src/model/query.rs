//! What to watch, how to time it, and what to show of it.

use std::{num::NonZeroU32, time::Duration};

use serde::{Deserialize, Serialize};

use super::{CallRow, Detail, Figures, Snapshot};

/// Which processes are counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scope {
    /// All processes of the host.
    #[default]
    Host,
    /// These processes, by host process id, and all children that they start after the attach.
    Processes(Vec<u32>),
}

/// Which calls are timed. All calls are counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Timed {
    /// All calls.
    #[default]
    All,
    /// On average one call in this many, of each thread and syscall. At least 2.
    OneIn(NonZeroU32),
    /// All calls while a thread makes at most this many calls of a syscall per second. Above that,
    /// a sample that keeps to this number.
    Adaptive(NonZeroU32),
    /// No calls: counts and outcomes only.
    None,
}

impl Timed {
    /// The sampling rate: of these calls, one in this many was timed. `None` if no call is timed.
    /// With adaptive sampling, this is the mean, rounded up.
    pub fn one_in(self, sum: &Figures) -> Option<u64> {
        match self {
            Self::All => Some(1),
            Self::OneIn(calls) => Some(calls.get().into()),
            Self::Adaptive(_) => Some(sum.left().div_ceil(sum.timed().max(1)).max(1)),
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
    /// Maximum latency
    Max,
    /// Name, ascending
    Name,
}

/// A dimension by which calls are grouped into rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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
    /// The cgroup in which the calls entered.
    Cgroup,
    /// The systemd unit of the cgroup.
    Unit,
    /// The container of the cgroup.
    Container,
    /// The Kubernetes pod of the cgroup.
    Pod,
    /// The thread.
    Thread,
}

impl Dimension {
    /// Every dimension.
    pub const ALL: [Self; 12] = [
        Self::Syscall,
        Self::Abi,
        Self::Category,
        Self::Class,
        Self::Process,
        Self::Comm,
        Self::User,
        Self::Cgroup,
        Self::Unit,
        Self::Container,
        Self::Pod,
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
            Self::Cgroup => "cgroup",
            Self::Unit => "unit",
            Self::Container => "container",
            Self::Pod => "pod",
            Self::Thread => "thread",
        }
    }

    /// The detail that a snapshot requires for rows of this dimension.
    pub const fn detail(self) -> Detail {
        match self {
            Self::Syscall | Self::Abi | Self::Category | Self::Class => Detail::Calls,
            Self::Process | Self::Comm | Self::User => Detail::Processes,
            Self::Cgroup | Self::Unit | Self::Container | Self::Pod => Detail::Processes,
            Self::Thread => Detail::Threads,
        }
    }

    /// Whether the value of the dimension follows from the cgroup.
    pub const fn is_of_cgroup(self) -> bool {
        matches!(self, Self::Cgroup | Self::Unit | Self::Container | Self::Pod)
    }

    const fn bit(self) -> u32 {
        1 << self as u32
    }
}

/// The dimensions of a row's key. Calls with the same value in each dimension share a row. By
/// default, the syscall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grouping(u32);

impl Grouping {
    /// A row per syscall.
    pub const SYSCALL: Self = Self(Dimension::Syscall.bit());
    /// A row per process.
    pub const PROCESS: Self = Self(Dimension::Process.bit());
    /// A row per process and syscall.
    pub const PROCESS_SYSCALL: Self = Self(Self::SYSCALL.0 | Self::PROCESS.0);

    /// Whether this dimension is part of the key.
    pub const fn has(self, dimension: Dimension) -> bool {
        self.0 & dimension.bit() != 0
    }

    /// The dimensions of the key, in the order of [`Dimension::ALL`].
    pub fn dimensions(self) -> impl Iterator<Item = Dimension> {
        Dimension::ALL.into_iter().filter(move |&dimension| self.has(dimension))
    }

    /// Whether a dimension of the key is the cgroup, or follows from the cgroup.
    pub fn is_by_cgroup(self) -> bool {
        self.dimensions().any(Dimension::is_of_cgroup)
    }

    /// The detail that a snapshot requires for these rows.
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

/// The time that figures cover.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// Since the attach.
    Total,
    /// Within the last interval.
    Recent,
}

impl Span {
    /// The figures of a row for this span.
    pub fn of(self, row: &CallRow) -> &Figures {
        match self {
            Self::Total => &row.total,
            Self::Recent => &row.recent,
        }
    }

    /// The length of the span.
    pub fn length(self, snapshot: &Snapshot) -> Duration {
        match self {
            Self::Total => snapshot.window,
            Self::Recent => snapshot.interval,
        }
    }
}
