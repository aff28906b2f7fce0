//! Which tasks count. Decided once a task, and remembered in its state.

use profiler_common::wire::TaskState;

use crate::{
    maps::TARGETS,
    task::{OWN_TGID, TARGETS_ONLY},
};

/// Whether the task whose state this is counts; decides it now if need be.
#[inline(always)]
pub fn in_scope(state: *mut TaskState, tgid: u32) -> bool {
    // SAFETY: a live state that only its own task writes by now.
    unsafe {
        if (*state).flags & TaskState::DECIDED == 0 {
            (*state).flags |= decide(tgid);
        }
        (*state).flags & TaskState::IN_SCOPE != 0
    }
}

/// The decision for a task of which nothing is known but its process.
#[inline(always)]
pub fn decide(tgid: u32) -> u32 {
    let counts = if TARGETS_ONLY.load() != 0 {
        // SAFETY: the value is not read.
        unsafe { TARGETS.get(&tgid) }.is_some()
    } else {
        tgid != OWN_TGID.load()
    };
    if counts { TaskState::DECIDED | TaskState::IN_SCOPE } else { TaskState::DECIDED }
}

/// The decision for a task that a decided `parent` forked, as process `tgid`.
///
/// With targets a child is in scope as its parent is, whatever its number, which may
/// have been a target's before. Without, only the profiler's own process is out of it,
/// whose threads are, but not its children.
#[inline(always)]
pub fn inherit(parent_flags: u32, tgid: u32) -> u32 {
    if TARGETS_ONLY.load() != 0 {
        return parent_flags & TaskState::IN_SCOPE | TaskState::DECIDED;
    }
    decide(tgid)
}
