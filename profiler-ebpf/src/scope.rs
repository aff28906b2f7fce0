//! Which tasks count. Decided once a task, and remembered in its state; with filters anew
//! whenever something has changed by which they decide.
//!
//! What was decided when a call entered holds until it has left. So a decision is made at
//! an entry, and looked at by the exit.
//!
//! # Generations
//!
//! Without filters, a task is decided about once. With filters by cgroup or name, a decision belongs
//! to a generation (`CHANGES`). Two events end a generation:
//!
//! - `cgroup_attach_task`, once a move is done.
//! - `task_rename`, if exactly one of the old and the new name matches the filter.
//!
//! `task_rename` comes before the kernel writes the name, so until then the name is read from a table
//! (`RENAMED`). An exec, alone in its process, ends only its own decision. A record has the generation
//! of its owner, so that the hint fails when the generation is over.
//!
//! A call that does not count leaves a mark in the record (`CallKey::UNCOUNTED`) or in the state.
//! Without the mark, its exit would look like that of a denied call.
//!
//! # Tasks out of scope
//!
//! `OUTSIDE` is looked at before everything else: no call, no look-up, no write. A task out of scope
//! writes the address of its registers there once it is decided about. Its end, its exec and every
//! change clear the entry.
//!
//! The writer of a change bumps the generation, then clears the table. The task publishes itself,
//! then rereads the generation. A full barrier between the two guarantees that one of them sees the
//! other.

use core::{
    arch::asm,
    ptr::{read_volatile, write_volatile},
};

use profiler_common::{
    call::CallKey,
    limits::{CACHE_LINE, OUTSIDE as PLACES},
    wire::{TaskState, ThreadRecord},
};

use crate::{
    filter, interrupted,
    maps::TARGETS,
    pool::{self, count},
    settings::{CALLS_ONLY, COMMS_ONLY, OWN_TGID, SCOPE_CHANGES, SCOPE_IS_NARROW, TARGETS_ONLY},
    task::Task,
    way::Way,
};

/// Where tasks are told to be out of scope, by where their registers are saved: the fast way
/// for them, which makes no call. A place that two of them share is that of the last.
#[unsafe(no_mangle)]
static mut OUTSIDE: [u64; PLACES] = [0; PLACES];

/// Places in a cache line.
const LINE: usize = CACHE_LINE / size_of::<u64>();

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

/// Where in the table it would say that the task whose registers are at `regs` is out of
/// scope, in bytes.
#[inline(always)]
fn offset<W: Way>(regs: u64) -> u64 {
    const { assert!(PLACES.is_power_of_two()) };
    // A kernel stack has 16 KiB, with the registers at its top; a place has 8 bytes.
    let mut offset = W::distance(regs, (&raw mut OUTSIDE).cast()) >> (14 - 3);
    // SAFETY: changes a register, by a mask as the verifier sees it too: LLVM makes other
    // ones of it, of which the bound does not show.
    unsafe {
        asm!("{0} &= {1}", inlateout(reg) offset, const 8 * (PLACES - 1),
            options(nomem, nostack, pure));
    }
    offset
}

/// The place at an [`offset`].
///
/// # Safety
/// It is below the table's size, and the verifier knows.
#[inline(always)]
unsafe fn place(offset: u64) -> *mut u64 {
    // SAFETY: as above.
    unsafe { (&raw mut OUTSIDE).cast::<u8>().add(offset as usize).cast() }
}

/// Whether the task whose registers are at `regs` is known to be out of scope.
#[inline(always)]
pub fn is_outside<W: Way>(regs: u64) -> bool {
    // SAFETY: a place in the table.
    is_narrow() && unsafe { read_volatile(place(offset::<W>(regs))) } == regs
}

/// Whether a record that the hint gave says how its owner's next call counts.
#[inline(always)]
pub fn holds(record: *mut ThreadRecord) -> bool {
    // SAFETY: a live map value of the running thread's own.
    !changes() || unsafe { (*record).generation } == generation()
}

/// Whether a call counts that the running task, whose state this is, enters. Decides now if
/// need be.
#[inline(never)]
pub fn enters(state: *mut TaskState, task: Task, tgid: u32) -> bool {
    // SAFETY: a live state that only its own task writes by now.
    unsafe {
        if (*state).flags & TaskState::DECIDED == 0 {
            (*state).flags |= watched(tgid);
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
pub fn leaves(state: *mut TaskState, task: Task, tgid: u32) -> bool {
    // SAFETY: a live state that only its own task writes by now.
    unsafe {
        if (*state).flags & TaskState::DECIDED == 0 || changes() && (*state).generation == 0 {
            return enters(state, task, tgid);
        }
        (*state).flags & TaskState::IN_SCOPE != 0
    }
}

/// Whether an exit of the running task may be of a call that counts though it did not enter.
/// A task that has a record may be out of scope by now.
#[inline(always)]
pub fn may_be_denied<W: Way>(task: Task) -> bool {
    // SAFETY: a live state of the running task.
    !changes()
        || W::state(task).is_some_and(|state| unsafe { (*state).flags } & TaskState::IN_SCOPE != 0)
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
pub fn stays_in(state: *mut TaskState, record: *mut ThreadRecord) {
    if changes() {
        // SAFETY: a live state and a live map value of the running thread's own.
        unsafe { (*record).generation = (*state).generation };
    }
}

/// The running task, whose registers are at `regs`, enters a call and is out of scope by
/// `state`: notes it, so that the next time it is known at once.
#[inline(always)]
pub fn stays_out<W: Way>(state: *mut TaskState, record: Option<*mut ThreadRecord>, regs: u64) {
    if !is_narrow() {
        return;
    }
    // SAFETY: a live state and a live map value of the running thread's own; and a place in
    // the table.
    unsafe {
        // A call of before is not what leaves next.
        if let Some(record) = record {
            ends_before(record);
            (*record).in_flight_key = CallKey::NONE.0;
        }
        (*state).key_plus_one = 0;
        let offset = offset::<W>(regs);
        (*state).outside = offset + 1;
        let place = place(offset);
        write_volatile(place, regs);
        // Whoever makes a change counts it, and clears the table after that. Either that
        // finds what is noted, or the change is found here: the addition is a full barrier.
        pool::add(&raw mut (*state).outside, 0);
        if changes() && (*state).generation != generation() {
            write_volatile(place, 0);
        }
    }
}

/// Forgets what is noted of a task that ends, or is to be decided about anew.
#[inline(always)]
pub fn forget_outside(state: *mut TaskState) {
    if !is_narrow() {
        return;
    }
    // SAFETY: a live state that only its own task writes, and a place in the table. If it
    // is another task's by now, that one is found out again.
    unsafe {
        let offset_plus_one = (*state).outside;
        if offset_plus_one != 0 && offset_plus_one <= 8 * PLACES as u64 {
            write_volatile(place((offset_plus_one - 1) & !7), 0);
        }
        (*state).outside = 0;
    }
}

/// Something has changed by which the filters decide of the running task alone.
#[inline(always)]
pub fn changed_for_itself(state: *mut TaskState, record: Option<*mut ThreadRecord>) {
    // SAFETY: a live state and a live map value of the running thread's own.
    unsafe {
        if (*state).generation != 0 {
            (*state).generation = TaskState::STALE;
        }
        if let Some(record) = record {
            (*record).generation = TaskState::STALE;
        }
    }
    forget_outside(state);
}

/// The running task has another name than before, if names decide.
#[inline(always)]
pub fn renamed(state: *mut TaskState, record: Option<*mut ThreadRecord>) {
    if COMMS_ONLY.load() != 0 {
        changed_for_itself(state, record);
    }
}

/// Something has changed by which the filters decide, of tasks that are not all known here.
#[inline(never)]
pub fn changed() {
    // SAFETY: a word, and places in the table.
    unsafe {
        pool::add(&raw mut CHANGES, 1);
        // A cache line at a time, with one branch for each. The verifier keeps a state for each
        // branch that it has passed: with one for each place, these took 30 MiB. To clear a place
        // that a task has just noted costs that task one more decision.
        for line in 0..PLACES / LINE {
            let first = (&raw mut OUTSIDE).cast::<u64>().add(line * LINE);
            let mut noted = 0;
            for index in 0..LINE {
                noted |= read_volatile(first.add(index));
            }
            if noted != 0 {
                for index in 0..LINE {
                    write_volatile(first.add(index), 0);
                }
            }
        }
    }
}

/// The running thread enters a call. If one is in flight by its record, that one has been
/// interrupted and is restarted, or has left unseen.
///
/// # Safety
/// `record` is a live map value, the running thread's own.
#[inline(always)]
pub unsafe fn ends_before(record: *mut ThreadRecord) {
    // SAFETY: the caller's record.
    unsafe {
        let key = (*record).in_flight_key;
        if key == CallKey::NONE.0 || is_uncounted(key) {
            return;
        }
        if CallKey(key).is_interrupted() {
            interrupted::restarted();
        } else {
            (*record).missed_exits += 1;
            count!(lost_exits);
        }
    }
}

/// Whether this key in flight is of a call that does not count.
#[inline(always)]
pub fn is_uncounted(in_flight_key: u32) -> bool {
    CALLS_ONLY.load() != 0 && in_flight_key == CallKey::UNCOUNTED.0
}

/// Whether calls of this key count.
#[inline(always)]
pub fn counts(key: u32) -> bool {
    CALLS_ONLY.load() == 0 || filter::counts(key)
}

/// What is decided of a task of which nothing is known but its process.
#[inline(always)]
fn watched(tgid: u32) -> u32 {
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
pub fn counts_now(task: Task, tgid: u32) -> bool {
    watched(tgid) & TaskState::WATCHED != 0 && (!changes() || filter::agrees(task))
}

/// What is decided of a task that `parent`, a process `parent_tgid` with this state, forked
/// as process `tgid`.
///
/// With targets a child is watched as its parent is, whatever its number, which may have
/// been a target's before. Without, only the profiler's own process is not, whose threads
/// are neither, but its children are.
#[inline(always)]
pub fn inherit(parent: Option<*mut TaskState>, parent_tgid: u32, tgid: u32) -> u32 {
    if TARGETS_ONLY.load() == 0 {
        return watched(tgid);
    }
    let decided = match parent {
        // SAFETY: a live state of the running task.
        Some(state) if unsafe { (*state).flags } & TaskState::DECIDED != 0 => unsafe {
            (*state).flags
        },
        _ => watched(parent_tgid),
    };
    TaskState::DECIDED | if decided & TaskState::WATCHED != 0 { in_scope() } else { 0 }
}
