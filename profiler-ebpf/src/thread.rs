//! Finds the record of the running task.
//!
//! # The hint
//!
//! The hint is a table, indexed by a hash of the address of the owner's saved registers.
//! `sys_enter` and `sys_exit` pass that address as an argument. So a hint stays valid if its CPU
//! runs another task in between.
//!
//! The record names its owner by the same address: no other live task has that stack. The verifier
//! treats only the difference of two pointers as a number, so in the arena the owner is a distance
//! from the map.
//!
//! If the hint misses, the state of the task names the record. The state is in task storage, which
//! ends with the task and follows it through an exec. In the fallback, the state is in a hash by
//! the address of the task, and the exit hook deletes it.

use core::num::NonZeroU32;

use aya_ebpf::helpers::{
    bpf_get_current_comm, bpf_get_current_pid_tgid, bpf_get_current_uid_gid, bpf_get_prandom_u32,
    bpf_ktime_get_ns,
};
use profiler_common::{
    call::CallKey,
    sampling::{self, adaptive::Sample},
    wire::{RecordState, TaskState, ThreadRecord},
};

use crate::{
    arch,
    backend::Backend,
    cgroup, control,
    counters::count,
    global, interrupted,
    pool::{overflow, records},
    refusal, sampling as adaptive, scope,
    settings::{LEADER_OFFSET, START_OFFSET, STATUS_OFFSET, TIMED},
    task::{Task, field_u64, layout_known, may_be_refused, read_comm},
};

/// Finds the record of the task whose registers are at `regs` by the hint: the common case. The
/// registers are an argument of the program. Getting the current task is a helper call.
#[inline(always)]
pub fn from_hint<B: Backend>(regs: u64) -> Option<*mut ThreadRecord> {
    let owner = B::owner(regs);
    let record = B::likely_record(owner)?;
    // SAFETY: a live map value. The hint can be stale, so the record decides. When the owner ends,
    // the record's owner is cleared before the stack can belong to another task. If that end was
    // not reported, the fork of the other task clears the hint.
    (unsafe { (*record).owner } == owner).then_some(record)
}

/// The index of a record, as `TaskState` has it: plus one, so that it fits in a word with "none".
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct RecordIndex(NonZeroU32);

impl RecordIndex {
    /// The index of the record at `index`.
    #[inline(always)]
    fn of(index: u32) -> Option<Self> {
        Self::from_state(index + 1)
    }

    /// The index in [`TaskState::record`].
    #[inline(always)]
    fn from_state(index_plus_one: u32) -> Option<Self> {
        NonZeroU32::new(index_plus_one).map(Self)
    }

    /// Reverses [`Self::from_state`]. The kernel takes only numbers from a global function.
    #[inline(always)]
    pub fn to_state(index: Option<Self>) -> u32 {
        index.map_or(0, |index| index.0.get())
    }

    /// The record.
    #[inline(always)]
    pub fn record<B: Backend>(self) -> Option<*mut ThreadRecord> {
        B::record(self.0.get() - 1)
    }
}

/// Finds the record of a task that enters a call, if the hint missed. Gives the task a record if it
/// has none.
///
/// `None` if nothing is left to do: the task is out of scope, or the call is counted in its
/// overflow slot.
#[inline(never)]
pub fn at_entry<B: Backend>(regs: u64, nr: u64) -> Option<RecordIndex> {
    let task = B::current();
    let Some(state) = B::state_or_new(task) else {
        count!(lost_entries);
        return None;
    };
    // SAFETY: a live state of the running task.
    unsafe { interrupted::count_restarted_if_unrecorded(state) };
    cgroup::moves::begin(state);
    let ids = bpf_get_current_pid_tgid();
    if !scope::counts_at_entry(state, task, (ids >> 32) as u32) {
        scope::note_out_of_scope::<B>(state, record_of::<B>(state), regs);
        return None;
    }
    // SAFETY: a live state that only its own task writes by now.
    unsafe {
        if (*state).flags & TaskState::KNOWN == 0 {
            // The exit of the listed call may have been missed.
            B::forget_listed_call(task);
        }
        (*state).flags = (*state).flags & !TaskState::NEWBORN | TaskState::KNOWN;
        cgroup::moves::settle::<B>(state, regs);
        if (*state).record == 0 && !assign_record::<B>(regs) {
            let key = CallKey::new(nr, B::is_compat(task)).0;
            if !scope::counts_call(key) {
                (*state).key_plus_one = CallKey::UNCOUNTED.0 + 1;
                return None;
            }
            (*state).key_plus_one = key + 1;
            overflow::entered(key);
            (*state).entry_ns = entry_ns(key);
            return None;
        }
        remember_record::<B>(state, regs)
    }
}

/// Gives the running task, which has no record, one. Returns whether there was one left.
#[inline(always)]
fn assign_record<B: Backend>(regs: u64) -> bool {
    let taken = RecordIndex::from_state(global::take_record());
    let Some(record) = taken.and_then(RecordIndex::record::<B>) else { return false };
    // SAFETY: a live map value of the running thread's own.
    unsafe {
        (*record).owner = B::owner(regs);
        let task = B::current();
        B::learn_stack(task, regs);
        B::note_record(task, (*record).index);
        // A reader that sees the record live sees its owner.
        arch::publish();
        (*record).state = RecordState::Live as u16;
    }
    true
}

/// Takes a record for the running task, which has none, and fills it in, except for its owner and
/// its state. `None` if there is none left.
#[inline(always)]
pub fn take_record<B: Backend>() -> Option<RecordIndex> {
    let task = B::current();
    let state = B::state(task)?;
    let (index, user) = records::take()?;
    let record = B::record(index)?;
    // SAFETY: a record that was taken just now, and a live state of the running task.
    unsafe {
        fill_in(record, (index, user), task, bpf_get_current_pid_tgid());
        global::identify(index);
        if (*state).thread == 0 {
            (*state).thread = bpf_get_prandom_u32() | 1;
        }
        if let Some(identity) = B::identity(index) {
            (*identity).thread = (*state).thread;
            (*identity).cgroup = cgroup::of(task);
        }
        (*state).record = index + 1;
    }
    RecordIndex::of(index)
}

/// Makes the hint name the record of the running task, and returns its index.
///
/// # Safety
/// `state` is the live state of the running task.
#[inline(always)]
unsafe fn remember_record<B: Backend>(state: *mut TaskState, regs: u64) -> Option<RecordIndex> {
    if let Some(record) = record_of::<B>(state) {
        scope::note_in_scope(state, record);
    }
    // SAFETY: the caller's state.
    unsafe {
        B::remember(B::owner(regs), (*state).record.wrapping_sub(1));
        cgroup::moves::check::<B>(state);
        RecordIndex::from_state((*state).record)
    }
}

/// Finds the record of a task of which a call was refused, so that the call is counted there. If
/// none is left, counts the call in its overflow slot and returns `None`.
#[inline(always)]
pub fn at_refusal<B: Backend>(
    state: *mut TaskState,
    task: Task,
    regs: u64,
    key: u32,
) -> Option<RecordIndex> {
    // SAFETY: a live state of the running task.
    unsafe {
        if (*state).record == 0 && !assign_record::<B>(regs) {
            refusal::note_kill(state, task);
            count!(denied_unrecorded);
            overflow::denied(key);
            return None;
        }
        remember_record::<B>(state, regs)
    }
}

/// The record of the task whose state this is.
#[inline(always)]
pub fn record_of<B: Backend>(state: *mut TaskState) -> Option<*mut ThreadRecord> {
    // SAFETY: a live state.
    RecordIndex::from_state(unsafe { (*state).record }).and_then(RecordIndex::record::<B>)
}

/// The time if the call is timed, and 0 otherwise. Unless sampling is adaptive, a random number
/// decides here, because there is no slot whose count could be the turn.
#[inline(always)]
fn entry_ns(key: u32) -> u64 {
    // SAFETY: always safe to call.
    unsafe {
        match TIMED.load() {
            sampling::ALL => bpf_ktime_get_ns(),
            sampling::ADAPTIVE => adaptive::enter_overflow(key),
            threshold if threshold != sampling::NONE && bpf_get_prandom_u32() <= threshold => {
                bpf_ktime_get_ns()
            }
            _ => 0,
        }
    }
}

/// Fills in a free record for the running task. The reader has zeroed the record.
#[inline(always)]
unsafe fn fill_in(record: *mut ThreadRecord, (index, user): (u32, u16), task: Task, ids: u64) {
    // SAFETY: the caller took the record from the stack, so nobody else has it.
    unsafe {
        (*record).in_flight_key = CallKey::NONE.0;
        (*record).last_key = CallKey::NONE.0;
        (*record).index = index;
        (*record).user = user;
        // Otherwise the first call of every thread would be timed, and too few of the others.
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
            // The name of the thread stands in for the name of the leader, which cannot be read.
            (*record).named_ns = if (*record).tid == (*record).tgid { read_name_ns() } else { 0 };
        }
    }
}

/// Stores the identity of the running task, which owns the record at `index`.
#[inline(always)]
pub fn identify<B: Backend>(index: u32) {
    let Some(identity) = B::identity(index) else { return };
    // The real user id in the initial user namespace (bpf_get_current_uid_gid, kernel/bpf/helpers.c).
    // SAFETY: a live map value of the running thread's own.
    unsafe {
        (*identity).uid = bpf_get_current_uid_gid() as u32;
        if let Ok(comm) = bpf_get_current_comm() {
            (*identity).comm = comm;
        }
    }
}

/// [`ThreadRecord::named_ns`] of a name that is read now: a second ago.
///
/// `task_rename` comes before the kernel writes the new name, so the old name may be read here. A
/// rename within the last second therefore counts as later than this reading. If the new name was
/// read, both names are the same.
#[inline(always)]
pub fn read_name_ns() -> u64 {
    // SAFETY: always safe to call.
    unsafe { bpf_ktime_get_ns() }.saturating_sub(1_000_000_000)
}

/// What an exit is that the hint missed.
enum Exit {
    /// The second return of the fork that made the task.
    Birth,
    /// Of a task that has a record. Either its call in flight leaves, or a call was refused.
    Recorded,
    /// Of the call in flight of a task without a record.
    Unrecorded(CallKey),
    /// Of a call that entered before the programs attached, or while they attach or detach.
    AtAttach,
    /// Of a call that did not enter: it was refused, or its entry was missed.
    WithoutEntry,
}

/// What remains to be done about an exit that the hint missed.
pub enum Remaining {
    /// Nothing: the exit is accounted for, or does not count.
    Nothing,
    /// The task has this record, in which the exit is to be counted.
    Count(RecordIndex),
}

/// Finds the record of a task that leaves a call, if the hint missed. Accounts for the exit of a
/// task without a record.
#[inline(never)]
pub fn at_exit<B: Backend>(result: u64, regs: u64) -> Remaining {
    let task = B::current();
    let Some(state) = B::state_or_new(task) else { return Remaining::Nothing };
    // SAFETY: a live state that only its own task writes by now.
    let is_known = unsafe { (*state).flags } & TaskState::KNOWN != 0;
    let was_listed = !is_known && B::forget_listed_call(task);
    if !scope::counts_at_exit(state, task, (bpf_get_current_pid_tgid() >> 32) as u32) {
        return Remaining::Nothing;
    }
    cgroup::moves::begin(state);
    // SAFETY: as above.
    unsafe {
        // A refused call did not enter, so it belongs to the cgroup in which it leaves.
        if record_of::<B>(state).is_some_and(|r| (*r).in_flight_key == CallKey::NONE.0) {
            cgroup::moves::settle::<B>(state, regs);
        }
        match classify(state) {
            Exit::Birth => count_birth(state),
            Exit::Recorded => {
                B::remember(B::owner(regs), (*state).record.wrapping_sub(1));
                return RecordIndex::from_state((*state).record)
                    .map_or(Remaining::Nothing, Remaining::Count);
            }
            Exit::Unrecorded(key) => count_unrecorded(state, key, result),
            Exit::AtAttach => {
                if !is_known {
                    count!(in_flight_at_attach);
                }
            }
            Exit::WithoutEntry => {
                let index = without_entry::<B>(state, task, regs, (is_known, was_listed));
                return index.map_or(Remaining::Nothing, Remaining::Count);
            }
        }
    }
    Remaining::Nothing
}

/// Classifies the exit of a task with this state.
///
/// # Safety
/// `state` is the live state of the running task.
#[inline(always)]
unsafe fn classify(state: *mut TaskState) -> Exit {
    // SAFETY: the caller's state.
    unsafe {
        if (*state).flags & TaskState::NEWBORN != 0 {
            return Exit::Birth;
        }
        if (*state).record != 0 {
            return Exit::Recorded;
        }
        // All that follows accounts for this exit.
        (*state).flags &= !TaskState::EXITS_SEEN;
        interrupted::count_restarted_if_unrecorded(state);
        match (*state).key_plus_one {
            0 if control::are_programs_attached() => Exit::WithoutEntry,
            0 => Exit::AtAttach,
            key_plus_one => Exit::Unrecorded(CallKey(key_plus_one - 1)),
        }
    }
}

/// Counts the second return of the fork that made the running task.
///
/// # Safety
/// `state` is the live state of the running task.
#[inline(always)]
unsafe fn count_birth(state: *mut TaskState) {
    // SAFETY: the caller's state.
    unsafe {
        (*state).flags &= !TaskState::NEWBORN;
        if control::are_programs_attached() {
            (*state).flags |= TaskState::KNOWN;
        }
    }
    count!(births);
}

/// Counts the exit of a task without a record, whose call in flight is `key`, in the overflow slot.
///
/// # Safety
/// `state` is the live state of the running task.
#[inline(always)]
unsafe fn count_unrecorded(state: *mut TaskState, key: CallKey, result: u64) {
    // SAFETY: the caller's state.
    unsafe {
        (*state).key_plus_one = 0;
        if scope::is_uncounted(key.0) {
            return;
        }
        let entry_ns = (*state).entry_ns;
        let latency_ns = (entry_ns != 0).then(|| {
            let now = bpf_ktime_get_ns();
            if adaptive::is_adaptive() {
                Sample(entry_ns).latency(now).0
            } else {
                now.wrapping_sub(entry_ns)
            }
        });
        if interrupted::is_interruption(result, key.0) {
            interrupted::keep_unrecorded(state, key.0, latency_ns, result);
        } else {
            overflow::leave(key.0, latency_ns, result);
        }
    }
}

/// Accounts for the exit of a call that did not enter. Returns the record in which to count the
/// call as refused, if it was refused.
///
/// # Safety
/// `state` is the live state of the running task.
#[inline(always)]
unsafe fn without_entry<B: Backend>(
    state: *mut TaskState,
    task: Task,
    regs: u64,
    (is_known, was_listed): (bool, bool),
) -> Option<RecordIndex> {
    let nr = arch::call_number(regs);
    let is_compat = B::is_compat(task);
    if !is_known {
        // Each entry from now on is seen, so only this exit can be that of a call that entered
        // before the programs attached.
        // SAFETY: the caller's state.
        unsafe { (*state).flags |= TaskState::KNOWN };
        if was_listed || global::is_presumed_refused(nr, is_compat.into()) == 0 {
            count!(in_flight_at_attach);
            return None;
        }
    }
    let key = CallKey::new(nr, is_compat).0;
    if !scope::counts_call(key) {
        return None;
    }
    if !may_be_refused(task) {
        count!(missed_entries);
        return None;
    }
    at_refusal::<B>(state, task, regs, key)
}

/// Ends the call in flight of the running thread, which enters another call. The call in flight was
/// interrupted and is restarted now, or its exit was missed.
///
/// # Safety
/// `record` is a live map value, the running thread's own.
#[inline(always)]
pub unsafe fn end_previous_call(record: *mut ThreadRecord) {
    // SAFETY: the caller's record.
    unsafe {
        let key = (*record).in_flight_key;
        if key == CallKey::NONE.0 || scope::is_uncounted(key) {
            return;
        }
        if CallKey(key).is_interrupted() {
            interrupted::count_restarted();
        } else {
            (*record).missed_exits += 1;
            count!(lost_exits);
        }
    }
}

/// Whether an earlier copy of the entry program has counted the call that `task` enters, or the
/// call does not count. The hint missed the task.
#[inline(always)]
pub fn entry_is_counted<B: Backend>(task: Task) -> bool {
    let Some(state) = B::state(task) else { return false };
    // The call in flight comes first: the decision may have changed since the earlier copy.
    // SAFETY: a live state that only its own task writes by now, and its record.
    let in_flight = unsafe {
        match RecordIndex::from_state((*state).record) {
            None => (*state).key_plus_one != 0 && !interrupted::is_kept_unrecorded(state),
            Some(index) => index.record::<B>().is_some_and(|record| {
                let key = CallKey((*record).in_flight_key);
                key != CallKey::NONE && !key.is_interrupted()
            }),
        }
    };
    in_flight || scope::is_decided_out(state)
}

/// Whether an earlier copy of the exit program has accounted for the exit of a task with this
/// state, which has no record. `copy` is the number of the calling copy.
#[inline(always)]
pub fn exit_is_accounted_for(state: *mut TaskState, copy: usize) -> bool {
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
