//! Who makes a call: processes, their threads, and users.

use serde::{Deserialize, Serialize};

use crate::text::Untrusted;

/// Identity of a process. Ids are those of the initial pid namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Process {
    /// Process id, or `None` for the bucket of calls that found no room in the
    /// tables and so belong to no process.
    pub tgid: Option<u32>,
    /// Start, nanoseconds since boot; with `tgid` it names the process for good.
    pub start_ns: u64,
    /// Name, the last that was seen.
    pub comm: Untrusted,
    /// Real user id in the initial user namespace, the last that was seen. `None` if unknown.
    pub uid: Option<u32>,
    /// Whether it has ended.
    pub ended: bool,
}

impl Process {
    /// A process that runs.
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
    /// Number of the thread, in the order in which the engine found them. No two threads of an
    /// engine have the same, while thread ids are used again.
    pub serial: u64,
    /// The thread's own name, the last that was seen.
    pub comm: Untrusted,
    /// Whether it has ended.
    pub ended: bool,
}

/// The name shown for [`Process::tgid`] `None`. Beside whole calls this row has errors
/// and latencies of calls that found room for all but that.
pub const OVERFLOW_COMM: &str = "(overflow)";

/// The name of the row that has the sum of ended processes that are no longer listed, and within
/// a process, of the row that has the sum of such threads.
pub const ENDED_COMM: &str = "(ended)";
