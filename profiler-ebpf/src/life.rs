//! Fork, exec, rename and exit of tasks.
//!
//! To handle an event twice has no further effect. So further copies of these programs (see
//! [`enter_again`](crate::entry::enter_again)) need not know whether the first copy ran.
//!
//! # Names
//!
//! The name of a process is the last name of its leader. Each record has that name, and the time
//! when the name was read or written. The reader takes the latest name among the threads of a
//! process. A rename is stored in the record of the thread that makes it, because the leader may
//! sleep or be a zombie.

use aya_ebpf::helpers::{bpf_get_current_pid_tgid, bpf_ktime_get_ns};
use profiler_common::call::CallKey;
use profiler_common::wire::{RecordState, TaskState, ThreadRecord};

use crate::{
    arch,
    backend::Backend,
    counters::count,
    global,
    maps::RENAMED,
    off_cpu,
    pool::overflow,
    scope::{self, filter},
    settings::{COMMS_ONLY, LEADER_OFFSET, PID_OFFSET, START_OFFSET, TGID_OFFSET},
    task::{Task, field_u32, field_u64, layout_known, read_comm},
    thread::{self, record_of},
};

/// Handles `sched_process_fork`: the running task `parent` made `child`, which has not run yet.
///
/// The child gets its state here. So its first exit is recognised as a birth, and its parent
/// decides whether it is in scope.
///
/// The child may have the kernel stack or the address of a task whose end was not reported. What
/// leads from these to the other task is cleared, so that no call of the child counts for it.
#[inline(always)]
pub fn fork<B: Backend>(parent: Task, child: Task) {
    B::forget_hint(child);
    scope::outside::forget_stack(child);
    if !layout_known() {
        B::forget(child);
        return;
    }
    let parent_tgid = (bpf_get_current_pid_tgid() >> 32) as u32;
    let child_tgid = field_u32(child, TGID_OFFSET.load());
    let child_flags = scope::inherited_flags(B::state(parent), parent_tgid, child_tgid);
    if COMMS_ONLY.load() != 0 {
        // The entry of an earlier task at the same address.
        let _ = RENAMED.remove(child as u64);
    }
    let Some(state) = B::state_or_new(child) else {
        if child_flags & TaskState::WATCHED != 0 {
            count!(lost_children);
        }
        return;
    };
    // SAFETY: a live state; the child has not run yet.
    unsafe {
        *state = TaskState { flags: child_flags | TaskState::NEWBORN, ..TaskState::default() };
    }
}

/// Handles `sched_process_exec`: the running task runs another program. If the task is not the
/// leader, it takes the id of the leader (`de_thread`, fs/exec.c).
#[inline(always)]
pub fn exec<B: Backend>(task: Task) {
    let tid = bpf_get_current_pid_tgid() as u32;
    let Some(state) = B::state(task) else { return };
    let record = record_of::<B>(state);
    // The kernel has written the name of the program (`begin_new_exec`, fs/exec.c). An exec by a
    // thread replaces the leader too. The decision was by the name of the old leader, and
    // `task_rename` compares the name of the thread. So the decision is stale.
    scope::invalidate_after_rename(state, record);
    let Some(record) = record else { return };
    // SAFETY: a live map value of the running thread's own.
    unsafe {
        (*record).tid = tid;
        // The user may be another since the first call, as after `setuid`.
        global::identify((*record).index);
        read_comm_or_current(task, record);
        (*record).named_ns = bpf_ktime_get_ns();
        if layout_known() {
            (*record).process_start_ns =
                field_u64(field_u64(task, LEADER_OFFSET.load()) as Task, START_OFFSET.load());
        }
    }
}

/// Handles `task_rename`: the name of `task` will be `comm`. The name of a leader is also the name
/// of its process.
#[inline(always)]
pub fn rename<B: Backend>(task: Task, comm: *const u8) {
    if !layout_known() {
        return;
    }
    let state = B::state(task);
    let Some(name) = filter::read_name(comm) else { return };
    if let Some(record) = state.and_then(record_of::<B>) {
        // SAFETY: a live map value. If a reader reads a half-written name, it reads the name again.
        unsafe {
            if let Some(identity) = B::identity((*record).index) {
                (*identity).comm = name;
            }
        }
    }
    let tid = field_u32(task, PID_OFFSET.load());
    if tid != field_u32(task, TGID_OFFSET.load()) {
        return;
    }
    if COMMS_ONLY.load() != 0 {
        decide_by_name::<B>(task, state, &name);
    }
    // The name goes into the record of the running thread. That thread is about to leave a call, so
    // its record is read again. The leader may sleep, have no record, or be a zombie. Only threads
    // of the same process can rename a leader (`comm_write`, fs/proc/base.c).
    let own = match B::state(B::current()).and_then(record_of::<B>) {
        None => state.and_then(record_of::<B>),
        own => own,
    };
    let Some(record) = own else { return };
    // SAFETY: a live map value. If a reader reads a half-written name, it reads the name again at
    // its next drain.
    unsafe {
        if (*record).tgid == field_u32(task, TGID_OFFSET.load()) {
            (*record).comm = name;
            arch::publish();
            (*record).named_ns = bpf_ktime_get_ns();
        }
    }
}

/// Marks decisions as stale if the new name of `leader` changes whether its process is in scope.
#[inline(always)]
fn decide_by_name<B: Backend>(leader: Task, state: Option<*mut TaskState>, name: &filter::Comm) {
    let named = filter::is_name(name);
    if named == filter::leader_is_named(leader) {
        return;
    }
    // The kernel writes the name after this. Until then, the answer is in this map.
    let _ = RENAMED.insert(leader as u64, u32::from(named), 0);
    // As in every exec: the decision about no other task is stale.
    if leader == B::current() && filter::is_alone(leader) {
        if let Some(state) = state {
            scope::invalidate_own(state, record_of::<B>(state));
        }
    } else {
        scope::invalidate_all();
    }
}

/// Handles `sched_process_exit`: the running task ends.
#[inline(always)]
pub fn exit<B: Backend>(task: Task) {
    let state = B::state(task);
    // SAFETY: a live state of the running task.
    if state.is_none_or(|state| unsafe { (*state).flags } & TaskState::KNOWN == 0) {
        B::forget_listed_call(task);
    }
    if COMMS_ONLY.load() != 0 {
        let _ = RENAMED.remove(task as u64);
    }
    if let Some(state) = state {
        scope::outside::forget(state);
        off_cpu::end(state);
        match record_of::<B>(state) {
            // SAFETY: a live map value of the running thread's own. The state comes last: once the
            // record has ended, nobody writes it.
            Some(record) => unsafe {
                global::identify((*record).index);
                if (*record).tid == (*record).tgid {
                    read_comm_or_current(task, record);
                    (*record).named_ns = thread::read_name_ns();
                }
                // So that a rename by another thread does not reach the next owner of the record.
                (*state).record = 0;
                (*record).owner = 0;
                arch::publish();
                (*record).state = RecordState::Ended as u16;
            },
            None => {
                // SAFETY: a live state of the running task.
                unsafe {
                    let key_plus_one = (*state).key_plus_one;
                    if key_plus_one != 0 {
                        (*state).key_plus_one = 0;
                        let key = CallKey(key_plus_one - 1).without_mark().0;
                        if !scope::is_uncounted(key) {
                            overflow::never_returned(key);
                        }
                    }
                }
            }
        }
    }
    B::forget(task);
}

#[inline(always)]
unsafe fn read_comm_or_current(task: Task, record: *mut ThreadRecord) {
    // SAFETY: the caller's record is a live map value.
    unsafe {
        if layout_known() {
            read_comm(task, &raw mut (*record).comm);
        } else if let Ok(comm) = aya_ebpf::helpers::bpf_get_current_comm() {
            (*record).comm = comm;
        }
    }
}
