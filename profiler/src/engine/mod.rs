//! Engines: an engine watches what a query names, and its consumers read its snapshots.

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
    /// Reads what happened, and takes a snapshot of everything since the start.
    /// [`Detail::Threads`] requires [`Self::set_detail`] before.
    fn snapshot(&mut self, detail: Detail) -> Snapshot;

    /// Reads what happened without a snapshot, so that the tables of the engine do not fill up.
    fn read(&mut self);

    /// A descriptor that is readable while the engine requests a reading ([`Cadence`]). A reading
    /// ends the request. `None` if the engine never requests one.
    fn wake_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Starts or stops timing the engine's own programs. The next snapshot has the result. Does
    /// nothing in an engine without programs.
    fn time_programs(&mut self, _on: bool) {}

    /// Sets how detailed the snapshots are from now on. If threads come late, each thread that lives
    /// has its calls since the start, and each process has one row for its ended threads.
    fn set_detail(&mut self, _detail: Detail) {}

    /// Sets what tells owners apart for [`Self::take_owned`]. Returns `false`, and changes nothing,
    /// if the engine cannot tell such owners apart.
    fn keep_owners(&mut self, kind: OwnerKind) -> bool {
        kind.is_nothing()
    }

    /// The calls by owner since the last time, up to the last snapshot. The sum over all owners is
    /// what that time added to [`Snapshot::calls`], and the snapshot has the cgroups of the owners.
    /// Empty without [`Self::keep_owners`].
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
