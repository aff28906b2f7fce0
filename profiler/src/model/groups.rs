//! Groups of metrics: calls by container, unit or name, in a bounded number of series.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use profiler_common::call::CallKey;

use super::{Dimension, Figures};
use crate::text::Untrusted;

/// The value of each dimension in the series of calls that had no series of their own.
pub const OTHER_VALUE: &str = "other";

/// The value of each dimension in the series of former members.
pub const FOLDED_VALUE: &str = "folded";

/// A counter of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Counter {
    /// Calls that entered.
    Calls,
    /// Calls that returned an errno.
    Errors,
    /// Calls that a signal interrupted and the kernel restarted.
    Restarted,
    /// Calls that seccomp or ptrace refused.
    Denied,
    /// Calls that never return.
    NeverReturned,
    /// Calls whose exit was missed.
    MissedExits,
    /// Wall time of the timed calls, each times its weight, nanoseconds.
    Nanoseconds,
}

impl Counter {
    /// Every counter.
    pub const ALL: [Self; 7] = [
        Self::Calls,
        Self::Errors,
        Self::Restarted,
        Self::Denied,
        Self::NeverReturned,
        Self::MissedExits,
        Self::Nanoseconds,
    ];

    /// The value of the label `outcome`. `None` for the counters of all calls.
    pub const fn outcome(self) -> Option<&'static str> {
        match self {
            Self::Errors => Some("error"),
            Self::Restarted => Some("restarted"),
            Self::Denied => Some("denied"),
            Self::NeverReturned => Some("never_returned"),
            Self::MissedExits => Some("missed_exit"),
            Self::Calls | Self::Nanoseconds => None,
        }
    }
}

/// The counters of some calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts([u64; Counter::ALL.len()]);

impl Counts {
    /// The counters of these figures.
    pub fn of(figures: &Figures) -> Self {
        // In the order of `Counter::ALL`. This runs for each syscall of each thread and drain, and
        // mapping `ALL` was a call for each counter.
        Self([
            figures.calls,
            figures.errors,
            figures.restarted,
            figures.denied,
            figures.never_returned,
            figures.lost,
            figures.weighted_ns(),
        ])
    }

    /// Whether no counter is 0 in `known` that is not 0 here.
    pub fn are_in(&self, known: &Self) -> bool {
        self.0.iter().zip(known.0).all(|(&n, known)| n == 0 || known > 0)
    }

    /// The value of a counter.
    pub const fn get(&self, counter: Counter) -> u64 {
        self.0[counter as usize]
    }

    /// Adds to a counter.
    pub fn add(&mut self, counter: Counter, more: u64) {
        let value = &mut self.0[counter as usize];
        *value = value.saturating_add(more);
    }

    /// Adds all counters of `more`.
    pub fn merge(&mut self, more: &Self) {
        for (value, more) in self.0.iter_mut().zip(more.0) {
            *value = value.saturating_add(more);
        }
    }

    /// The counters that are not 0.
    pub fn present(&self) -> impl Iterator<Item = (Counter, u64)> + use<> {
        let counts = *self;
        Counter::ALL
            .into_iter()
            .map(move |counter| (counter, counts.get(counter)))
            .filter(|&(_, n)| n > 0)
    }
}

/// The calls of an owner between two readings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedCalls {
    /// The name of the processes; empty unless names are told apart.
    pub comm: Untrusted,
    /// The id of the cgroup in which the calls entered; [`NO_CGROUP`](super::NO_CGROUP) if it is
    /// unknown or not told apart.
    pub cgroup: u64,
    /// What was added to each syscall, by key.
    pub calls: Vec<(CallKey, Counts)>,
}

/// ABI and name of a syscall: the labels of a series.
pub type CallName = (&'static str, &'static str);

/// The counters of each syscall.
pub type GroupRows = BTreeMap<CallName, Counts>;

/// A member of a group: it has series of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMember {
    /// A value for each dimension of the group.
    pub values: Arc<[String]>,
    /// When its counters were 0, as time since the attach.
    pub since: Duration,
    /// Its calls since then.
    pub rows: Arc<GroupRows>,
}

/// A group at one reading. The sum over its members, `other` and `folded` is the figures of all
/// calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupReading {
    /// The name of the group.
    pub name: Arc<str>,
    /// Its dimensions.
    pub dimensions: Arc<[Dimension]>,
    /// When the group began, as time since the attach.
    pub since: Duration,
    /// The members.
    pub members: Vec<GroupMember>,
    /// The calls of everything that had no series of its own when it made them.
    pub other: Arc<GroupRows>,
    /// The calls of former members while they were members, and of the time before the group began.
    pub folded: Arc<GroupRows>,
    /// How many members lost their series.
    pub folded_members: u64,
    /// The most series that the group may have.
    pub max_series: usize,
}

impl GroupReading {
    /// The number of series.
    pub fn series(&self) -> usize {
        let of = |rows: &GroupRows| rows.values().map(|row| row.present().count()).sum::<usize>();
        let members = self.members.iter().map(|member| of(&member.rows)).sum::<usize>();
        members + of(&self.other) + of(&self.folded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_counter_has_its_figure() {
        let figures = Figures {
            calls: 1,
            errors: 2,
            restarted: 3,
            denied: 4,
            never_returned: 5,
            lost: 6,
            total_ns: 7,
            ..Figures::default()
        };
        let counts = Counts::of(&figures);
        let counters = [
            Counter::Calls,
            Counter::Errors,
            Counter::Restarted,
            Counter::Denied,
            Counter::NeverReturned,
            Counter::MissedExits,
            Counter::Nanoseconds,
        ];
        assert_eq!(counters.map(|counter| counts.get(counter)), [1, 2, 3, 4, 5, 6, 7]);
        let mut some = Counts::default();
        some.add(Counter::Errors, 9);
        assert!(some.are_in(&counts) && !counts.are_in(&some) && Counts::default().are_in(&some));
    }
}
