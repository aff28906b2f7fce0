//! Who makes a call: processes, their threads, and users.

use serde::{Deserialize, Serialize};

use crate::text::Untrusted;

/// Identity of a process. Ids are those of the initial pid namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Process {
    /// Process id. `None` for a row that belongs to no single process, such as [`OVERFLOW_COMM`].
    pub tgid: Option<u32>,
    /// Start of the process, in nanoseconds since boot. Together with `tgid`, unique on the host.
    pub start_ns: u64,
    /// The most recent name.
    pub comm: Untrusted,
    /// The most recent real user id, in the initial user namespace. `None` if unknown.
    pub uid: Option<u32>,
    /// Whether the process or thread has ended.
    pub ended: bool,
}

impl Process {
    /// A running process.
    pub fn new(tgid: u32, start_ns: u64, comm: impl Into<Untrusted>) -> Self {
        Self { tgid: Some(tgid), start_ns, comm: comm.into(), ..Self::default() }
    }

    /// The owner of a row that belongs to no single process, such as [`OVERFLOW_COMM`].
    pub fn nobody(comm: &str) -> Self {
        Self { comm: comm.into(), ..Self::default() }
    }

    /// The same process, ended.
    #[must_use]
    pub fn into_ended(self) -> Self {
        Self { ended: true, ..self }
    }
}

/// Identity of a thread. Ids are those of the initial pid namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Thread {
    /// Thread id. An exec by a thread that is not the leader changes it to the id of the process.
    pub tid: u32,
    /// Number of the thread, in the order in which the engine found the threads. Unique for an
    /// engine, while the kernel reuses thread ids.
    pub serial: u64,
    /// The most recent name of the thread.
    pub comm: Untrusted,
    /// Whether the process or thread has ended.
    pub ended: bool,
}

/// The name of the row for calls that were counted without their process, because a table was full.
/// If only an errno or a latency of a call did not fit, this row has only that errno or latency.
pub const OVERFLOW_COMM: &str = "(overflow)";

/// The name of the row with the sum of ended processes that are no longer listed. Within a process,
/// the name of the row with the sum of such threads.
pub const ENDED_COMM: &str = "(ended)";
