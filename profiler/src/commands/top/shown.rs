//! A snapshot as the screen shows it: with the rows of processes, and the cost since the previous
//! snapshot.

use super::groups::{Groups, Wanted};
use crate::model::{Cost, Dimension, Snapshot, Span};

/// A snapshot, and the figures that require the previous snapshot.
#[derive(Clone, Debug)]
pub(super) struct Shown {
    /// The snapshot.
    pub(super) snapshot: Snapshot,
    /// The cost of the profiler since the previous snapshot, or since the attach.
    pub(super) spent: Cost,
    /// The rows of processes.
    pub(super) groups: Groups,
}

impl Shown {
    /// The same snapshot, with the rows of its processes over `span`, and those of `sites`.
    pub(super) fn grouped(mut self, span: Span, sites: Option<Dimension>) -> Self {
        let wanted = Wanted { sites, ..Wanted::default() };
        self.groups = Groups::new(&self.snapshot, span, &wanted, &Groups::default());
        self
    }
}

/// Computes the cost of the profiler between two snapshots.
#[derive(Default)]
pub(super) struct Costs {
    last: Option<Cost>,
}

impl Costs {
    /// `snapshot` with the cost since the previous snapshot, and without rows of processes.
    pub(super) fn add(&mut self, snapshot: Snapshot) -> Shown {
        let cost = &snapshot.health.cost;
        let spent = match self.last.replace(cost.clone()) {
            None => cost.since_attached(),
            Some(before) => cost.since(&before),
        };
        Shown { snapshot, spent, groups: Groups::default() }
    }
}
