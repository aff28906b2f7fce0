//! Lists the calls that entered before the programs attached and have not left.
//!
//! A task iterator runs once: after the programs attached that see a call leave or a task end, and
//! before the entry program attaches. So each call that it finds entered unseen, and leaves seen.
//!
//! The calls are in an mmapable array, and in a hash by the address of the task. The task's first
//! exit, its first entry or its end deletes the entry of the hash. All three are off the common
//! path.
//!
//! A thread that runs between being found asleep and being listed may leave unnoticed. So the
//! iterator looks at the thread again, after a full barrier. If the thread has given up its CPU
//! since, or has one, the iterator withdraws the listing.
//!
//! A task is in a call while its saved result is `-ENOSYS`, which the entry code puts there. So a
//! task that sleeps on its way out of a call is not listed. A tracer that stops a task before the
//! entry shows in `last_siginfo`. A seccomp supervisor has the task in its list
//! (`refusal::is_held`).
//!
//! The iterator avoids task storage. The lock of task storage is per CPU, and a thread that the
//! iterator preempts within it would lose another thread's entry.
//!
//! A thousand threads take the iterator a millisecond. The array has an entry for each thread of
//! the host.

use aya_ebpf::bindings::pt_regs;
use profiler_common::call::CallKey;

use crate::{
    arch, atomic,
    backend::Backend,
    maps::{CALLS_BEFORE, CALLS_BEFORE_BY_TASK, CONTROL},
    refusal, scope,
    settings::{
        FLAGS_OFFSET, JOBCTL_OFFSET, LAST_SIGINFO_OFFSET, LEADER_OFFSET, NIVCSW_OFFSET,
        NVCSW_OFFSET, ON_CPU_OFFSET, PID_OFFSET, SI_CODE_OFFSET, START_OFFSET, STATE_OFFSET,
        TGID_OFFSET,
    },
    task::{Task, field_u32, field_u64, read_comm},
};

/// `TASK_INTERRUPTIBLE` and `TASK_UNINTERRUPTIBLE` (include/linux/sched.h).
const INTERRUPTIBLE: u32 = 1;
const UNINTERRUPTIBLE: u32 = 2;

/// `__TASK_STOPPED`, `__TASK_TRACED` and `TASK_FROZEN`, which came with Linux 6.1
/// (include/linux/sched.h).
const STOPPED: u32 = 4;
const TRACED: u32 = 8;
const FROZEN: u32 = 0x8000;

/// `PF_EXITING` and `PF_KTHREAD` (include/linux/sched.h).
const EXITING: u32 = 0x4;
const KERNEL_THREAD: u32 = 0x0020_0000;

/// `JOBCTL_TRAP_FREEZE` (include/linux/sched/jobctl.h).
const TRAP_FREEZE: u64 = 1 << 23;

/// `JOBCTL_STOPPED` and `JOBCTL_TRACED` (include/linux/sched/jobctl.h, Linux 5.19): the state of a
/// task before it was frozen.
const WAS_STOPPED: u64 = 1 << 26;
const WAS_TRACED: u64 = 1 << 27;

/// `SIGTRAP`, and the first and the last event of ptrace(2) that a call in progress reports:
/// `PTRACE_EVENT_FORK` and `PTRACE_EVENT_EXIT` (include/uapi/linux/ptrace.h).
const SIGTRAP: u32 = 5;
const EVENT_FORK: u32 = 1;
const EVENT_EXIT: u32 = 6;

/// Lists the call in which `task` sleeps, if it sleeps in one. `regs` are its saved registers.
#[inline(always)]
pub fn list<B: Backend>(task: Task, regs: *const pt_regs) {
    let tgid = field_u32(task, TGID_OFFSET.load());
    if !scope::counts_task(task, tgid) {
        return;
    }
    let switches = switches(task);
    if on_cpu(task) || !sleeps(task) {
        return;
    }
    let Some(nr) = arch::number_of_unfinished_call(regs) else { return };
    if refusal::is_held(task) {
        return;
    }
    let key = CallKey::new(nr, B::is_compat(task)).0;
    if !scope::counts_call(key) {
        return;
    }
    let Some(control) = CONTROL.get_ptr_mut(0) else { return };
    // SAFETY: a field of a live map value, which only this iterator adds to.
    let index = unsafe { (*control).calls_before } as u32;
    let Some(call) = CALLS_BEFORE.get_ptr_mut(index) else {
        // SAFETY: as above.
        unsafe { atomic::add(&raw mut (*control).calls_before, 1) };
        return;
    };
    // SAFETY: a live map value that nobody else knows yet.
    unsafe {
        let leader = field_u64(task, LEADER_OFFSET.load()) as Task;
        (*call).key = key;
        (*call).tid = field_u32(task, PID_OFFSET.load());
        (*call).tgid = tgid;
        (*call).process_start_ns = field_u64(leader, START_OFFSET.load());
        read_comm(leader, &raw mut (*call).comm);
    }
    let listed = CALLS_BEFORE_BY_TASK.insert(task as u64, index, 0).is_ok();
    // All reads below come after the call was listed.
    // SAFETY: as above.
    unsafe { arch::add_with_full_barrier(&raw mut (*control).calls_before, 1) };
    // If the task ran since it was found asleep, it may have left before the call was listed. If it
    // runs from now on, it finds the entry to delete.
    if !listed || on_cpu(task) || self::switches(task) != switches {
        // SAFETY: a live map value.
        unsafe { (*call).key = CallKey::NONE.0 };
        let _ = CALLS_BEFORE_BY_TASK.remove(task as u64);
    }
}

/// Removes the call of `task` from the list. Returns whether it was listed.
#[inline(always)]
pub fn forget(task: Task) -> bool {
    // SAFETY: copied at once, and only this task deletes the entry.
    let Some(&index) = (unsafe { CALLS_BEFORE_BY_TASK.get(task as u64) }) else { return false };
    if let Some(call) = CALLS_BEFORE.get_ptr_mut(index) {
        // SAFETY: a live map value.
        unsafe { (*call).key = CallKey::NONE.0 };
    }
    let _ = CALLS_BEFORE_BY_TASK.remove(task as u64);
    true
}

/// Whether `task` sleeps as one does within a call. [`arch::number_of_unfinished_call`] tells
/// whether it is in a call.
///
/// False in these cases:
///
/// - The task waits for a CPU. Its next step may be in user space.
/// - The task is about to end. Its end may have been seen already.
/// - A signal or the freezer of cgroups v2 has stopped the task. Its call left before that
///   (`exit_to_user_mode_loop`, kernel/entry/common.c).
///
/// The freezer of cgroups v1 also freezes a task within a call (`__set_task_frozen`,
/// kernel/freezer.c, Linux 6.1).
#[inline(always)]
fn sleeps(task: Task) -> bool {
    if field_u32(task, FLAGS_OFFSET.load()) & (EXITING | KERNEL_THREAD) != 0 {
        return false;
    }
    let state = field_u32(task, STATE_OFFSET.load());
    let jobctl = field_u64(task, JOBCTL_OFFSET.load());
    let is_frozen = state & FROZEN != 0;
    if state & STOPPED != 0 || is_frozen && jobctl & WAS_STOPPED != 0 {
        return false;
    }
    if state & TRACED != 0 || is_frozen && jobctl & WAS_TRACED != 0 {
        return is_in_event(task);
    }
    // `do_freezer_trap` (kernel/signal.c) sleeps interruptibly.
    is_frozen
        || state & UNINTERRUPTIBLE != 0
        || state & INTERRUPTIBLE != 0 && jobctl & TRAP_FREEZE == 0
}

/// Whether `task`, which its tracer has stopped, is in a call that reports an event: a fork, an
/// exec or an exit. All other stops come before a call enters or after it has left.
#[inline(always)]
fn is_in_event(task: Task) -> bool {
    // On the stack of the task for as long as it is stopped (`ptrace_stop`, kernel/signal.c).
    // For an event, the code is the event above the signal (`ptrace_event`,
    // include/linux/ptrace.h).
    let info = field_u64(task, LAST_SIGINFO_OFFSET.load()) as Task;
    if info.is_null() {
        return false;
    }
    let code = field_u32(info, SI_CODE_OFFSET.load());
    let event = code >> 8;
    code & 0xff == SIGTRAP && event >= EVENT_FORK && event <= EVENT_EXIT
}

#[inline(always)]
fn on_cpu(task: Task) -> bool {
    // 0 or 1, in an int, or in newer kernels (7.2 has it so) in a byte before other fields.
    field_u32(task, ON_CPU_OFFSET.load()) as u8 != 0
}

/// How often `task` has given up its CPU. If two readings are the same, and the task was on no CPU
/// at either, it has not run in between.
#[inline(always)]
fn switches(task: Task) -> u64 {
    let of = |offset| field_u64(task, offset);
    of(NVCSW_OFFSET.load()).wrapping_add(of(NIVCSW_OFFSET.load()))
}
