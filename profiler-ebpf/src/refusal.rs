//! Recognises calls that seccomp or ptrace refused before they entered.
//!
//! The first exit without an entry of a thread that is older than the programs has one of two
//! causes: a refused call, or a call that entered before the programs attached. In most cases,
//! what the kernel keeps of seccomp tells the two apart.
//!
//! An exit without an entry has one of three causes, which `TaskState` tells apart:
//!
//! - the second return of a fork, in the child (`NEWBORN`)
//! - a call in flight when the programs attached (the thread is not `KNOWN`)
//! - a call that seccomp or ptrace denied
//!
//! Only the first exit of a thread that is older than the programs is ambiguous. That exit makes
//! the thread `KNOWN`. It belongs to a call in flight if the iterator listed the thread, or if
//! nothing can have refused the call. Nothing can if the thread has no filter and no tracer that
//! answers, or if its filters allow the number whatever the arguments are. The kernel keeps the
//! latter as a bitmap (`struct action_cache`, kernel/seccomp.c, Linux 5.11). Otherwise the call
//! counts as denied.
//!
//! A thread that seccomp kills at once has no such exit. When the thread ends, its `seccomp.mode`
//! is `SECCOMP_MODE_DEAD`, and the call in its registers counts as denied.

use aya_ebpf::{
    bindings::task_struct,
    helpers::{bpf_get_current_pid_tgid, bpf_get_current_task_btf, generated::bpf_task_pt_regs},
};
use profiler_common::{call::CallKey, wire::TaskState};

use crate::{
    arch,
    backend::Backend,
    control,
    counters::count,
    global, scope,
    settings::{
        ALLOWED_COMPAT_BYTES, ALLOWED_NATIVE_BYTES, ALLOWED_OFFSET, FILTER_NOTIF_OFFSET,
        FILTER_PREV_OFFSET, HAS_TASK_REGS, KNOTIF_LIST_OFFSET, KNOTIF_TASK_OFFSET,
        NOTIFICATIONS_OFFSET, SECCOMP_FILTER_OFFSET, SECCOMP_MODE_OFFSET, WORK_OFFSET,
    },
    task::{Task, field_u32, field_u64},
    thread,
};

/// `SECCOMP_MODE_FILTER` (include/uapi/linux/seccomp.h).
const FILTER: u32 = 2;

/// `SECCOMP_MODE_DEAD` (kernel/seccomp.c, Linux 5.17): seccomp kills the task in its current call.
const DEAD: u32 = 3;

/// `SYSCALL_WORK_SYSCALL_EMU` (include/linux/thread_info.h): a tracer answers every call.
const EMULATED: u64 = 1 << 3;

/// Whether a call with number `nr`, which the running task leaves without an entry, counts as
/// refused. Otherwise it counts as a call that entered before the programs attached.
///
/// False if nothing can have refused it: seccomp has no filter, or all its filters allow this
/// number for any arguments, and no tracer answers. False also if the kernel lacks the fields to
/// tell.
///
/// True otherwise. That is wrong if a filter decides by the arguments and let this call enter. Such
/// a call is counted in `denied_presumed`.
///
/// User dispatch does not matter: a call that it refuses does not reach the tracepoint of the exit
/// (`syscall_exit_work`, kernel/entry/common.c).
#[inline(always)]
pub fn is_presumed<B: Backend>(nr: u64, is_compat: bool) -> bool {
    let task = B::current();
    let work = WORK_OFFSET.load();
    if work != 0 && field_u64(task, work) & EMULATED != 0 {
        return true;
    }
    if ALLOWED_OFFSET.load() == 0 {
        return false;
    }
    match field_u32(task, SECCOMP_MODE_OFFSET.load()) {
        DEAD => return true,
        FILTER => {}
        _ => return false,
    }
    // `rt_sigreturn` leaves without its number.
    if nr as i32 == -1 || is_allowed(task, nr as u32, is_compat) {
        return false;
    }
    count!(denied_presumed);
    true
}

/// Whether all filters of `task`, which has at least one, allow a call by its number alone.
///
/// The last filter has the numbers that it and all earlier filters allow
/// (`seccomp_cache_prepare_bitmap`, kernel/seccomp.c, Linux 5.11). A task keeps its filters until
/// it ends.
#[inline(always)]
fn is_allowed(task: Task, nr: u32, is_compat: bool) -> bool {
    let (start, bytes) = match is_compat {
        false => (0, ALLOWED_NATIVE_BYTES.load()),
        true => (ALLOWED_NATIVE_BYTES.load(), ALLOWED_COMPAT_BYTES.load()),
    };
    if nr / 8 >= bytes {
        return false;
    }
    let filter = field_u64(task, SECCOMP_FILTER_OFFSET.load()) as *mut task_struct;
    // A bitmap of words. On a little-endian machine, it is also a bitmap of bytes.
    let word = field_u32(filter, ALLOWED_OFFSET.load() + start + nr / 32 * 4);
    word >> (nr % 32) & 1 != 0
}

/// Whether seccomp kills `task` in its current call.
#[inline(always)]
fn is_killed(task: Task) -> bool {
    SECCOMP_MODE_OFFSET.load() != 0 && field_u32(task, SECCOMP_MODE_OFFSET.load()) == DEAD
}

/// Notes in the state of `task` that its current call is counted as denied, if seccomp kills the
/// task in that call.
#[inline(always)]
pub fn note_kill(state: *mut TaskState, task: Task) {
    if is_killed(task) {
        // SAFETY: a live state of the running task.
        unsafe { (*state).flags |= TaskState::KILL_COUNTED };
    }
}

/// Counts the call in which seccomp kills the running task as denied. The task is ending.
///
/// If seccomp ends the thread at once, the call neither enters nor leaves (`__seccomp_filter` and
/// `__secure_computing_strict`, kernel/seccomp.c: `do_exit`). If it ends the thread by a signal,
/// the call leaves, and is already counted.
///
/// `is_first` is false in a further copy of the program, which also runs if an earlier copy has
/// counted the call. The state of the task tells that. Only the first copy handles a task without a
/// state.
#[inline(always)]
pub fn count_kill<B: Backend>(is_first: bool) {
    let task = B::current();
    if HAS_TASK_REGS.load() != 0 && is_killed(task) && control::are_programs_attached() {
        let state = if is_first { B::state_or_new(task) } else { B::state(task) };
        if let Some(state) = state {
            count_kill_of::<B>(state, task);
        }
    }
}

#[inline(never)]
fn count_kill_of<B: Backend>(state: *mut TaskState, task: Task) {
    if !scope::counts_at_exit(state, task, (bpf_get_current_pid_tgid() >> 32) as u32) {
        return;
    }
    // SAFETY: a live state of the running task.
    unsafe {
        if (*state).flags & TaskState::KILL_COUNTED != 0 {
            return;
        }
        (*state).flags |= TaskState::KILL_COUNTED;
    }
    // SAFETY: of the running task, and always safe to call where the helper exists.
    let regs = unsafe { bpf_task_pt_regs(bpf_get_current_task_btf()) } as u64;
    let regs = B::registers(regs);
    let key = CallKey::new(arch::call_number(regs), B::is_compat(task)).0;
    if !scope::counts_call(key) {
        return;
    }
    if thread::at_refusal::<B>(state, task, regs, key).is_some() {
        global::count_denied(arch::call_number(regs));
    }
}

/// How many filters of a task and waiting calls [`is_held`] looks at, at most.
const LOOKS: u32 = 64;

/// Whether the call of `task`, which sleeps, waits for a supervisor (a user notification of
/// seccomp). Such a call has not entered.
///
/// The supervisor has a list of the waiting calls (`seccomp_do_user_notification`,
/// kernel/seccomp.c). The list may change while it is read. A removed element leads nowhere, and
/// the list is then read again from its head. With more than about [`LOOKS`] filters and waiting
/// calls, the answer is false.
#[inline(never)]
pub fn is_held(task: Task) -> bool {
    if FILTER_NOTIF_OFFSET.load() == 0 || field_u32(task, SECCOMP_MODE_OFFSET.load()) != FILTER {
        return false;
    }
    let at = |address: u64, offset: u32| field_u64(address as Task, offset);
    let mut filter = field_u64(task, SECCOMP_FILTER_OFFSET.load());
    // Of the list of the filter looked at, if it has a supervisor.
    let mut head = 0;
    let mut element = 0;
    for _ in 0..LOOKS {
        if element == head {
            if filter == 0 {
                return false;
            }
            let supervisor = at(filter, FILTER_NOTIF_OFFSET.load());
            filter = at(filter, FILTER_PREV_OFFSET.load());
            if supervisor != 0 {
                head = supervisor + u64::from(NOTIFICATIONS_OFFSET.load());
                element = at(head, 0);
            }
        } else if element == 0 {
            element = at(head, 0);
        } else {
            let call = element - u64::from(KNOTIF_LIST_OFFSET.load());
            if at(call, KNOTIF_TASK_OFFSET.load()) == task as u64 {
                return true;
            }
            element = at(element, 0);
        }
    }
    false
}
