//! The result of one drain: immutable, and all that consumers read.

mod cost;

use std::{sync::Arc, time::Duration};

pub(crate) use cost::runs_since;
pub use cost::{Cost, CpuTime, Times, Timing};
use profiler_common::{call::CallKey, wire::Counters};

use crate::{
    aggregate::Figures,
    enrich::lasting::{self, Kind},
    kernel::Timed,
    text::Untrusted,
    units,
};

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
    /// Calls that have not returned.
    pub in_flight: InFlight,
    /// How the profiler itself fares.
    pub health: Health,
}

/// How much a snapshot is to hold; what is not asked for costs nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Detail {
    /// System calls over all processes.
    Calls,
    /// Also each process.
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
    /// Its system calls, by key. Shared by all snapshots between which it made none.
    pub calls: Arc<Vec<CallRow>>,
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
    /// Name, the last that was seen.
    pub comm: Untrusted,
    /// Whether it has ended.
    pub ended: bool,
}

/// The name shown for [`Process::tgid`] `None`. Beside whole calls this row has errors
/// and latencies of calls that found room for all but that.
pub const OVERFLOW_COMM: &str = "(overflow)";

/// The calls that had not returned when the snapshot was taken. Read thread by thread,
/// so a call that lasts no longer than a reading may be in it or not.
#[derive(Clone, Debug, Default)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallInFlight {
    /// Which call.
    pub key: CallKey,
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
#[derive(Clone, Debug)]
pub struct ThreadInFlight {
    /// Its process.
    pub process: Arc<Process>,
    /// Its id.
    pub tid: u32,
    /// Which call.
    pub key: CallKey,
    /// For how long.
    pub age: Duration,
    /// It entered before the profiler attached, and `age` is since then; or it was not timed,
    /// and `age` is since it was first found in flight.
    pub at_least: bool,
}

impl CallInFlight {
    /// What the call does while it lasts.
    pub fn kind(&self) -> Kind {
        lasting::kind(self.key)
    }
}

impl ThreadInFlight {
    /// Its age for people: `>9.12s` where it is at least that.
    pub fn age_text(&self) -> String {
        let sign = if self.at_least { ">" } else { "" };
        format!("{sign}{}", units::age(self.age))
    }

    /// What the call does while it lasts.
    pub fn kind(&self) -> Kind {
        lasting::kind(self.key)
    }
}

impl InFlight {
    /// Threads in calls of a kind.
    pub fn count(&self, kind: Kind) -> u64 {
        self.calls.iter().filter(|call| call.kind() == kind).map(|call| call.threads).sum()
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
        self.oldest.iter().find(|thread| thread.kind() == kind)
    }
}

/// The profiler's own state: what it lost, how full it is, what it costs.
#[derive(Clone, Debug, Default)]
pub struct Health {
    /// Rare events, over all CPUs.
    pub counters: Counters,
    /// Programs, and how often the kernel skipped each (`recursion_misses`), with all its
    /// copies where there are several.
    pub program_misses: Vec<(&'static str, u64)>,
    /// Calls counted in overflow slots: in the totals, but of no process.
    pub overflowed: u64,
    /// Threads, processes and calls whose books did not balance: what was counted at entry
    /// and at exit, by thread and by call, disagreed. 0 is the only good
    /// value.
    pub breaches: u64,
    /// Which the last of them was, and what did not balance, for people.
    pub last_breach: String,
    /// Records and extents, in use and in all.
    pub records: Use,
    /// Room for figures, in extents of 1 KiB.
    pub extents: Use,
    /// Kernel memory of all maps, bytes.
    pub kernel_memory_bytes: u64,
    /// What it costs beside that.
    pub cost: Cost,
    /// How many copies of each program are attached.
    pub copies: usize,
    /// Which programs run, for people: `tp_btf, task storage` or the fallback.
    pub mode: &'static str,
    /// Which calls are timed.
    pub timed: Timed,
}

impl Health {
    /// Calls that went uncounted, by all ways that show themselves: no room, an exit
    /// without an entry that nothing can have refused, an entry while another call was
    /// still in flight, a fork, exec or end that was missed. 0 is the only good value.
    pub fn lost(&self) -> u64 {
        let c = &self.counters;
        let of_calls = c.lost_entries + c.missed_entries + c.lost_exits;
        of_calls + c.lost_children + self.lives_missed()
    }

    /// Forks, execs, renamings and ends of threads that were missed, at most.
    pub fn lives_missed(&self) -> u64 {
        let of_lives = self.program_misses.iter().filter(|(name, _)| !of_calls(name));
        of_lives.map(|(_, misses)| misses).sum()
    }

    /// What may be lost beside [`Self::lost`], at most: the kernel skipped the programs
    /// for so many entries and exits that showed no trace of it. Those are calls of which
    /// both were skipped, or that count as denied, or of processes out of scope.
    pub fn unseen(&self) -> u64 {
        let c = &self.counters;
        let seen = |name| match name {
            ENTRY => c.missed_entries,
            _ => c.lost_exits,
        };
        let of_calls = self.program_misses.iter().filter(|(name, _)| of_calls(name));
        of_calls.map(|&(name, misses)| misses.saturating_sub(seen(name))).sum()
    }
}

/// Names of the two programs that count calls, in [`Health::program_misses`].
const ENTRY: &str = "sys_enter";
const EXIT: &str = "sys_exit";

fn of_calls(program: &str) -> bool {
    program == ENTRY || program == EXIT
}

/// How much of a bounded thing is in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Use {
    /// In use now.
    pub used: u64,
    /// In all.
    pub capacity: u64,
}
