//! Which tasks count. Decided once a task, and remembered in its state; with filters anew
//! whenever something has changed by which they decide.
//!
//! What was decided when a call entered holds until it has left. So a decision is made at
//! an entry, and looked at by the exit.
//!
//! # Generations
//!
//! Without filters, a task is decided about once. With filters by cgroup or name, a decision
//! belongs to a generation (`CHANGES`). Two events end a generation:
//!
//! - `cgroup_attach_task`, once a move is done.
//! - `task_rename`, if exactly one of the old and the new name matches the filter.
//!
//! `task_rename` comes before the kernel writes the name, so until then the name is read from a
//! table (`RENAMED`). An exec, alone in its process, ends only its own decision. A record has the
//! generation of its owner, so that the hint fails when the generation is over.
//!
//! A call that does not count leaves a mark in the record (`CallKey::UNCOUNTED`) or in the state.
//! Without the mark, its exit would look like that of a denied call.

pub mod filter;
pub mod outside;

use core::ptr::read_volatile;

use profiler_common::{
    call::CallKey,
    wire::{TaskState, ThreadRecord},
};

use crate::{
    atomic,
    backend::Backend,
    maps::TARGETS,
    settings::{CALLS_ONLY, COMMS_ONLY, OWN_TGID, SCOPE_CHANGES, SCOPE_IS_NARROW, TARGETS_ONLY},
    task::Task,
    thread,
};

/// How often something has changed by which filters decide.
#[unsafe(no_mangle)]
static mut CHANGES: u64 = 0;

/// Whether tasks can be in and out of scope by turns.
#[inline(always)]
fn changes() -> bool {
    SCOPE_CHANGES.load() != 0
}

/// Whether most of the host may be out of scope.
#[inline(always)]
fn is_narrow() -> bool {
    SCOPE_IS_NARROW.load() != 0
}

/// The generation of decisions that are true now; never 0.
#[inline(always)]
fn generation() -> u64 {
    // SAFETY: an aligned word, which others add to.
    unsafe { read_volatile(&raw const CHANGES) + 1 }
}

/// Whether a record that the hint gave says how its owner's next call counts.
#[inline(always)]
pub fn is_current(record: *mut ThreadRecord) -> bool {
    // SAFETY: a live map value of the running thread's own.
    !changes() || unsafe { (*record).generation } == generation()
}

/// Whether a call counts that the running task, whose state this is, enters. Decides now if
/// need be.
#[inline(never)]
pub fn counts_at_entry(state: *mut TaskState, task: Task, tgid: u32) -> bool {
    // SAFETY: a live state that only its own task writes by now.
    unsafe {
        if (*state).flags & TaskState::DECIDED == 0 {
            (*state).flags |= initial_flags(tgid);
        }
        if !changes() {
            return (*state).flags & TaskState::IN_SCOPE != 0;
        }
        // Before all by which is decided is read.
        let generation = generation();
        if (*state).generation != generation {
            let agreed = (*state).flags & TaskState::WATCHED != 0 && filter::agrees(task);
            (*state).flags = (*state).flags & !TaskState::IN_SCOPE
                | if agreed { TaskState::IN_SCOPE } else { 0 };
            (*state).generation = generation;
        }
        (*state).flags & TaskState::IN_SCOPE != 0
    }
}

/// Whether what the running task leaves counts: if its last entry did, or if that was
/// before all this, as it would now.
#[inline(always)]
pub fn counts_at_exit(state: *mut TaskState, task: Task, tgid: u32) -> bool {
    // SAFETY: a live state that only its own task writes by now.
    unsafe {
        if (*state).flags & TaskState::DECIDED == 0 || changes() && (*state).generation == 0 {
            return counts_at_entry(state, task, tgid);
        }
        (*state).flags & TaskState::IN_SCOPE != 0
    }
}

/// Whether an exit of the running task may be of a call that counts though it did not enter.
/// A task that has a record may be out of scope by now.
#[inline(always)]
pub fn may_count_denied<B: Backend>(task: Task) -> bool {
    // SAFETY: a live state of the running task.
    !changes()
        || B::state(task).is_some_and(|state| unsafe { (*state).flags } & TaskState::IN_SCOPE != 0)
}

/// Whether it has been decided how calls of a task count, and that this is not at all.
#[inline(always)]
pub fn is_decided_out(state: *mut TaskState) -> bool {
    // SAFETY: a live state.
    unsafe {
        (*state).flags & (TaskState::DECIDED | TaskState::IN_SCOPE) == TaskState::DECIDED
            && (!changes() || (*state).generation == generation())
    }
}

/// The running task, whose registers are at `regs`, enters a call and is in scope by
/// `state`: what the hint gives says so too.
#[inline(always)]
pub fn note_in_scope(state: *mut TaskState, record: *mut ThreadRecord) {
    if changes() {
        // SAFETY: a live state and a live map value of the running thread's own.
        unsafe { (*record).generation = (*state).generation };
    }
}

/// The running task, whose registers are at `regs`, enters a call and is out of scope by
/// `state`: notes it, so that the next time it is known at once.
#[inline(always)]
pub fn note_out_of_scope<B: Backend>(
    state: *mut TaskState,
    record: Option<*mut ThreadRecord>,
    regs: u64,
) {
    if !is_narrow() {
        return;
    }
    // SAFETY: a live state and a live map value of the running thread's own.
    unsafe {
        // A call of before is not what leaves next.
        if let Some(record) = record {
            thread::end_previous_call(record);
            (*record).in_flight_key = CallKey::NONE.0;
        }
        (*state).key_plus_one = 0;
        outside::add::<B>(state, regs);
    }
}

/// Something has changed by which the filters decide of the running task alone.
#[inline(always)]
pub fn invalidate_own(state: *mut TaskState, record: Option<*mut ThreadRecord>) {
    // SAFETY: a live state and a live map value of the running thread's own.
    unsafe {
        if (*state).generation != 0 {
            (*state).generation = TaskState::STALE;
        }
        if let Some(record) = record {
            (*record).generation = TaskState::STALE;
        }
    }
    outside::forget(state);
}

/// The running task has another name than before, if names decide.
#[inline(always)]
pub fn invalidate_after_rename(state: *mut TaskState, record: Option<*mut ThreadRecord>) {
    if COMMS_ONLY.load() != 0 {
        invalidate_own(state, record);
    }
}

/// Something has changed by which the filters decide, of tasks that are not all known here.
#[inline(never)]
pub fn invalidate_all() {
    // SAFETY: an aligned word.
    unsafe { atomic::add(&raw mut CHANGES, 1) };
    outside::clear();
}

/// Whether this key in flight is of a call that does not count.
#[inline(always)]
pub fn is_uncounted(in_flight_key: u32) -> bool {
    CALLS_ONLY.load() != 0 && in_flight_key == CallKey::UNCOUNTED.0
}

/// Whether calls of this key count.
#[inline(always)]
pub fn counts_call(key: u32) -> bool {
    CALLS_ONLY.load() == 0 || filter::counts(key)
}

/// What is decided of a task of which nothing is known but its process.
#[inline(always)]
fn initial_flags(tgid: u32) -> u32 {
    let watched = if TARGETS_ONLY.load() != 0 {
        // SAFETY: the value is not read.
        unsafe { TARGETS.get(&tgid) }.is_some()
    } else {
        tgid != OWN_TGID.load()
    };
    if watched { TaskState::DECIDED | in_scope() } else { TaskState::DECIDED }
}

/// Of a task that is watched. Where filters decide they do so when it first makes a call.
#[inline(always)]
fn in_scope() -> u32 {
    TaskState::WATCHED | if changes() { 0 } else { TaskState::IN_SCOPE }
}

/// Whether the calls of any `task` count now, `tgid` being its process.
#[inline(always)]
pub fn counts_task(task: Task, tgid: u32) -> bool {
    initial_flags(tgid) & TaskState::WATCHED != 0 && (!changes() || filter::agrees(task))
}

/// What is decided of a task that `parent`, a process `parent_tgid` with this state, forked
/// as process `tgid`.
///
/// With targets a child is watched as its parent is, whatever its number, which may have
/// been a target's before. Without, only the profiler's own process is not, whose threads
/// are neither, but its children are.
#[inline(always)]
pub fn inherited_flags(parent: Option<*mut TaskState>, parent_tgid: u32, tgid: u32) -> u32 {
    if TARGETS_ONLY.load() == 0 {
        return initial_flags(tgid);
    }
    let decided = match parent {
        // SAFETY: a live state of the running task.
        Some(state) if unsafe { (*state).flags } & TaskState::DECIDED != 0 => unsafe {
            (*state).flags
        },
        _ => initial_flags(parent_tgid),
    };
    TaskState::DECIDED | if decided & TaskState::WATCHED != 0 { in_scope() } else { 0 }
}
