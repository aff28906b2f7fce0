//! Moves of tasks between cgroups.
//!
//! A record belongs to one cgroup. After a move, the thread ends its record at its next entry, and
//! takes another one. So a call belongs to the cgroup in which it entered, and a call that is in
//! flight during the move stays in the old record.
//!
//! `cgroup_attach_task` comes once for all threads of a process. It clears the owner of their
//! records, so their hints fail, and the common path needs no code for moves. A record that is live
//! and has no owner is the mark of a move.
//!
//! A thread can take a record, or take its record back, while it moves. So whoever moves a thread
//! first counts the move, and then clears the owner. The thread first writes its owner, and then
//! reads the count again. A full barrier between the two guarantees that one of them sees the other.

use core::ptr::read_volatile;

use profiler_common::{
    call::CallKey,
    limits::MAX_MOVED_THREADS,
    wire::{RecordState, TaskState, ThreadRecord},
};

use super::{are_known, of};
use crate::{
    arch,
    backend::Backend,
    counters::count,
    global,
    scope::filter,
    settings::{SIGNAL_OFFSET, THREAD_HEAD_OFFSET, THREAD_NODE_OFFSET},
    task::{Task, field_u64},
    thread::{self, record_of},
};

/// How many moves there have been.
#[unsafe(no_mangle)]
static mut MOVES: u64 = 0;

#[inline(always)]
fn moves() -> u64 {
    // SAFETY: an aligned word, to which other CPUs add.
    unsafe { read_volatile(&raw const MOVES) }
}

/// Notes how many moves there have been, before the cgroup of the running task is read.
#[inline(always)]
pub fn begin(state: *mut TaskState) {
    if are_known() {
        // SAFETY: a live state that only its own task writes by now.
        unsafe { (*state).moves = moves() };
    }
}

/// If the running task has moved, takes its record away, or gives it back if the task is in the same
/// cgroup as before.
///
/// # Safety
/// `state` is the live state of the running task, which has no call in flight.
#[inline(always)]
pub unsafe fn settle<B: Backend>(state: *mut TaskState, regs: u64) {
    if !are_known() {
        return;
    }
    let Some(record) = record_of::<B>(state) else { return };
    // SAFETY: the caller's state, and a live map value of the running thread's own.
    unsafe {
        if (*record).owner == 0 && global::leave_cgroup() == 0 {
            (*record).owner = B::owner(regs);
        }
    }
}

/// Ends the record of the running task, unless the record is of the task's cgroup. Returns whether it
/// has ended the record.
#[inline(always)]
pub fn leave<B: Backend>() -> bool {
    let task = B::current();
    let Some(state) = B::state(task) else { return false };
    let Some(record) = record_of::<B>(state) else { return false };
    // SAFETY: a live state and live map values of the running thread's own.
    unsafe {
        let index = (*record).index;
        let Some(identity) = B::identity(index) else { return false };
        if (*identity).cgroup == of(task) {
            return false;
        }
        // The outcome of a call before is known by now, or lost.
        thread::end_previous_call(record);
        (*record).in_flight_key = CallKey::NONE.0;
        global::identify(index);
        (*state).record = 0;
        arch::publish();
        (*record).state = RecordState::Left as u16;
    }
    true
}

/// Marks the record of the running task again if a task has moved since [`begin`].
///
/// # Safety
/// `state` is the live state of the running task, and the hint names its record.
#[inline(always)]
pub unsafe fn check<B: Backend>(state: *mut TaskState) {
    if !are_known() {
        return;
    }
    // SAFETY: the caller's state, and a live map value of the running thread's own.
    unsafe {
        arch::add_with_full_barrier(&raw mut (*state).moves, 0);
        if (*state).moves != moves()
            && let Some(record) = record_of::<B>(state)
        {
            (*record).owner = 0;
        }
    }
}

/// Handles `cgroup_attach_task`: `task` has moved, with all threads of its process if
/// `is_whole_process`.
#[inline(always)]
pub fn moved<B: Backend>(task: Task, is_whole_process: bool) {
    if !are_known() {
        return;
    }
    // SAFETY: an aligned word. The addition is a full barrier.
    unsafe { arch::add_with_full_barrier(&raw mut MOVES, 1) };
    if !is_whole_process || filter::is_alone(task) {
        mark(B::state(task).and_then(record_of::<B>));
        return;
    }
    // The kernel removes threads from this list by RCU (`__unhash_process`, kernel/exit.c), and adds
    // none meanwhile: whoever moves a process holds off its forks (`cgroup_attach_lock`,
    // kernel/cgroup/cgroup.c).
    let head = field_u64(task, SIGNAL_OFFSET.load()) + u64::from(THREAD_HEAD_OFFSET.load());
    let mut node = field_u64(head as Task, 0);
    for _ in 0..MAX_MOVED_THREADS {
        if node == head || node == 0 {
            return;
        }
        // A global function: the verifier walks the loop thread by thread.
        global::mark_moved_thread(node - u64::from(THREAD_NODE_OFFSET.load()));
        node = field_u64(node as Task, 0);
    }
    count!(moves_cut_short);
}

/// Marks the record of a thread that has moved, by the address of its task.
#[inline(always)]
pub fn mark_thread<B: Backend>(task: u64) {
    mark(B::recorded(task as Task));
}

/// Marks a record, whose owner has moved.
#[inline(always)]
fn mark(record: Option<*mut ThreadRecord>) {
    if let Some(record) = record {
        // SAFETY: a live map value. Only the owner of the record writes anything else to it. If
        // another thread owns the record by now, that thread takes it back at its next call.
        unsafe { (*record).owner = 0 };
    }
}
