//! From the running task to its record.
//!
//! # The hint
//!
//! In the arena, the hint is a table, indexed by a hash of the address of the owner's saved
//! registers. `sys_enter` and `sys_exit` pass that address as an argument. With arrays, the hint is
//! the record that this CPU used last (`HINT`). The table still holds when the CPU has run another
//! task in between; the hint of a CPU does not.
//!
//! The record names its owner by the same address: no other live task has that stack. The verifier
//! treats only the difference of two pointers as a number, so in the arena the owner is a distance
//! from the map.
//!
//! If the hint misses, the state of the task names the record. The state is in task storage, which
//! ends with the task and follows it through an exec. In the fallback, the state is in a hash by the
//! address of the task, and the exit hook deletes it.

use aya_ebpf::helpers::{
    bpf_get_current_comm, bpf_get_current_pid_tgid, bpf_get_prandom_u32, bpf_ktime_get_ns,
};
use profiler_common::{
    call::CallKey,
    sampling,
    wire::{RecordState, TaskState, ThreadRecord},
};

use crate::{
    global, interrupted, overflow,
    pool::{self, count},
    refusal, scope,
    settings::{LEADER_OFFSET, START_OFFSET, STATUS_OFFSET, TIMED},
    task::{Task, field_u64, layout_known, may_be_refused, read_comm},
    way::Way,
};

/// The record of the task whose registers are at `regs`, if the hint says which it is: the
/// common case. By the registers rather than by the task, since they are an argument, and
/// asking for the task is a call.
#[inline(always)]
pub fn hinted<W: Way>(regs: u64) -> Option<*mut ThreadRecord> {
    let owner = W::owner(regs);
    let record = W::likely_record(owner)?;
    // SAFETY: a live map value. The hint can be stale, so the record decides: its
    // owner's stack is cleared there when the owner ends, before the stack can
    // belong to another task.
    (unsafe { (*record).owner } == owner).then_some(record)
}

/// The record index plus one of a task that enters a call and that the hint
/// missed. 0 when there is nothing left to do: the task is out of scope, or the
/// call went to its overflow slot.
#[inline(never)]
pub fn entering<W: Way>(regs: u64, nr: u64) -> u32 {
    let task = W::current();
    let Some(state) = W::state_or_new(task) else {
        count!(lost_entries);
        return 0;
    };
    // SAFETY: a live state of the running task.
    unsafe { interrupted::restarted_if_unrecorded(state) };
    let ids = bpf_get_current_pid_tgid();
    if !scope::enters(state, task, (ids >> 32) as u32) {
        scope::stays_out::<W>(state, record_of::<W>(state), regs);
        return 0;
    }
    // SAFETY: a live state that only its own task writes by now.
    unsafe {
        if (*state).flags & TaskState::KNOWN == 0 {
            // Its exit may have been missed.
            W::forget_before(task);
        }
        (*state).flags = (*state).flags & !TaskState::NEWBORN | TaskState::KNOWN;
        if (*state).record == 0 {
            if !give_record::<W>(regs) {
                let key = CallKey::new(nr, W::is_compat(task)).0;
                if !scope::counts(key) {
                    (*state).key_plus_one = CallKey::UNCOUNTED.0 + 1;
                    return 0;
                }
                (*state).key_plus_one = key + 1;
                overflow::entered(key);
                (*state).entry_ns = entry_ns();
                return 0;
            }
        }
        use_record::<W>(state, regs)
    }
}

/// Gives the running task, which has none, a record. Returns whether there was one left.
#[inline(always)]
fn give_record<W: Way>(regs: u64) -> bool {
    let index_plus_one = global::take_record();
    if index_plus_one == 0 {
        return false;
    }
    let Some(record) = W::record(index_plus_one - 1) else { return false };
    // SAFETY: a live map value of the running thread's own.
    unsafe {
        (*record).owner = W::owner(regs);
        // Once a reader sees it live, it sees whose it is.
        pool::publish();
        (*record).state = RecordState::Live as u16;
    }
    true
}

/// Takes a record for the running task, which has none, and fills it in, but for its owner
/// and its state of life. Returns its index plus one; 0 if there was none left.
#[inline(always)]
pub fn take_record<W: Way>() -> u32 {
    let task = W::current();
    let Some(state) = W::state(task) else { return 0 };
    let Some((index, user)) = pool::take_record() else { return 0 };
    let Some(record) = W::record(index) else { return 0 };
    // SAFETY: a record that was taken just now, and a live state of the running task.
    unsafe {
        fill_in(record, (index, user), task, bpf_get_current_pid_tgid());
        (*state).record = index + 1;
    }
    index + 1
}

/// Makes the hint name the record of the running task, which has one. Returns its index plus
/// one.
///
/// # Safety
/// `state` is the live state of the running task.
#[inline(always)]
unsafe fn use_record<W: Way>(state: *mut TaskState, regs: u64) -> u32 {
    if let Some(record) = record_of::<W>(state) {
        scope::stays_in(state, record);
    }
    // SAFETY: the caller's state.
    unsafe {
        W::remember(W::owner(regs), (*state).record - 1);
        (*state).record
    }
}

/// The record index plus one of a task of which a call was refused, for that call to be
/// counted there. 0 if no record is left: then the call is counted in its overflow slot.
#[inline(always)]
pub fn refused<W: Way>(state: *mut TaskState, task: Task, regs: u64, key: u32) -> u32 {
    // SAFETY: a live state of the running task.
    unsafe {
        if (*state).record == 0 && !give_record::<W>(regs) {
            refusal::note_kill(state, task);
            count!(denied_unrecorded);
            overflow::denied(key);
            return 0;
        }
        use_record::<W>(state, regs)
    }
}

/// The record of the task whose state this is.
#[inline(always)]
pub fn record_of<W: Way>(state: *mut TaskState) -> Option<*mut ThreadRecord> {
    // SAFETY: a live state.
    match unsafe { (*state).record } {
        0 => None,
        index_plus_one => W::record(index_plus_one - 1),
    }
}

/// The time, if the call is to be timed; otherwise 0. Off the common path, so that whose turn
/// it is need not be told from what is counted.
#[inline(always)]
fn entry_ns() -> u64 {
    // SAFETY: always safe to call.
    unsafe {
        match TIMED.load() {
            sampling::ALL => bpf_ktime_get_ns(),
            threshold if threshold != sampling::NONE && bpf_get_prandom_u32() <= threshold => {
                bpf_ktime_get_ns()
            }
            _ => 0,
        }
    }
}

/// Fills in a free record, which the reader has zeroed, for the running task.
#[inline(always)]
unsafe fn fill_in(record: *mut ThreadRecord, (index, user): (u32, u16), task: Task, ids: u64) {
    // SAFETY: the caller took the record from the queue, so it is nobody else's.
    unsafe {
        (*record).in_flight_key = CallKey::NONE.0;
        (*record).last_key = CallKey::NONE.0;
        (*record).index = index;
        (*record).user = user;
        // Or the first call of every thread would be timed, and of the rest too few.
        (*record).first_turn =
            u64::from(bpf_get_prandom_u32()) << 32 | u64::from(bpf_get_prandom_u32());
        (*record).status_address = task as u64 + u64::from(STATUS_OFFSET.load());
        (*record).tgid = (ids >> 32) as u32;
        (*record).tid = ids as u32;
        if layout_known() {
            let leader = field_u64(task, LEADER_OFFSET.load()) as Task;
            (*record).process_start_ns = field_u64(leader, START_OFFSET.load());
            read_comm(leader, &raw mut (*record).comm);
            (*record).named_ns = read_name_ns();
        } else if let Ok(comm) = bpf_get_current_comm() {
            (*record).comm = comm;
            // A thread's own name is its process's only for want of the leader's.
            (*record).named_ns = if (*record).tid == (*record).tgid { read_name_ns() } else { 0 };
        }
    }
}

/// [`ThreadRecord::named_ns`] of a name that is read now.
///
/// `task_rename` comes before the new name is written, so what is read may still be the name
/// before. A renaming in the second before is therefore the later of the two; if the new name
/// was read, both say the same.
#[inline(always)]
pub fn read_name_ns() -> u64 {
    // SAFETY: always safe to call.
    unsafe { bpf_ktime_get_ns() }.saturating_sub(1_000_000_000)
}

/// The record index plus one of a task that leaves a call and that the hint
/// missed; 0 when there is nothing left to do.
#[inline(never)]
pub fn leaving<W: Way>(result: u64, regs: u64) -> u32 {
    let task = W::current();
    let Some(state) = W::state_or_new(task) else { return 0 };
    // SAFETY: a live state that only its own task writes by now.
    let is_known = unsafe { (*state).flags } & TaskState::KNOWN != 0;
    let was_listed = !is_known && W::forget_before(task);
    if !scope::leaves(state, task, (bpf_get_current_pid_tgid() >> 32) as u32) {
        return 0;
    }
    // SAFETY: as above.
    unsafe {
        if (*state).flags & TaskState::NEWBORN != 0 {
            (*state).flags &= !TaskState::NEWBORN;
            if pool::attached() {
                (*state).flags |= TaskState::KNOWN;
            }
            count!(births);
            return 0;
        }
        if (*state).record != 0 {
            W::remember(W::owner(regs), (*state).record - 1);
            return (*state).record;
        }
        // Whatever follows accounts for this exit.
        (*state).flags &= !TaskState::EXITS_SEEN;
        interrupted::restarted_if_unrecorded(state);
        let key_plus_one = (*state).key_plus_one;
        if key_plus_one != 0 {
            (*state).key_plus_one = 0;
            let key = key_plus_one - 1;
            if scope::is_uncounted(key) {
                return 0;
            }
            let entry_ns = (*state).entry_ns;
            let latency_ns = (entry_ns != 0).then(|| bpf_ktime_get_ns().wrapping_sub(entry_ns));
            if interrupted::is_interruption(result, key) {
                interrupted::keep_unrecorded(state, key, latency_ns, result);
            } else {
                overflow::leave(key, latency_ns, result);
            }
            return 0;
        }
        if !pool::attached() {
            if !is_known {
                count!(in_flight_at_attach);
            }
            return 0;
        }
        let nr = W::number_at_exit(regs);
        let is_compat = W::is_compat(task);
        if !is_known {
            // Every entry from now on is seen, so only this exit can be of a call that
            // entered before.
            (*state).flags |= TaskState::KNOWN;
            if was_listed || global::is_presumed_refused(nr, is_compat.into()) == 0 {
                count!(in_flight_at_attach);
                return 0;
            }
        }
        let key = CallKey::new(nr, is_compat).0;
        if !scope::counts(key) {
            return 0;
        }
        if !may_be_refused(task) {
            count!(missed_entries);
            return 0;
        }
        refused::<W>(state, task, regs, key)
    }
}

/// Whether a copy of the entry program has counted the call that `task`, which the hint
/// missed, is entering; or has nothing to count of it.
#[inline(always)]
pub fn has_entered<W: Way>(task: Task) -> bool {
    let Some(state) = W::state(task) else { return false };
    // The call in flight first: what is decided may have changed since the copy before.
    // SAFETY: a live state that only its own task writes by now, and its record.
    let in_flight = unsafe {
        match (*state).record {
            0 => (*state).key_plus_one != 0 && !interrupted::is_kept_unrecorded(state),
            index_plus_one => W::record(index_plus_one - 1).is_some_and(|record| {
                let key = CallKey((*record).in_flight_key);
                key != CallKey::NONE && !key.is_interrupted()
            }),
        }
    };
    in_flight || scope::is_decided_out(state)
}

/// Whether an earlier copy of the exit program has accounted for the exit of a task that has
/// no record, `state` being its state. `copy` is the number of the copy that asks.
#[inline(always)]
pub fn has_left(state: *mut TaskState, copy: usize) -> bool {
    let seen = TaskState::EXIT_SEEN << copy;
    // SAFETY: a live state that only its own task writes by now.
    unsafe {
        let flags = (*state).flags;
        let in_flight = (*state).key_plus_one != 0 && !interrupted::is_kept_unrecorded(state);
        if flags & TaskState::NEWBORN != 0 || in_flight {
            return false;
        }
        (*state).flags = flags | seen;
        flags & seen == 0
    }
}
