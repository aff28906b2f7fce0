//! Who makes a call.

use crate::text::Untrusted;

/// Identity of a process. Ids are those of the initial pid namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Process {
    /// Process id, or `None` for the bucket of calls that found no room in the
    /// tables and so belong to no process.
    pub tgid: Option<u32>,
    /// Start, nanoseconds since boot; with `tgid` it names the process for good.
    pub start_ns: u64,
    /// Name, the last that was seen.
    pub comm: Untrusted,
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

/// The name shown for [`Process::tgid`] `None`. Beside whole calls this row has errors
/// and latencies of calls that found room for all but that.
pub const OVERFLOW_COMM: &str = "(overflow)";

/// The name of the row that has the sum of ended processes that are no longer listed.
pub const ENDED_COMM: &str = "(ended)";
