//! Follows single calls: copies the arguments of each call, and sends a record when the call leaves.
//!
//! The programs share the scope and the filters with the programs that count calls. They have no
//! records and no cells: all state of a task is in [`maps::TASKS`], and the memory that was copied
//! of its call is in [`maps::PENDING`].
//!
//! With a flight recorder ([`recorder`]), a call that leaves is written into the ring of its thread
//! instead.
//!
//! # Order of stores
//!
//! The reader takes a snapshot of the calls in flight. A task makes `seq` odd, reads the clock,
//! changes its call, and makes `seq` even. A call leaves by a record in the ring buffer, and only
//! then ends in the state of the task. So a reader that looks at the tasks first, and at the ring
//! buffer second, misses no call.

pub mod capture;
pub mod copy;
pub mod entry;
pub mod exit;
pub mod files;
pub mod life;
pub mod maps;
pub mod output;
pub mod recorder;
pub mod skipped;

use profiler_common::{
    call::CallKey,
    trace::{About, Header, TracedTask},
    wire::TaskState,
};

use profiler_ebpf::{arch, backend::Backend, task::Task};

/// A backend whose task states are the beginnings of [`TracedTask`]s.
pub trait TraceBackend: Backend {
    /// Writes the arguments of the call whose registers are at `regs` to `args`; all are 0 if they
    /// cannot be read.
    ///
    /// # Safety
    /// `args` is within a live map value.
    unsafe fn write_arguments(regs: u64, is_compat: bool, args: *mut [u64; 6]);
}

/// The state of `task`, which is created if it has none. `None` if there is no space.
#[inline(always)]
fn traced_or_new<B: TraceBackend>(task: Task) -> Option<*mut TracedTask> {
    B::state_or_new(task).map(of_state)
}

/// The state of `task`, if it has one.
#[inline(always)]
fn traced<B: TraceBackend>(task: Task) -> Option<*mut TracedTask> {
    B::state(task).map(of_state)
}

#[inline(always)]
fn of_state(state: *mut TaskState) -> *mut TracedTask {
    state.cast()
}

/// Runs `change`, which changes the call in flight, so that a reader notices.
///
/// # Safety
/// `traced` is the live state of the running task.
#[inline(always)]
unsafe fn change<T>(traced: *mut TracedTask, change: impl FnOnce() -> T) -> T {
    // SAFETY: the caller's state.
    unsafe {
        (*traced).seq = (*traced).seq.wrapping_add(1);
        arch::publish();
        let result = change();
        arch::publish();
        (*traced).seq = (*traced).seq.wrapping_add(1);
        result
    }
}

/// Makes `call` a call that has entered. The arguments and the name of the thread stay.
///
/// Each field is written on its own: a whole header would be made on the stack first, which the
/// functions that are called lack then.
///
/// # Safety
/// `call` is that of the live state of the running task.
#[inline(always)]
unsafe fn begin(call: *mut Header, flags: u8, ids: u64, key: CallKey) {
    // SAFETY: the caller's call.
    unsafe {
        (*call).about = About::Call as u8;
        (*call).flags = flags;
        (*call).parts = 0;
        (*call).bytes = 0;
        (*call).tid = ids as u32;
        (*call).tgid = (ids >> 32) as u32;
        (*call).nr = key.0;
        (*call).dropped = 0;
        (*call).entry_ns = 0;
        (*call).exit_ns = 0;
        (*call).result = 0;
    }
}
