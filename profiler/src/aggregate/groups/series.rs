//! Limits the number of series of a group, and contains the series of `other` and `folded`.
//!
//! For each counter of each syscall that the group has, two series are reserved, for `other` and
//! `folded`. So every call has a series, and a member can always be folded.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::model::{CallName, Counter, Counts, GroupRows, OTHER_VALUE};

/// ABI and syscall of calls whose syscall has no series, because the group has reached its limit.
pub const REST: CallName = (OTHER_VALUE, OTHER_VALUE);

/// Number of series that are reserved for each counter of each syscall.
const PER_COUNTER: usize = 2;

/// The minimum number of series of a group: those of [`REST`].
pub const RESERVED_SERIES: usize = PER_COUNTER * Counter::ALL.len();

/// See the module.
#[derive(Debug)]
pub(super) struct Series {
    limit: usize,
    /// The counters that have series, by syscall.
    admitted: BTreeMap<CallName, BTreeSet<Counter>>,
    /// The number of admitted counters.
    counters: usize,
    /// The number of series of members.
    of_members: usize,
    other: Arc<GroupRows>,
    folded: Arc<GroupRows>,
}

impl Series {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            admitted: BTreeMap::new(),
            counters: 0,
            of_members: 0,
            other: Arc::default(),
            folded: Arc::default(),
        }
    }

    pub(super) fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    pub(super) fn other(&self) -> &Arc<GroupRows> {
        &self.other
    }

    pub(super) fn folded(&self) -> &Arc<GroupRows> {
        &self.folded
    }

    /// Number of series that are in use or reserved.
    fn used(&self) -> usize {
        RESERVED_SERIES + PER_COUNTER * self.counters + self.of_members
    }

    pub(super) fn is_over(&self) -> bool {
        self.used() > self.limit
    }

    pub(super) fn has_room(&self, series: usize) -> bool {
        self.used() + series <= self.limit
    }

    /// Reserves series for a counter. Returns the name under which it counts, or `None` if the
    /// limit is reached.
    pub(super) fn admit(&mut self, name: CallName, counter: Counter) -> Option<CallName> {
        let is_admitted = self.admitted.get(&name).is_some_and(|of| of.contains(&counter));
        if name == REST || is_admitted {
            return Some(name);
        }
        if !self.has_room(PER_COUNTER) {
            return None;
        }
        self.admitted.entry(name).or_default().insert(counter);
        self.counters += 1;
        Some(name)
    }

    /// Returns whether a member has a series for a counter. Takes a free series if it has none.
    pub(super) fn take(&mut self, rows: &GroupRows, name: CallName, counter: Counter) -> bool {
        if rows.get(&name).is_some_and(|row| row.get(counter) > 0) {
            return true;
        }
        let has_room = self.has_room(1);
        self.of_members += usize::from(has_room);
        has_room
    }

    /// The rows of `other`. Only counters that are not 0 may be added to: others have no series yet.
    pub(super) fn other_mut(&mut self) -> &mut GroupRows {
        Arc::make_mut(&mut self.other)
    }

    pub(super) fn add_other(&mut self, name: CallName, counter: Counter, n: u64) {
        Arc::make_mut(&mut self.other).entry(name).or_default().add(counter, n);
    }

    pub(super) fn add_folded(&mut self, name: CallName, counter: Counter, n: u64) {
        Arc::make_mut(&mut self.folded).entry(name).or_default().add(counter, n);
    }

    /// Moves the counters of a member to `folded`.
    pub(super) fn fold(&mut self, rows: &GroupRows) {
        let folded = Arc::make_mut(&mut self.folded);
        for (&name, counts) in rows {
            folded.entry(name).or_default().merge(counts);
            self.of_members -= counts.present().count();
        }
    }

    /// Moves the syscalls with the fewest calls to [`REST`] until the series fit into the limit. If
    /// a syscall has to move, there must be no members.
    pub(super) fn collapse(&mut self) {
        while self.is_over() {
            let calls = |name: &CallName| {
                let of = |rows: &GroupRows| rows.get(name).map_or(0, |row| row.get(Counter::Calls));
                of(&self.other) + of(&self.folded)
            };
            let Some(&name) = self.admitted.keys().min_by_key(|name| calls(name)) else { return };
            let counters = self.admitted.remove(&name).unwrap_or_default();
            self.counters -= counters.len();
            for rows in [&mut self.other, &mut self.folded] {
                let rows = Arc::make_mut(rows);
                let counts: Counts = rows.remove(&name).unwrap_or_default();
                if counts != Counts::default() {
                    rows.entry(REST).or_default().merge(&counts);
                }
            }
        }
    }
}
