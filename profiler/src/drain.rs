//! From attached programs to snapshots: reads the maps, feeds the aggregate,
//! frees what has ended.

use crate::{
    kernel::{KernelError, Options},
    snapshot::{Detail, Snapshot},
};

/// Attached programs, and all that they have recorded so far.
pub struct Profiler {}

impl Profiler {
    /// Loads and attaches the programs. From its return on every call counts.
    pub fn attach(_options: &Options) -> Result<Self, KernelError> {
        todo!()
    }

    /// Reads what happened since the drain before. Never fails: what cannot be
    /// read now is read next time.
    pub fn drain(&mut self, _detail: Detail) -> Snapshot {
        todo!()
    }

    /// Detaches (entries first, so that calls in flight can still be seen to leave)
    /// and reads the rest.
    pub fn finish(self, _detail: Detail) -> Snapshot {
        todo!()
    }

    /// Becomes readable when the kernel side wants a drain before its time. Any
    /// drain clears it.
    pub fn wake_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        todo!()
    }
}
