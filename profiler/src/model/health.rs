//! The state of an engine: what it lost, and how full its tables are.

use std::borrow::Cow;

use profiler_common::share;
use serde::{Deserialize, Serialize};

use super::{Cost, EngineDetail, KernelDetail, Timed};

/// The state of an engine: what it lost, how full it is, what it costs. Every engine can fill in
/// all fields except [`Self::engine`], which holds the figures that only one engine has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Events that were lost, by reason.
    pub losses: Losses,
    /// Upper bound of the calls that may be lost in addition to [`Self::losses`], without a trace.
    pub unseen: u64,
    /// Calls counted in overflow slots: in the totals, but of no process.
    pub overflowed: u64,
    /// Threads, processes and calls whose counts at entry and at exit disagree. 0 is the only good
    /// value.
    pub breaches: u64,
    /// The last of the [`Self::breaches`], for people: the thread, process or call, and the two
    /// counts.
    pub last_breach: String,
    /// The pools of bounded size that the engine stores figures in. Empty for an engine without
    /// pools.
    pub pools: Vec<Pool>,
    /// Real user id of the user that holds the largest part of a pool. `None` until a pool
    /// withholds an entry from a user that has used up its share.
    pub greediest_user: Option<u32>,
    /// What the engine costs.
    pub cost: Cost,
    /// Which calls are timed.
    pub timed: Timed,
    /// Whether the time that timed calls spend off the CPU is followed.
    pub off_cpu: bool,
    /// Figures that only this kind of engine has.
    pub engine: EngineDetail,
}

impl Health {
    /// Calls and other events that went uncounted and left a trace: the sum of [`Self::losses`].
    /// 0 is the only good value.
    pub fn lost(&self) -> u64 {
        self.losses.total()
    }

    /// The end of a sentence about full tables: says that a user has used up its share, and which
    /// user holds the most. Empty if no share was used up.
    pub fn used_up_share(&self) -> String {
        self.greediest_user.map_or_else(String::new, |uid| {
            format!(" (a user has used up its share; user {uid} holds the most)")
        })
    }

    /// The figures that only the kernel engine has. `None` for other engines.
    pub fn kernel(&self) -> Option<&KernelDetail> {
        match &self.engine {
            EngineDetail::None => None,
            EngineDetail::Kernel(detail) => Some(detail),
        }
    }

    /// Same as [`Self::kernel`], but `None` unless the engine follows the time off the CPU.
    pub fn kernel_off_cpu(&self) -> Option<&KernelDetail> {
        self.kernel().filter(|_| self.off_cpu)
    }

    /// Kernel memory of all eBPF maps, bytes. 0 for an engine without maps.
    pub fn kernel_memory_bytes(&self) -> u64 {
        self.kernel().map_or(0, |kernel| kernel.memory_bytes)
    }

    /// How full a pool is. All 0 if the engine has no pool of this name.
    pub fn pool_usage(&self, name: &str) -> Use {
        let pool = self.pools.iter().find(|pool| pool.name == name);
        pool.map_or_else(Use::default, |pool| pool.usage)
    }
}

/// Events that an engine lost, by reason. If a count is not 0, the figures are too low.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Losses {
    /// Calls whose entry was seen, but not counted: there was no memory for the thread's state.
    pub no_task_state: u64,
    /// Calls whose entry was missed. They left without an entry, and nothing can have denied them.
    pub missed_entries: u64,
    /// Calls whose exit was missed. The thread entered another call while they were in flight.
    pub missed_exits: u64,
    /// New threads and processes that are not followed: there was no memory for their state.
    pub unfollowed_children: u64,
    /// Upper bound of the forks, execs, renamings and ends of threads that were missed.
    pub missed_life_events: u64,
    /// Upper bound of the submissions and completions of io_uring that were missed.
    pub missed_operations: u64,
}

impl Losses {
    /// The sum over all reasons.
    pub fn total(&self) -> u64 {
        let of_calls = self.no_task_state + self.missed_entries + self.missed_exits;
        let of_others = self.missed_life_events + self.missed_operations;
        of_calls + self.unfollowed_children + of_others
    }
}

/// A store of bounded size that an engine keeps figures in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// The name, as in the labels of metrics: `records` or `extents` for the kernel engine.
    pub name: Cow<'static, str>,
    /// How full the pool is.
    pub usage: Use,
    /// Requests that failed because the pool was empty.
    pub exhausted: u64,
    /// Requests that failed because the thread's user had used up its share.
    pub withheld: u64,
}

impl Pool {
    /// How full the pool is for a single user, from 0 to 1. A single user cannot use the reserve for
    /// other users, so the pool can be full for one user before all of its entries are in use.
    /// `None` if the pool has no entries.
    pub fn fullness(&self) -> Option<f64> {
        let Use { used, capacity } = self.usage;
        (capacity > 0).then(|| (used as f64 / share::limit(capacity) as f64).min(1.0))
    }
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
