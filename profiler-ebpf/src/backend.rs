//! What differs between kinds of kernels, behind one trait, so that everything else is
//! written once: how a task is known, and where records and cells are.

use profiler_common::wire::{Cell, CellIndex, TaskIdentity, TaskState, ThreadRecord};

use crate::{
    maps::{CELLS, HINT, IDENTITIES, RECORDS},
    task::Task,
};

/// What differs between kinds of kernels. As far as it is given here, records and cells are
/// in arrays.
pub trait Backend {
    /// A number that stands for the task whose registers are saved at `regs`: for no other
    /// live task, and the same in every program. Not 0.
    #[inline(always)]
    fn owner(regs: u64) -> u64 {
        regs
    }

    /// The running task.
    fn current() -> Task;

    /// The state of `task`, if it has one.
    fn state(task: Task) -> Option<*mut TaskState>;

    /// The state of `task`, made now if it has none; `None` where there is no room.
    fn state_or_new(task: Task) -> Option<*mut TaskState>;

    /// Forgets a task that ends. Task storage does that by itself.
    fn forget(task: Task);

    /// Takes `task`, which is the running one, off the list of calls that entered before the
    /// programs attached. Returns whether it was listed.
    fn forget_listed_call(task: Task) -> bool;

    /// Whether `task` is in a 32-bit system call.
    fn is_compat(task: Task) -> bool;

    /// Whether the running task is in one, `record` being its own.
    #[inline(always)]
    fn owner_is_compat(record: *mut ThreadRecord) -> bool {
        let _ = record;
        Self::is_compat(Self::current())
    }

    /// Sets the number at `place` to `value` if that is greater. `place` is of this CPU.
    ///
    /// Where programs can be preempted (Linux 7.1), another copy of the exit program can store
    /// a greater number between the look and the store here. That number is then lost, unless
    /// the object has an atomic instruction for it.
    ///
    /// # Safety
    /// `place` is within a live map value.
    #[inline(always)]
    unsafe fn raise(place: *mut u64, value: u64) {
        // SAFETY: the caller's place.
        unsafe {
            if value > *place {
                *place = value;
            }
        }
    }

    /// How far `regs`, the registers that the tracepoints give, are from `place`, which may
    /// be anywhere as long as it stays there: a number of the task's own, where `regs` may
    /// be a pointer that the verifier lets nothing be done with.
    fn distance(regs: u64, place: *const u8) -> u64;

    /// The record at `index`.
    #[inline(always)]
    fn record(index: u32) -> Option<*mut ThreadRecord> {
        RECORDS.get_ptr_mut(index)
    }

    /// The identity of the owner of the record at `index`.
    #[inline(always)]
    fn identity(index: u32) -> Option<*mut TaskIdentity> {
        IDENTITIES.get_ptr_mut(index)
    }

    /// The cell at `index`.
    #[inline(always)]
    fn cell(index: CellIndex) -> Option<*mut Cell> {
        CELLS.get_ptr_mut(index)
    }

    /// The record that is likely that of this [`owner`](Self::owner): here, the one that
    /// this CPU used last.
    #[inline(always)]
    fn likely_record(owner: u64) -> Option<*mut ThreadRecord> {
        let _ = owner;
        // SAFETY: a live map value of this CPU.
        let index = unsafe { *HINT.get_ptr(0)? };
        Self::record(index)
    }

    /// The record at `index` is that of this owner.
    #[inline(always)]
    fn remember(owner: u64, index: u32) {
        let _ = owner;
        if let Some(hint) = HINT.get_ptr_mut(0) {
            // SAFETY: a live map value of this CPU.
            unsafe { *hint = index };
        }
    }
}
