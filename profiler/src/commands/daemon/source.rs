//! What the daemon drains: attached programs, or in tests a stand-in that needs no
//! kernel.

use std::os::fd::BorrowedFd;

use crate::{
    engine::kernel::drain::Profiler,
    model::{Detail, Snapshot},
};

/// Something that records system calls and can be read.
pub trait Source {
    /// What happened up to now.
    fn drain(&mut self) -> Snapshot;

    /// Becomes readable when a drain is wanted before its time.
    fn wake_fd(&self) -> BorrowedFd<'_>;

    /// Stops recording, and reads the rest.
    fn finish(self) -> Snapshot;
}

impl Source for Profiler {
    fn drain(&mut self) -> Snapshot {
        // Processes are no labels, so they would be read for nobody.
        self.drain(Detail::Calls)
    }

    fn wake_fd(&self) -> BorrowedFd<'_> {
        self.wake_fd()
    }

    fn finish(self) -> Snapshot {
        self.finish(Detail::Calls)
    }
}
