//! The intervals of one consumer.

use crate::model::Snapshot;

/// Makes intervals from the cumulative snapshots of an engine. Each consumer has its own, so that
/// several consumers with different intervals can share an engine.
#[derive(Debug, Default)]
pub struct Intervals {
    previous: Option<Snapshot>,
}

impl Intervals {
    /// Ends an interval with `snapshot`, and starts the next one. The result has the difference to
    /// the previous snapshot, or everything since the start ([`Snapshot::since`]).
    pub fn end_with(&mut self, snapshot: Snapshot) -> Snapshot {
        let shown = snapshot.since(self.previous.as_ref());
        self.previous = Some(shown.clone());
        shown
    }

    /// Forgets the figures of each thread at the end of the last interval. Call this when the
    /// engine stops listing threads: if it lists threads again, their serial numbers start at the
    /// beginning.
    pub fn forget_threads(&mut self) {
        let processes = self.previous.iter_mut().flat_map(|previous| &mut previous.processes);
        processes.for_each(|row| row.threads.clear());
    }
}
