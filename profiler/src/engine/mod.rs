//! Where snapshots come from: an engine watches what a query asks for, and its consumers read
//! its snapshots.

mod cadence;
mod intervals;
pub mod kernel;

use std::{os::fd::BorrowedFd, time::Duration};

use crate::model::{Detail, Snapshot};
pub use cadence::Cadence;
pub use intervals::Intervals;

/// Something that watches syscalls. It counts from the moment it is attached.
pub trait Engine {
    /// Reads what happened, and takes a snapshot of all that happened since the start.
    fn snapshot(&mut self, detail: Detail) -> Snapshot;

    /// Reads what happened, without a snapshot, so that the engine does not run out of room.
    fn read(&mut self);

    /// Readable when the engine should be read before its time ([`Cadence`]). Reading the
    /// engine makes it quiet. `None` if it never has to be.
    fn wake_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Starts or stops timing the engine's own programs. The next snapshot has the result. Does
    /// nothing in an engine without programs.
    fn time_programs(&mut self, _on: bool) {}

    /// Lists an ended process for this time from now on, if the engine does not list it for good.
    /// Afterwards, the row of ended processes has its figures.
    fn keep_ended(&mut self, _time: Duration) {}

    /// Whether every process that was seen has ended.
    fn all_ended(&self) -> bool;

    /// Stops counting new calls. Calls in flight are still seen to leave until
    /// [`Self::finish`].
    fn stop(&mut self);

    /// Stops, reads the rest, and takes the last snapshot.
    fn finish(self, detail: Detail) -> Snapshot
    where
        Self: Sized;
}
