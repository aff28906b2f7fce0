//! Scope: which tasks and syscalls count.
//!
//! The entry program decides about a task, and stores the decision in the state of the task. The
//! exit program uses the decision of the entry, so that a call which entered in scope leaves in
//! scope.
//!
//! # Generations
//!
//! Without filters, a task is decided about once. With filters by cgroup or name, a decision
//! belongs to a generation (`CHANGES`). Three events end a generation:
//!
//! - `cgroup_attach_task`, once a move is done.
//! - `task_rename`, if exactly one of the old and the new name matches the filter.
//! - The reader takes cgroups out of scope that were undecided (`places`).
//!
//! `task_rename` comes before the kernel writes the name, so until then the name is read from a
//! table (`RENAMED`). An exec, alone in its process, ends only its own decision. A record has the
//! generation of its owner, so that the hint fails when the generation is over.
//!
//! A call that does not count leaves a mark in the record (`CallKey::UNCOUNTED`) or in the state.
//! Without the mark, its exit would look like that of a denied call.

pub mod filter;
pub mod outside;
pub mod places;

use core::ptr::read_volatile;

use profiler_common::{
    call::CallKey,
    wire::{TaskState, ThreadRecord},
};

use crate::{
    atomic,
    backend::Backend,
    control,
    maps::TARGETS,
    settings::{
        CALLS_ONLY, CGROUPS_ONLY, COMMS_ONLY, OWN_TGID, PLACES_ONLY, SCOPE_CHANGES,
        SCOPE_IS_NARROW, TARGETS_ONLY,
    },
    task::Task,
    thread,
};

/// How often the decisions of filters have become stale.
#[unsafe(no_mangle)]
static mut CHANGES: u64 = 0;

/// Whether a task can enter and leave the scope.
#[inline(always)]
fn changes() -> bool {
    SCOPE_CHANGES.load() != 0
}

/// Whether the scope is less than the whole host.
#[inline(always)]
fn is_narrow() -> bool {
    SCOPE_IS_NARROW.load() != 0
}

/// The current generation of decisions; never 0.
#[inline(always)]
fn generation() -> u64 {
    let of_reader = if PLACES_ONLY.load() == 0 { 0 } else { control::scope_changes() };
    // SAFETY: an aligned word, to which other CPUs add.
    unsafe { read_volatile(&raw const CHANGES) + of_reader + 1 }
}

/// Whether the decision about the owner of `record` is of the current generation.
#[inline(always)]
pub fn is_current(record: *mut ThreadRecord) -> bool {
    // SAFETY: a live map value of the running thread's own.
    !changes() || unsafe { (*record).generation } == generation()
}

/// Whether a call counts that the running task, which has this state, enters. Decides about the
/// task if there is no current decision.
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
        // Read before everything that the decision depends on.
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

/// Whether a call counts that the running task leaves. The decision of its last entry applies.
/// Without one, decides now.
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

/// Whether a denied call of the running task counts. A task with a record may have left the scope.
#[inline(always)]
pub fn may_count_denied<B: Backend>(task: Task) -> bool {
    // SAFETY: a live state of the running task.
    !changes()
        || B::state(task).is_some_and(|state| unsafe { (*state).flags } & TaskState::IN_SCOPE != 0)
}

/// Whether there is a current decision about a task, and its calls do not count.
#[inline(always)]
pub fn is_decided_out(state: *mut TaskState) -> bool {
    // SAFETY: a live state.
    unsafe {
        (*state).flags & (TaskState::DECIDED | TaskState::IN_SCOPE) == TaskState::DECIDED
            && (!changes() || (*state).generation == generation())
    }
}

/// Copies the decision that the running task is in scope from its state to its record, to which the
/// hint leads.
#[inline(always)]
pub fn note_in_scope(state: *mut TaskState, record: *mut ThreadRecord) {
    if changes() {
        // SAFETY: a live state and a live map value of the running thread's own.
        unsafe { (*record).generation = (*state).generation };
    }
}

/// Notes that the running task, whose registers are at `regs`, is out of scope. Its next calls then
/// end at once.
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
        // The call in flight, if there is one, is not the call that leaves next.
        if let Some(record) = record {
            thread::end_previous_call(record);
            (*record).in_flight_key = CallKey::NONE.0;
        }
        (*state).key_plus_one = 0;
        outside::add::<B>(state, regs);
    }
}

/// Marks the decision about the running task as stale.
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

/// Marks the decision about the running task as stale, if filters depend on its name.
#[inline(always)]
pub fn invalidate_after_rename(state: *mut TaskState, record: Option<*mut ThreadRecord>) {
    if COMMS_ONLY.load() != 0 {
        invalidate_own(state, record);
    }
}

/// Marks all decisions as stale.
#[inline(never)]
pub fn invalidate_all() {
    // SAFETY: an aligned word.
    unsafe { atomic::add(&raw mut CHANGES, 1) };
    outside::clear();
}

/// Marks all decisions as stale after a move between cgroups, if filters depend on cgroups.
#[inline(always)]
pub fn invalidate_after_move() {
    if CGROUPS_ONLY.load() != 0 || PLACES_ONLY.load() != 0 {
        invalidate_all();
    }
}

/// Whether this is the key in flight of a call that does not count.
#[inline(always)]
pub fn is_uncounted(in_flight_key: u32) -> bool {
    CALLS_ONLY.load() != 0 && in_flight_key == CallKey::UNCOUNTED.0
}

/// Whether the syscall with this key counts.
#[inline(always)]
pub fn counts_call(key: u32) -> bool {
    CALLS_ONLY.load() == 0 || filter::counts(key)
}

/// The flags of a task about which only its process is known.
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

/// The flags of a task that is watched. Filters decide when it first makes a call.
#[inline(always)]
fn in_scope() -> u32 {
    TaskState::WATCHED | if changes() { 0 } else { TaskState::IN_SCOPE }
}

/// Whether the calls of `task`, a thread of process `tgid`, count now. It can be any task.
#[inline(always)]
pub fn counts_task(task: Task, tgid: u32) -> bool {
    is_watched(tgid) && agrees_now(task)
}

/// Whether filters, if there are any, match `task` now. It can be any task. A task in an undecided
/// cgroup does not match: what asks here has no record from which the reader could leave it out.
#[inline(always)]
pub fn agrees_now(task: Task) -> bool {
    !changes() || filter::surely_agrees(task)
}

/// Whether a process is watched of which nothing but its id is known.
#[inline(always)]
pub fn is_watched(tgid: u32) -> bool {
    initial_flags(tgid) & TaskState::WATCHED != 0
}

/// The flags of a task of process `tgid` that was forked by `parent`, a task of process
/// `parent_tgid`.
///
/// With targets, the child is watched if its parent is. Its process id does not matter, because it
/// may have been the id of a target before. Without targets, every task is watched, except for the
/// threads of the profiler itself.
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
