//! A snapshot as the screen shows it: with the rows of its processes, and what the profiler cost
//! since the snapshot before.

use super::groups::Groups;
use crate::model::{Cost, Snapshot, Span};

/// A snapshot with what only the one before it tells.
#[derive(Clone, Debug)]
pub(super) struct Shown {
    /// The snapshot.
    pub(super) snapshot: Snapshot,
    /// What the profiler itself cost since the snapshot before, or since it attached.
    pub(super) spent: Cost,
    /// The rows of processes.
    pub(super) groups: Groups,
}

impl Shown {
    /// The same snapshot, with the rows of its processes over `span`.
    pub(super) fn grouped(mut self, span: Span) -> Self {
        self.groups = Groups::new(&self.snapshot, span, &[], &Groups::default());
        self
    }
}

/// What the profiler itself costs, from one snapshot to the next.
#[derive(Default)]
pub(super) struct Costs {
    last: Option<Cost>,
}

impl Costs {
    /// `snapshot` with what it cost since the one before, and without rows of processes.
    pub(super) fn add(&mut self, snapshot: Snapshot) -> Shown {
        let cost = &snapshot.health.cost;
        let spent = match self.last.replace(cost.clone()) {
            None => cost.since_attached(),
            Some(before) => cost.since(&before),
        };
        Shown { snapshot, spent, groups: Groups::default() }
    }
}
