//! How the profiler itself fares: what it lost, how full its tables are.

use std::borrow::Cow;

use profiler_common::wire::Counters;

use serde::{Deserialize, Serialize};

use super::{Cost, Timed, wire};

/// The profiler's own state: what it lost, how full it is, what it costs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Rare events, over all CPUs.
    #[serde(with = "wire::RareEvents")]
    pub counters: Counters,
    /// Programs, and how often the kernel skipped each (`recursion_misses`), with all its
    /// copies where there are several.
    pub program_misses: Vec<(Cow<'static, str>, u64)>,
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
    /// Real user id of whoever holds the largest part of records or extents, once some were
    /// withheld from a user that had used up its share.
    pub greediest_user: Option<u32>,
    /// Kernel memory of all maps, bytes.
    pub kernel_memory_bytes: u64,
    /// What it costs beside that.
    pub cost: Cost,
    /// How many copies of each program are attached.
    pub copies: usize,
    /// Which programs run, for people: `tp_btf, task storage` or the fallback.
    pub mode: Cow<'static, str>,
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

    /// The end of a sentence which says that there was no room: whether a user had used up its
    /// share, and who holds the most. Empty if no share was used up.
    pub fn used_up_share(&self) -> String {
        self.greediest_user.map_or_else(String::new, |uid| {
            format!(" (a user has used up its share; user {uid} holds the most)")
        })
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
        let seen = |name: &str| match name {
            ENTRY => c.missed_entries,
            _ => c.lost_exits,
        };
        let of_calls = self.program_misses.iter().filter(|(name, _)| of_calls(name));
        of_calls.map(|(name, misses)| misses.saturating_sub(seen(name))).sum()
    }
}

/// Names of the two programs that count calls, in [`Health::program_misses`].
pub(super) const ENTRY: &str = "sys_enter";
pub(super) const EXIT: &str = "sys_exit";

fn of_calls(program: &str) -> bool {
    program == ENTRY || program == EXIT
}

/// How much of a bounded thing is in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Use {
    /// In use now.
    pub used: u64,
    /// In all.
    pub capacity: u64,
}

/// Messages that did not reach the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unlogged {
    /// Nobody read standard error fast enough.
    pub dropped: u64,
    /// They repeated others too often.
    pub repeated: u64,
}
