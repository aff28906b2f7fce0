//! The result of one drain: immutable, and all that consumers read.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use profiler_common::call::CallKey;

use serde::{Deserialize, Serialize};

use super::{Figures, Health, InFlight, Process, Provenance, Thread, wire};
use crate::text::Untrusted;

/// Everything known at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Where it comes from.
    pub provenance: Arc<Provenance>,
    /// Drains before this one.
    pub sequence: u64,
    /// From the moment the programs were attached to this reading.
    pub window: Duration,
    /// From the snapshot that this one was compared with by [`Self::since`] to this one; 0
    /// before that.
    pub interval: Duration,
    /// CPUs online.
    pub cpus: usize,
    /// Every system call that was seen, over all processes, whether these are
    /// still listed or not; by key.
    pub calls: Vec<CallRow>,
    /// Processes, in no order. Empty unless [`Detail::Processes`] was asked for.
    pub processes: Vec<ProcessRow>,
    /// Names of users by id, of those users that have one. Empty unless users were asked for.
    pub users: Arc<BTreeMap<u32, Untrusted>>,
    /// Calls that have not returned.
    pub in_flight: InFlight,
    /// How the profiler itself fares.
    pub health: Health,
}

/// How much a snapshot is to hold; what is not asked for costs nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Detail {
    /// System calls over all processes.
    Calls,
    /// Also each process.
    Processes,
    /// Also each thread of each process. The engine has to be told in advance (`Engine::set_detail`).
    Threads,
}

/// A system call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallRow {
    /// Which.
    #[serde(with = "wire::Key")]
    pub key: CallKey,
    /// Since the programs were attached.
    pub total: Figures,
    /// Within [`Snapshot::interval`]; nothing before [`Snapshot::since`]. Its extremes are as
    /// [`Figures::since`] has them.
    pub recent: Figures,
}

impl CallRow {
    /// A syscall with these figures since the programs were attached, and none in the interval.
    pub fn new(key: CallKey, total: Figures) -> Self {
        Self { key, total, recent: Figures::default() }
    }
}

/// A thread of a process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThreadRow {
    /// Who. `None` for the sum of ended threads that are no longer listed.
    pub thread: Option<Arc<Thread>>,
    /// Its system calls, by key. Shared by all snapshots between which it made none.
    pub calls: Arc<Vec<CallRow>>,
}

/// A process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessRow {
    /// Who.
    pub process: Arc<Process>,
    /// Its system calls, by key. Shared by all snapshots between which it made none.
    pub calls: Arc<Vec<CallRow>>,
    /// The same calls by thread, in no order. Empty unless [`Detail::Threads`] was asked for.
    pub threads: Vec<ThreadRow>,
}

impl ProcessRow {
    /// A process with these calls, by key.
    pub fn new(process: impl Into<Arc<Process>>, calls: Vec<CallRow>) -> Self {
        Self { process: process.into(), calls: calls.into(), threads: Vec::new() }
    }

    /// All its calls since the programs were attached.
    pub fn total(&self) -> Figures {
        self.calls.iter().map(|row| &row.total).collect()
    }

    /// All its calls within the interval.
    pub fn recent(&self) -> Figures {
        self.calls.iter().map(|row| &row.recent).collect()
    }
}
