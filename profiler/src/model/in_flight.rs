//! Calls that have not returned.

use std::{sync::Arc, time::Duration};

use profiler_common::call::CallKey;

use serde::{Deserialize, Serialize};

use super::{Process, wire};

/// The calls in flight when the snapshot was taken. A reading visits one thread after another. So a
/// call that is shorter than the reading may be missing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InFlight {
    /// Every syscall with a call in flight, by key.
    pub calls: Vec<CallInFlight>,
    /// The oldest calls: at most 256 of each kind, so that calls that wait for days do not displace
    /// others. Sorted by kind, and then by age, the oldest first.
    pub oldest: Vec<ThreadInFlight>,
    /// Whether calls that entered before the attach are included.
    pub sees_before: bool,
}

/// The threads that are in one syscall.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallInFlight {
    /// The syscall.
    #[serde(with = "wire::Key")]
    pub key: CallKey,
    /// What the call does until it returns.
    pub kind: Kind,
    /// Number of threads in the call.
    pub threads: u64,
    /// Of `threads`, the threads without a record. Their ids and ages are unknown.
    pub unrecorded: u64,
    /// Of `threads`, the threads whose call entered before the attach. No figures include these
    /// calls.
    pub before: u64,
    /// Age of the oldest call whose age is known. If the call entered before the attach, its
    /// minimum age.
    pub oldest: Duration,
}

/// A thread that is in a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThreadInFlight {
    /// The process of the thread.
    pub process: Arc<Process>,
    /// The thread id.
    pub tid: u32,
    /// The syscall.
    #[serde(with = "wire::Key")]
    pub key: CallKey,
    /// What the call does until it returns.
    pub kind: Kind,
    /// How long the call has lasted.
    pub age: Duration,
    /// Whether `age` is a minimum. If the call entered before the attach, `age` is the time since
    /// the attach. If the call was not timed, `age` is the time since a reading first found it in
    /// flight.
    pub at_least: bool,
}

/// What a call does until it returns. In the order of concern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// The call works: it reads a disk, takes a lock, or connects. If the call lasts long,
    /// something is slow or stuck.
    Works,
    /// The call waits if its descriptor is a pipe, a socket, a terminal or a device, and works if
    /// its descriptor is a file. The syscall alone does not tell which.
    MayWait,
    /// The call waits by nature: for an event, a time, or a child.
    Waits,
}

impl Kind {
    /// Every kind, in the order of concern.
    pub const ALL: [Self; 3] = [Self::Works, Self::MayWait, Self::Waits];

    /// The name in labels and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Works => "works",
            Self::MayWait => "may_wait",
            Self::Waits => "waits",
        }
    }

    /// The name for people.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Works => "works",
            Self::MayWait => "may wait",
            Self::Waits => "waits",
        }
    }
}

impl InFlight {
    /// Threads in calls of a kind.
    pub fn count(&self, kind: Kind) -> u64 {
        self.calls.iter().filter(|call| call.kind == kind).map(|call| call.threads).sum()
    }

    /// Threads in calls of any kind.
    pub fn count_all(&self) -> u64 {
        self.calls.iter().map(|call| call.threads).sum()
    }

    /// Threads in calls that entered before the profiler attached.
    pub fn count_before(&self) -> u64 {
        self.calls.iter().map(|call| call.before).sum()
    }

    /// The oldest call of a kind.
    pub fn oldest(&self, kind: Kind) -> Option<&ThreadInFlight> {
        self.oldest.iter().find(|thread| thread.kind == kind)
    }
}
