//! The result of one drain: immutable, and all that consumers read.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use profiler_common::call::CallKey;

use serde::{Deserialize, Serialize};

use super::{
    Cgroup, Failures, Figures, Health, InFlight, IoUring, NO_CGROUP, Process, Provenance, Thread,
    wire,
};
use crate::text::Untrusted;

/// All figures at one time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The host, the clocks and the query of the snapshot.
    pub provenance: Arc<Provenance>,
    /// Number of earlier snapshots of the engine.
    pub sequence: u64,
    /// Time from the attach to this reading.
    pub window: Duration,
    /// Time from the previous snapshot to this one. [`Self::since`] sets it; before that, 0.
    pub interval: Duration,
    /// Number of online CPUs.
    pub cpus: usize,
    /// Every syscall with its figures, by key. Sums over all processes, also over those that are no
    /// longer listed.
    pub calls: Vec<CallRow>,
    /// Processes, in no order. Empty without [`Detail::Processes`].
    pub processes: Vec<ProcessRow>,
    /// Names of users by id. A user without a name is missing, and so is a user whose name is not
    /// known yet. Empty if the query does not ask for users.
    pub users: Arc<BTreeMap<u32, Untrusted>>,
    /// The cgroups of processes by id, of those whose path is known. Without [`Detail::Processes`],
    /// only those of groups of metrics.
    pub cgroups: Arc<BTreeMap<u64, Arc<Cgroup>>>,
    /// Calls that have not returned.
    pub in_flight: InFlight,
    /// Operations of io_uring.
    pub io_uring: IoUring,
    /// The targets of calls that failed, if they are noted. A recording does not have them.
    #[serde(skip)]
    pub failures: Failures,
    /// Losses, state and cost of the engine.
    pub health: Health,
}

/// The detail of a snapshot. Detail that is not requested costs nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Detail {
    /// Sums per syscall, over all processes.
    Calls,
    /// Also each process with its syscalls.
    Processes,
    /// Also each thread of each process. Requires `Engine::set_detail` in advance.
    Threads,
}

/// The figures of a syscall.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallRow {
    /// The syscall.
    #[serde(with = "wire::Key")]
    pub key: CallKey,
    /// Figures since the attach.
    pub total: Figures,
    /// Figures within [`Snapshot::interval`]. [`Snapshot::since`] sets them; before that, zero. For
    /// the extremes, see [`Figures::since`].
    pub recent: Figures,
}

impl CallRow {
    /// A syscall with these figures since the programs were attached, and none in the interval.
    pub fn new(key: CallKey, total: Figures) -> Self {
        Self { key, total, recent: Figures::default() }
    }
}

/// The figures of a process or thread in a cgroup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CgroupRow {
    /// The id of the cgroup in which the calls entered; [`NO_CGROUP`](super::NO_CGROUP) if the
    /// cgroup is unknown or not recorded.
    pub cgroup: u64,
    /// The calls, by key. Snapshots share the list as long as no call changes it.
    pub calls: Arc<Vec<CallRow>>,
}

/// The figures of a thread.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThreadRow {
    /// The thread. `None` for the sum of ended threads that are no longer listed.
    pub thread: Option<Arc<Thread>>,
    /// The syscalls, by key. Snapshots share the list as long as no call changes it.
    pub calls: Arc<Vec<CallRow>>,
    /// The cgroup of its last calls.
    pub cgroup: u64,
    /// The same calls by cgroup. Empty if all entered in the same.
    pub cgroups: Vec<CgroupRow>,
}

impl ThreadRow {
    /// A thread with these calls, by key, of no cgroup.
    pub fn new(thread: Option<Arc<Thread>>, calls: Arc<Vec<CallRow>>) -> Self {
        Self { thread, calls, cgroup: NO_CGROUP, cgroups: Vec::new() }
    }
}

/// The figures of a process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessRow {
    /// The process.
    pub process: Arc<Process>,
    /// The syscalls, by key. Snapshots share the list as long as no call changes it.
    pub calls: Arc<Vec<CallRow>>,
    /// The cgroup of its last calls.
    pub cgroup: u64,
    /// The same calls by cgroup. Empty if all entered in the same.
    pub cgroups: Vec<CgroupRow>,
    /// The same calls by thread, in no order. Empty without [`Detail::Threads`].
    pub threads: Vec<ThreadRow>,
}

impl ProcessRow {
    /// A process with these calls, by key.
    pub fn new(process: impl Into<Arc<Process>>, calls: Vec<CallRow>) -> Self {
        Self {
            process: process.into(),
            calls: calls.into(),
            cgroup: NO_CGROUP,
            cgroups: Vec::new(),
            threads: Vec::new(),
        }
    }

    /// The ids of its cgroups.
    pub fn cgroup_ids(&self) -> impl Iterator<Item = u64> {
        let of_parts = self.cgroups.iter().map(|part| part.cgroup);
        std::iter::once(self.cgroup).chain(of_parts)
    }

    /// The sum of all its calls since the attach.
    pub fn total(&self) -> Figures {
        self.calls.iter().map(|row| &row.total).collect()
    }

    /// The sum of all its calls within the interval.
    pub fn recent(&self) -> Figures {
        self.calls.iter().map(|row| &row.recent).collect()
    }
}
