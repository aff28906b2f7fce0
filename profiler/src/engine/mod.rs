//! The trait of engines. An engine watches syscalls, and its consumers read its snapshots.

mod cadence;
mod intervals;
pub mod kernel;

use std::{os::fd::BorrowedFd, time::Duration};

use crate::{
    aggregate::OwnerKind,
    model::{Detail, OwnedCalls, Snapshot},
};
pub use cadence::Cadence;
pub use intervals::Intervals;

/// Something that watches syscalls. It counts from the moment it is attached.
pub trait Engine {
    /// Reads the new figures, and takes a snapshot of everything since the start.
    /// [`Detail::Threads`] requires [`Self::set_detail`] before.
    fn snapshot(&mut self, detail: Detail) -> Snapshot;

    /// Reads the new figures without a snapshot, so that the tables of the engine do not fill up.
    fn read(&mut self);

    /// A descriptor that is readable while the engine requests a reading ([`Cadence`]). A reading
    /// ends the request. `None` if the engine never requests one.
    fn wake_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Starts or stops timing the engine's own programs. The next snapshot has the result. Does
    /// nothing in an engine without programs.
    fn time_programs(&mut self, _on: bool) {}

    /// Sets the detail of later snapshots. If threads are added during a run, each live thread has
    /// its calls since the start, and each process has one row for its ended threads.
    fn set_detail(&mut self, _detail: Detail) {}

    /// Sets the dimensions of owners for [`Self::take_owned`]. Returns `false`, and changes
    /// nothing, if the engine does not record them.
    fn keep_owners(&mut self, kind: OwnerKind) -> bool {
        kind.is_nothing()
    }

    /// Removes and returns the calls since the last call of this function up to the last snapshot,
    /// by owner. Their sum is the increase of [`Snapshot::calls`]. The snapshot has the cgroups of
    /// the owners. Empty without [`Self::keep_owners`].
    fn take_owned(&mut self) -> Vec<OwnedCalls> {
        Vec::new()
    }

    /// Sets how long an ended process stays in the snapshots, unless the engine keeps ended
    /// processes forever. Afterwards, the row of ended processes has its figures.
    fn keep_ended(&mut self, _time: Duration) {}

    /// Whether all processes that were seen have ended.
    fn all_ended(&self) -> bool;

    /// Stops counting new calls. Calls in flight are still seen to leave until
    /// [`Self::finish`].
    fn stop(&mut self);

    /// Stops, reads the rest, and takes the last snapshot.
    fn finish(self, detail: Detail) -> Snapshot
    where
        Self: Sized;
}
