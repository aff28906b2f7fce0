//! Where a snapshot comes from: the host, its clocks, and the query.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::{Scope, Timed};
use crate::text::Untrusted;

/// Where snapshots come from. The same for all snapshots of an engine, which share it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// The name of the host; `None` if it cannot be read.
    pub host: Option<Untrusted>,
    /// The release of the kernel, as `uname -r` prints it; `None` if it cannot be read.
    pub kernel: Option<Untrusted>,
    /// The id of the boot, which tells apart times and process ids of different boots
    /// (random(4)); `None` if it cannot be read.
    pub boot: Option<Untrusted>,
    /// When the engine was attached, by the wall clock.
    pub started: SystemTime,
    /// When the engine was attached, by the host's `CLOCK_MONOTONIC`.
    pub started_monotonic: Duration,
    /// Which processes count.
    pub scope: Scope,
    /// Which of these processes and of their calls count, for people; empty if all do.
    pub filter: Untrusted,
    /// Which calls are timed.
    pub timed: Timed,
}

impl Default for Provenance {
    fn default() -> Self {
        Self {
            host: None,
            kernel: None,
            boot: None,
            started: SystemTime::UNIX_EPOCH,
            started_monotonic: Duration::ZERO,
            scope: Scope::default(),
            filter: Untrusted::default(),
            timed: Timed::default(),
        }
    }
}
