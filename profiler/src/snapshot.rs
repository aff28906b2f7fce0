//! The result of one drain: immutable, and all that consumers read.

use std::{sync::Arc, time::Duration};

use profiler_common::{call::CallKey, wire::Counters};

use crate::aggregate::Figures;

/// Everything known at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Drains before this one.
    pub sequence: u64,
    /// From the moment the programs were attached to this reading.
    pub window: Duration,
    /// From the reading before to this one; equal to `window` in the first.
    pub interval: Duration,
    /// CPUs online.
    pub cpus: usize,
    /// Every system call that was seen, over all processes, whether these are
    /// still listed or not; by key.
    pub calls: Vec<CallRow>,
    /// Processes, in no order. Empty unless [`Detail::Processes`] was asked for.
    pub processes: Vec<ProcessRow>,
    /// Calls in flight, the oldest first. Empty likewise.
    pub in_flight: Vec<InFlight>,
    /// How the profiler itself fares.
    pub health: Health,
}

/// How much a snapshot is to hold; what is not asked for costs nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Detail {
    /// System calls over all processes.
    Calls,
    /// Also each process, and calls in flight.
    Processes,
}

/// A system call.
#[derive(Clone, Debug)]
pub struct CallRow {
    /// Which.
    pub key: CallKey,
    /// Since the programs were attached.
    pub total: Figures,
    /// Within [`Snapshot::interval`]. Its extremes are exact where the interval
    /// brought a new extreme, and otherwise the bounds of the outermost buckets.
    pub recent: Figures,
}

/// A process.
#[derive(Clone, Debug)]
pub struct ProcessRow {
    /// Who.
    pub process: Arc<Process>,
    /// Its system calls, by key.
    pub calls: Vec<CallRow>,
}

impl ProcessRow {
    /// All its calls since the programs were attached.
    pub fn total(&self) -> Figures {
        self.calls.iter().map(|row| &row.total).collect()
    }

    /// All its calls within the interval.
    pub fn recent(&self) -> Figures {
        self.calls.iter().map(|row| &row.recent).collect()
    }
}

/// Identity of a process. Ids are those of the initial pid namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Process {
    /// Process id, or `None` for the bucket of calls that found no room in the
    /// tables and so belong to no process.
    pub tgid: Option<u32>,
    /// Start, nanoseconds since boot; with `tgid` it names the process for good.
    pub start_ns: u64,
    /// Name, the last that was seen. Untrusted bytes made printable.
    pub comm: String,
    /// Whether it has ended.
    pub ended: bool,
}

/// The name shown for [`Process::tgid`] `None`. Beside whole calls this row has errors
/// and latencies of calls that found room for all but that.
pub const OVERFLOW_COMM: &str = "(overflow)";

/// A call that has not returned.
#[derive(Clone, Debug)]
pub struct InFlight {
    /// Its process.
    pub process: Arc<Process>,
    /// Its thread.
    pub tid: u32,
    /// Which call.
    pub key: CallKey,
    /// For how long.
    pub age: Duration,
}

/// The profiler's own state: what it lost, how full it is, what it costs.
#[derive(Clone, Debug, Default)]
pub struct Health {
    /// Rare events, over all CPUs.
    pub counters: Counters,
    /// Programs, and how often the kernel skipped each (`recursion_misses`).
    pub program_misses: Vec<(&'static str, u64)>,
    /// Calls counted in overflow slots: in the totals, but of no process.
    pub overflowed: u64,
    /// Threads whose books did not balance: what was counted at entry and at exit, by
    /// thread and by call, disagreed. 0 is the only good value.
    pub breaches: u64,
    /// Records and extents, in use and in all.
    pub records: Use,
    /// Room for figures, in extents of 1 KiB.
    pub extents: Use,
    /// Kernel memory of all maps, bytes.
    pub kernel_memory_bytes: u64,
    /// How long the last drain took.
    pub drain_time: Duration,
    /// CPU time of this process since its start.
    pub cpu_time: Duration,
    /// Resident memory of this process, bytes.
    pub resident_bytes: u64,
    /// Which programs run, for people: `tp_btf, task storage` or the fallback.
    pub mode: &'static str,
}

impl Health {
    /// Calls that went uncounted, by all ways that are known. 0 is the only good
    /// value.
    pub fn lost(&self) -> u64 {
        let c = &self.counters;
        c.lost_entries
            + c.lost_exits
            + c.lost_children
            + self.program_misses.iter().map(|(_, n)| n).sum::<u64>()
    }
}

/// How much of a bounded thing is in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Use {
    /// In use now.
    pub used: u64,
    /// In all.
    pub capacity: u64,
}
