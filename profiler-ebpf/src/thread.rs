//! From the running task to its record.

use aya_ebpf::helpers::{
    bpf_get_current_comm, bpf_get_current_pid_tgid, bpf_get_prandom_u32, bpf_ktime_get_ns,
};
use profiler_common::{
    call::CallKey,
    limits::sampling,
    wire::{RecordState, TaskState, ThreadRecord},
};

use crate::{
    overflow,
    pool::{self, count},
    scope,
    task::{
        LEADER_OFFSET, START_OFFSET, STATUS_OFFSET, TIMED, Task, field_u64, layout_known,
        may_be_refused, read_comm,
    },
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
            let Some(index) = pool::take_record() else {
                let key = CallKey::new(nr, W::is_compat(task)).0;
                if !scope::counts(key) {
                    (*state).key_plus_one = CallKey::UNCOUNTED.0 + 1;
                    return 0;
                }
                (*state).key_plus_one = key + 1;
                overflow::entered(key);
                (*state).entry_ns = entry_ns();
                return 0;
            };
            let Some(record) = W::record(index) else { return 0 };
            own(record, index, task, W::owner(regs), ids);
            (*state).record = index + 1;
        }
        if let Some(record) = record_of::<W>(state) {
            scope::stays_in(state, record);
        }
        W::remember(W::owner(regs), (*state).record - 1);
        (*state).record
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

/// Makes a free record, which the reader has zeroed, that of the running task.
#[inline(always)]
unsafe fn own(record: *mut ThreadRecord, index: u32, task: Task, owner: u64, ids: u64) {
    // SAFETY: the caller took the record from the queue, so it is nobody else's.
    unsafe {
        (*record).in_flight_key = CallKey::NONE.0;
        (*record).last_key = CallKey::NONE.0;
        (*record).index = index;
        // Or the first call of every thread would be timed, and of the rest too few.
        (*record).first_turn = u64::from(bpf_get_prandom_u32());
        (*record).status_address = task as u64 + u64::from(STATUS_OFFSET.load());
        (*record).tgid = (ids >> 32) as u32;
        (*record).tid = ids as u32;
        if layout_known() {
            let leader = field_u64(task, LEADER_OFFSET.load()) as Task;
            (*record).process_start_ns = field_u64(leader, START_OFFSET.load());
            read_comm(leader, &raw mut (*record).comm);
        } else if let Ok(comm) = bpf_get_current_comm() {
            (*record).comm = comm;
        }
        (*record).owner = owner;
        // Once a reader sees it live, it sees whose it is.
        pool::publish();
        (*record).state = RecordState::Live as u32;
    }
}

/// The record index plus one of a task that leaves a call and that the hint
/// missed; 0 when there is nothing left to do.
#[inline(never)]
pub fn leaving<W: Way>(result: u64, regs: u64) -> u32 {
    let task = W::current();
    let tgid = (bpf_get_current_pid_tgid() >> 32) as u32;
    let Some(state) = W::state(task) else {
        // Nothing is known of this task, and every task that was forked since the
        // profiler attached has a state: the call was in flight at that moment.
        W::forget_before(task);
        if let Some(state) = W::state_or_new(task)
            && scope::leaves(state, task, tgid)
        {
            count!(in_flight_at_attach);
        }
        return 0;
    };
    if !scope::leaves(state, task, tgid) {
        return 0;
    }
    // SAFETY: a live state that only its own task writes by now.
    unsafe {
        if (*state).flags & TaskState::NEWBORN != 0 {
            (*state).flags &= !TaskState::NEWBORN;
            // A child that slept on its way has the registers of its parent's call.
            W::forget_before(task);
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
        let key_plus_one = (*state).key_plus_one;
        if key_plus_one != 0 {
            (*state).key_plus_one = 0;
            if scope::is_uncounted(key_plus_one - 1) {
                return 0;
            }
            let entry_ns = (*state).entry_ns;
            let latency_ns = (entry_ns != 0).then(|| bpf_ktime_get_ns().wrapping_sub(entry_ns));
            overflow::left(key_plus_one - 1, latency_ns, result);
        } else if (*state).flags & TaskState::KNOWN == 0 {
            // Still a call from before all programs were attached.
            W::forget_before(task);
            count!(in_flight_at_attach);
        } else if pool::attached() {
            let key = CallKey::new(W::number_at_exit(regs), W::is_compat(task)).0;
            if !scope::counts(key) {
                return 0;
            }
            if may_be_refused(task) {
                count!(denied_unrecorded);
                overflow::denied(key);
            } else {
                count!(missed_entries);
            }
        }
    }
    0
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
            0 => (*state).key_plus_one != 0,
            index_plus_one => W::record(index_plus_one - 1)
                .is_some_and(|record| (*record).in_flight_key != CallKey::NONE.0),
        }
    };
    in_flight || scope::is_decided_out(state)
}

/// Whether a copy of the exit program has counted the call that `task`, which the hint
/// missed, is leaving; or has nothing to count of it.
///
/// A denied call leaves no trace here, so it is told only by the first copy.
#[inline(always)]
pub fn has_left<W: Way>(task: Task) -> bool {
    let Some(state) = W::state(task) else { return false };
    // SAFETY: a live state that only its own task writes by now, and its record.
    unsafe {
        if (*state).flags & TaskState::NEWBORN != 0 {
            return false;
        }
        match (*state).record {
            0 => (*state).key_plus_one == 0,
            index_plus_one => W::record(index_plus_one - 1)
                .is_none_or(|record| (*record).in_flight_key == CallKey::NONE.0),
        }
    }
}
