//! What differs between objects, behind one trait: how a task is identified, and where records and
//! cells are.

use profiler_common::{
    sampling::sampler::Sampler,
    wire::{Cell, CellIndex, TaskIdentity, TaskState, ThreadRecord},
};

use crate::{
    hints,
    maps::{CELLS, IDENTITIES, RECORDS, SAMPLERS},
    task::Task,
};

/// What differs between objects. The methods with a body have records and cells in arrays.
pub trait Backend: Sized {
    /// A number that identifies the task whose registers are saved at `regs`. It is the same in
    /// every program, no other live task has it, and it is not 0.
    #[inline(always)]
    fn owner(regs: u64) -> u64 {
        regs
    }

    /// The registers at `regs`, a pointer that a helper returned, in the form in which the
    /// tracepoints of syscalls pass registers.
    #[inline(always)]
    fn registers(regs: u64) -> u64 {
        regs
    }

    /// The running task.
    fn current() -> Task;

    /// The state of `task`, if it has one.
    fn state(task: Task) -> Option<*mut TaskState>;

    /// The state of `task`, which is created if it has none. `None` if there is no space.
    fn state_or_new(task: Task) -> Option<*mut TaskState>;

    /// Deletes the state of a task that ends. Task storage does that by itself.
    fn forget(task: Task);

    /// Removes the call of the running task from the list of calls that entered before the programs
    /// attached. Returns whether it was listed.
    fn forget_listed_call(task: Task) -> bool;

    /// Whether `task` is in a 32-bit syscall.
    fn is_compat(task: Task) -> bool;

    /// Whether `task`, which leaves its CPU and was not preempted, sleeps: whether the scheduler has
    /// taken it off its queue until somebody wakes it. `None` if that cannot be read.
    #[inline(always)]
    fn sleeps(task: Task) -> Option<bool> {
        let _ = task;
        None
    }

    /// Whether the running task, which owns `record`, is in a 32-bit syscall.
    #[inline(always)]
    fn owner_is_compat(record: *mut ThreadRecord) -> bool {
        let _ = record;
        Self::is_compat(Self::current())
    }

    /// Sets the number at `place`, which is of this CPU, to `value` if `value` is greater.
    ///
    /// If programs can be preempted (Linux 7.1), another copy of the exit program can store a
    /// greater number between the comparison and the store. That number is then lost, unless the
    /// object uses an atomic instruction.
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

    /// Sets the word at `place`, which is of this CPU, to 1. Returns whether it was 0.
    ///
    /// If programs can be preempted (Linux 7.1), two programs can take the same word. Only the object
    /// with an arena runs there, and uses an atomic instruction.
    ///
    /// # Safety
    /// `place` is within a live map value.
    #[inline(always)]
    unsafe fn take(place: *mut u64) -> bool {
        // SAFETY: the caller's place.
        unsafe {
            let was = place.read_volatile();
            place.write_volatile(1);
            was == 0
        }
    }

    /// The address of the saved registers of the running task, which owns `record`.
    #[inline(always)]
    fn saved_registers(record: *mut ThreadRecord) -> u64 {
        // SAFETY: a live map value.
        unsafe { (*record).owner }
    }

    /// The distance from `place`, which does not move, to `regs`, the registers that a tracepoint
    /// passes. The distance is a number of the task's own. `regs` itself may be a pointer, with
    /// which the verifier permits no other arithmetic.
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

    /// Notes that the record at `index` is that of `task`, so that [`recorded`](Self::recorded)
    /// finds it.
    #[inline(always)]
    fn note_record(task: Task, index: u32) {
        let _ = (task, index);
    }

    /// The record of any task, of which only the address is known. `None` if the task has none, or
    /// if the task has to look its record up at its next call anyway.
    fn recorded(task: Task) -> Option<*mut ThreadRecord>;

    /// The cell at `index`.
    #[inline(always)]
    fn cell(index: CellIndex) -> Option<*mut Cell> {
        CELLS.get_ptr_mut(index)
    }

    /// The sampler of the slot in the cell at `index`. Only with adaptive sampling.
    #[inline(always)]
    fn sampler(index: CellIndex) -> Option<*mut Sampler> {
        SAMPLERS.get_ptr_mut(index)
    }

    /// The table of [`HINTS`](profiler_common::hint::HINTS) hints of an object without an arena.
    #[inline(always)]
    fn hints() -> *mut u32 {
        core::ptr::null_mut()
    }

    /// The record that the hint names for this [`owner`](Self::owner).
    #[inline(always)]
    fn likely_record(owner: u64) -> Option<*mut ThreadRecord> {
        Self::record(hints::get::<Self>(owner))
    }

    /// Makes the hint for this owner name the record at `index`.
    #[inline(always)]
    fn remember(owner: u64, index: u32) {
        hints::set::<Self>(owner, index);
    }

    /// Learns from the running task, whose registers are at `regs`, which hint belongs to the kernel
    /// stack of another task.
    #[inline(always)]
    fn learn_stack(task: Task, regs: u64) {
        hints::learn_stack::<Self>(task, regs);
    }

    /// Makes the hint that belongs to the kernel stack of `task`, which can be any task, name no
    /// record. If another task has the hint, it looks its record up at its next call.
    #[inline(always)]
    fn forget_hint(task: Task) {
        hints::forget::<Self>(task);
    }
}
