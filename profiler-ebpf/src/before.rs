//! Calls that entered before the programs attached, and have not left since.
//!
//! A task iterator lists them, once: after everything attached that sees a call or a task
//! end, and before the entries do. So whatever it finds entered unseen, and leaves seen.

use aya_ebpf::{bindings::pt_regs, helpers::bpf_probe_read_kernel};
use profiler_common::call::CallKey;

use crate::{
    maps::{BEFORE, BEFORE_BY_TASK, CONTROL},
    pool, scope,
    task::{
        FLAGS_OFFSET, JOBCTL_OFFSET, LEADER_OFFSET, NIVCSW_OFFSET, NVCSW_OFFSET, ON_CPU_OFFSET,
        PID_OFFSET, START_OFFSET, STATE_OFFSET, TGID_OFFSET, Task, field_u32, field_u64, read_comm,
    },
    way::Way,
};

/// `TASK_INTERRUPTIBLE` and `TASK_UNINTERRUPTIBLE` (include/linux/sched.h).
const INTERRUPTIBLE: u32 = 1;
const UNINTERRUPTIBLE: u32 = 2;

/// `PF_EXITING` and `PF_KTHREAD` (include/linux/sched.h).
const EXITING: u32 = 0x4;
const KERNEL_THREAD: u32 = 0x0020_0000;

/// `JOBCTL_TRAP_FREEZE` (include/linux/sched/jobctl.h).
const TRAP_FREEZE: u64 = 1 << 23;

/// Lists the call that `task` sleeps in, if it does; `regs` is where it entered the kernel.
#[inline(always)]
pub fn list<W: Way>(task: Task, regs: *const pt_regs) {
    let tgid = field_u32(task, TGID_OFFSET.load());
    if !scope::counts_now(task, tgid) {
        return;
    }
    let switches = switches(task);
    if on_cpu(task) || !sleeps(task) {
        return;
    }
    let Some(nr) = number(regs) else { return };
    let key = CallKey::new(nr, W::is_compat(task)).0;
    if !scope::counts(key) {
        return;
    }
    let Some(control) = CONTROL.get_ptr_mut(0) else { return };
    // SAFETY: a field of a live map value, which only this iterator adds to.
    let index = unsafe { (*control).calls_before } as u32;
    let Some(call) = BEFORE.get_ptr_mut(index) else {
        // SAFETY: as above.
        unsafe { pool::add(&raw mut (*control).calls_before, 1) };
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
    let listed = BEFORE_BY_TASK.insert(task as u64, index, 0).is_ok();
    // Atomic, and so a full barrier: what follows is read after the call was listed.
    // SAFETY: as above.
    unsafe { pool::add(&raw mut (*control).calls_before, 1) };
    // Had it run since it was found asleep, it may have left before it was listed. If it
    // runs from now on, it finds what to forget.
    if !listed || on_cpu(task) || self::switches(task) != switches {
        // SAFETY: a live map value.
        unsafe { (*call).key = CallKey::NONE.0 };
        let _ = BEFORE_BY_TASK.remove(task as u64);
    }
}

/// Takes `task` off the list: its call from before is over. Returns whether it was listed.
#[inline(always)]
pub fn forget(task: Task) -> bool {
    // SAFETY: copied at once, and what it was is deleted by this task alone.
    let Some(&index) = (unsafe { BEFORE_BY_TASK.get(task as u64) }) else { return false };
    if let Some(call) = BEFORE.get_ptr_mut(index) {
        // SAFETY: a live map value.
        unsafe { (*call).key = CallKey::NONE.0 };
    }
    let _ = BEFORE_BY_TASK.remove(task as u64);
    true
}

/// Whether `task` sleeps in the kernel as one does within a call.
///
/// Not one that only waits for a CPU, since that may be on its way out of a call, or in
/// user space by its next step; nor one that a signal or a tracer has stopped, or a
/// freezer, all of which come after the call has left (`exit_to_user_mode_loop`,
/// kernel/entry/common.c) or before it has entered; nor one that is about to end, whose
/// end may have been seen already.
#[inline(always)]
fn sleeps(task: Task) -> bool {
    let state = field_u32(task, STATE_OFFSET.load());
    state & (INTERRUPTIBLE | UNINTERRUPTIBLE) != 0
        && field_u32(task, FLAGS_OFFSET.load()) & (EXITING | KERNEL_THREAD) == 0
        // `do_freezer_trap` (kernel/signal.c) sleeps interruptibly.
        && (state & INTERRUPTIBLE == 0
            || field_u64(task, JOBCTL_OFFSET.load()) & TRAP_FREEZE == 0)
}

#[inline(always)]
fn on_cpu(task: Task) -> bool {
    // 0 or 1, in an int, or in newer kernels (7.2 has it so) in a byte before other fields.
    field_u32(task, ON_CPU_OFFSET.load()) as u8 != 0
}

/// How often `task` has given its CPU away: it has not run meanwhile if that is the same,
/// and it was on none before and after.
#[inline(always)]
fn switches(task: Task) -> u64 {
    let of = |offset| field_u64(task, offset);
    of(NVCSW_OFFSET.load()).wrapping_add(of(NIVCSW_OFFSET.load()))
}

/// The number of the call whose registers these are; `None` if they are of an exception or
/// an interrupt, which leave a negative one (`error_entry`, arch/x86/entry/entry_64.S), or
/// of a worker of io_uring's, which has a copy of its maker's but no stack
/// (`copy_thread`, arch/x86/kernel/process.c).
#[inline(always)]
fn number(regs: *const pt_regs) -> Option<u64> {
    // SAFETY: the helper checks the address.
    unsafe {
        let nr = bpf_probe_read_kernel(&raw const (*regs).orig_rax).ok()?;
        let stack = bpf_probe_read_kernel(&raw const (*regs).rsp).ok()?;
        (nr as i32 >= 0 && stack != 0).then_some(nr)
    }
}
