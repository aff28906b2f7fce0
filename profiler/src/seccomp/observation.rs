//! What was seen of some processes: the input of a generated profile, and the proof that it is
//! complete.

use std::collections::BTreeMap;

use profiler_common::call::{Abi, CallKey};
use serde::{Deserialize, Serialize};

use crate::{
    model::{Figures, Snapshot},
    names::syscalls,
};

/// `ENOSYS`: the kernel, or a filter, says that there is no such call.
const ENOSYS: u16 = 38;

/// What was seen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observation {
    /// The version of the format: 1.
    pub schema: u32,
    /// What was watched.
    pub watched: Watched,
    /// Each call that was seen, by ABI and name.
    pub calls: Vec<Seen>,
}

/// What was watched, for how long, and what is missing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watched {
    /// The processes, for people: `-- ls -l`, or `--unit nginx.service`.
    pub what: String,
    /// When the observation began, RFC 3339.
    pub began: String,
    /// For how long, nanoseconds.
    pub time_ns: u64,
    /// Processes that made a call.
    pub processes: u64,
    /// Observations that were merged into this one; 1 for a single one.
    pub observations: u64,
    /// Calls that entered or were denied.
    pub calls: u64,
    /// Calls and other events that were lost.
    pub lost: u64,
    /// Calls that may be lost in addition, at most.
    pub unseen_at_most: u64,
    /// Whether the processes ran before the observation began, so that calls of their start may be
    /// missing.
    pub ran_before: bool,
    /// Whether processes still ran when the observation ended, so that calls of their end may be
    /// missing.
    pub ran_after: bool,
}

impl Watched {
    /// Whether nothing was lost.
    pub fn is_complete(&self) -> bool {
        self.lost == 0 && self.unseen_at_most == 0
    }
}

/// A call that was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// The ABI: `x86_64`, `i386` or `x32`.
    pub abi: String,
    /// The name; `syscall_0x1ff` if the number is unknown.
    pub syscall: String,
    /// The number, without the bit of x32.
    pub number: u32,
    /// Calls that entered.
    pub calls: u64,
    /// Calls that seccomp or a tracer refused.
    pub denied: u64,
    /// Calls that failed with `ENOSYS`.
    pub enosys: u64,
    /// How long after the beginning the first call was read, nanoseconds.
    pub first_ns: u64,
    /// How long after the beginning the last call was read, nanoseconds.
    pub last_ns: u64,
    /// In how many of the merged observations.
    pub observations: u64,
}

impl Seen {
    /// The ABI.
    pub fn abi(&self) -> Option<Abi> {
        profiler_common::call::ABIS.into_iter().find(|abi| abi.name() == self.abi)
    }

    /// Whether the call was made once, in one observation.
    pub fn is_single(&self) -> bool {
        self.calls + self.denied == 1
    }
}

impl Observation {
    /// Adds the calls of a snapshot, read `at_ns` after the beginning. A snapshot has sums since the
    /// beginning: calls whose sums changed were made since the last one.
    pub fn add(&mut self, snapshot: &Snapshot, at_ns: u64) {
        for row in &snapshot.calls {
            self.add_call(row.key, &row.total, at_ns);
        }
        self.schema = 1;
        self.watched.observations = 1;
        self.watched.time_ns = at_ns;
        self.watched.calls = self.calls.iter().map(|seen| seen.calls + seen.denied).sum();
        self.watched.lost = snapshot.health.lost();
        self.watched.unseen_at_most = snapshot.health.unseen;
    }

    fn add_call(&mut self, key: CallKey, figures: &Figures, at_ns: u64) {
        let Some(abi) = key.abi() else { return };
        if figures.calls == 0 && figures.denied == 0 {
            return;
        }
        let enosys = figures.errnos.iter().find(|(errno, _)| *errno == ENOSYS);
        let enosys = enosys.map_or(0, |&(_, count)| count);
        let name = syscalls::known(key);
        let name = name.map_or_else(|| syscalls::name_in_abi(key), str::to_owned);
        // By ABI and name, so that the files of two runs can be compared.
        let place = |seen: &Seen| (seen.abi.as_str(), &seen.syscall).cmp(&(abi.name(), &name));
        match self.calls.binary_search_by(place) {
            Ok(at) => {
                let seen = &mut self.calls[at];
                if (seen.calls, seen.denied) != (figures.calls, figures.denied) {
                    seen.last_ns = at_ns;
                }
                (seen.calls, seen.denied, seen.enosys) = (figures.calls, figures.denied, enosys);
            }
            Err(at) => {
                let seen = Seen {
                    abi: abi.name().to_owned(),
                    syscall: name,
                    number: key.nr(),
                    calls: figures.calls,
                    denied: figures.denied,
                    enosys,
                    first_ns: at_ns,
                    last_ns: at_ns,
                    observations: 1,
                };
                self.calls.insert(at, seen);
            }
        }
    }

    /// The union of several observations.
    pub fn merge(all: &[Self]) -> Self {
        let mut merged = Self { schema: 1, ..Self::default() };
        let mut calls: BTreeMap<(String, String), Seen> = BTreeMap::new();
        let mut what: Vec<&str> = Vec::new();
        for one in all {
            let (watched, of) = (&mut merged.watched, &one.watched);
            if watched.began.is_empty() || of.began < watched.began {
                watched.began.clone_from(&of.began);
            }
            if !what.contains(&of.what.as_str()) {
                what.push(&of.what);
            }
            watched.time_ns = watched.time_ns.saturating_add(of.time_ns);
            watched.processes = watched.processes.saturating_add(of.processes);
            watched.observations = watched.observations.saturating_add(of.observations.max(1));
            watched.calls = watched.calls.saturating_add(of.calls);
            watched.lost = watched.lost.saturating_add(of.lost);
            watched.unseen_at_most = watched.unseen_at_most.saturating_add(of.unseen_at_most);
            watched.ran_before |= of.ran_before;
            watched.ran_after |= of.ran_after;
            for seen in &one.calls {
                let key = (seen.abi.clone(), seen.syscall.clone());
                match calls.get_mut(&key) {
                    None => {
                        calls.insert(key, seen.clone());
                    }
                    Some(sum) => {
                        sum.calls = sum.calls.saturating_add(seen.calls);
                        sum.denied = sum.denied.saturating_add(seen.denied);
                        sum.enosys = sum.enosys.saturating_add(seen.enosys);
                        sum.first_ns = sum.first_ns.min(seen.first_ns);
                        sum.last_ns = sum.last_ns.max(seen.last_ns);
                        sum.observations = sum.observations.saturating_add(seen.observations);
                    }
                }
            }
        }
        merged.watched.what = what.join("; ");
        merged.calls = calls.into_values().collect();
        merged
    }

    /// The ABIs of the calls that were seen.
    pub fn abis(&self) -> Vec<Abi> {
        let all = profiler_common::call::ABIS.into_iter();
        all.filter(|abi| self.calls.iter().any(|seen| seen.abi == abi.name())).collect()
    }
}
