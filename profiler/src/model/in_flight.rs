//! Calls that have not returned.

use std::{sync::Arc, time::Duration};

use profiler_common::call::CallKey;

use serde::{Deserialize, Serialize};

use super::{Process, wire};

/// The calls that had not returned when the snapshot was taken. Read thread by thread,
/// so a call that lasts no longer than a reading may be in it or not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InFlight {
    /// Every call that anybody is in, by key.
    pub calls: Vec<CallInFlight>,
    /// The oldest: at most 256 of each kind, so that what waits for days crowds out no
    /// other. By kind, and the oldest of each first.
    pub oldest: Vec<ThreadInFlight>,
    /// Whether calls are in it that entered before the profiler attached.
    pub sees_before: bool,
}

/// How many threads are in a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallInFlight {
    /// Which call.
    #[serde(with = "wire::Key")]
    pub key: CallKey,
    /// What the call does while it lasts.
    pub kind: Kind,
    /// Threads that are in it.
    pub threads: u64,
    /// Of these, threads that found no record: neither they nor for how long are known.
    pub unrecorded: u64,
    /// Of them, threads whose call entered before the profiler attached, and so is in no
    /// figures.
    pub before: u64,
    /// For how long the longest is, of those of which that is known; at least, if it
    /// entered before.
    pub oldest: Duration,
}

/// A thread that is in a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThreadInFlight {
    /// Its process.
    pub process: Arc<Process>,
    /// Its id.
    pub tid: u32,
    /// Which call.
    #[serde(with = "wire::Key")]
    pub key: CallKey,
    /// What the call does while it lasts.
    pub kind: Kind,
    /// For how long.
    pub age: Duration,
    /// It entered before the profiler attached, and `age` is since then; or it was not timed,
    /// and `age` is since it was first found in flight.
    pub at_least: bool,
}

/// What a call does for as long as it lasts. In the order of concern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// It works: reads a disk, takes a lock, connects. Where it lasts, something is slow
    /// or stuck.
    Works,
    /// It waits for somebody else where its descriptor is a pipe, a socket, a terminal or
    /// a device, and works where that is a file. The number alone does not tell.
    MayWait,
    /// It waits: for an event, for a time, for a child. That is what it was called for.
    Waits,
}

impl Kind {
    /// Every kind, that of most concern first.
    pub const ALL: [Self; 3] = [Self::Works, Self::MayWait, Self::Waits];

    /// The name that labels and JSON carry.
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
