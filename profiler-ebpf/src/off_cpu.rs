//! Splits the latency of calls: how long a thread was blocked, and how long it waited for a CPU.
//!
//! `sched_switch` sees a thread leave its CPU in a call, and return to a CPU. `sched_waking` sees
//! another thread or an interrupt wake it. If the thread was blocked, it waited until the wake-up,
//! and was runnable from then on. If it was preempted or yielded, it was runnable all the time.
//! The rest of the latency is time on a CPU: the user side subtracts.
//!
//! The entry and exit programs know nothing of this. A call is identified by the count of entered
//! calls in the record of its thread. A call that never leaves its CPU costs nothing more.
//!
//! # Who writes what
//!
//! The run queue is locked when a thread leaves a CPU or returns to one, so these events of a
//! thread follow each other (`__schedule`, kernel/sched/core.c). A wake-up can come from another
//! CPU at the same time as the thread leaves its CPU. The order of the two stores of each side
//! makes the outcome right in all cases but those in which both are at most some ten nanoseconds
//! apart.
//!
//! # Returns that the kernel does not report
//!
//! On some virtual machines, the kernel now and then runs no program, and has no event of ftrace,
//! for what happens while a CPU is idle: not the wake-up, and not the return of the thread to that
//! CPU (seen on Linux 6.18). An absence whose return is missing counts as time on a CPU. The thread
//! shows at its next `sched_switch`, or at its end, that the return is missing. Counters then say
//! how often that was, and the greatest time that it can have been.

use aya_ebpf::helpers::bpf_ktime_get_ns;
use profiler_common::{
    call::CallKey,
    wire::{OVERFLOWED, OffCpu, OffCpuCall, TaskState, ThreadRecord},
};

use crate::{
    arch, atomic,
    backend::Backend,
    counters::add,
    maps::{OFF_CPU, OFF_CPU_CALLS, OFF_CPU_OVERFLOW},
    settings::STATE_OFFSET,
    task::Task,
    thread::record_of,
};

/// Handles `sched_switch`: the CPU goes from `prev` to `next`.
#[inline(always)]
pub fn switched<B: Backend>(is_preempted: bool, prev: Task, next: Task) {
    // SAFETY: always safe to call.
    let now = unsafe { bpf_ktime_get_ns() };
    leave_cpu::<B>(prev, is_preempted, now);
    return_to_cpu::<B>(next, now);
}

/// Handles `sched_waking`: `task` is about to become runnable.
///
/// The time is stored also if the task has not left its CPU yet, because it may do so at this
/// moment. A preempted task may be woken too, if it was about to sleep. It is runnable already.
#[inline(always)]
pub fn woken<B: Backend>(task: Task) {
    let Some(state) = B::state(task) else { return };
    // SAFETY: a live state.
    unsafe {
        let left = (&raw const (*state).off_cpu_ns).read_volatile();
        if left == 0 || (*state).woken_ns < left {
            (*state).woken_ns = bpf_ktime_get_ns();
        }
    }
}

/// Notes that `task` leaves its CPU, if it is in a timed call.
#[inline(always)]
fn leave_cpu<B: Backend>(task: Task, is_preempted: bool, now: u64) {
    let Some(state) = B::state(task) else { return };
    // SAFETY: a live state of a task that this CPU still runs.
    unsafe {
        end_absence(state, now);
        if !is_in_timed_call(state, record_of::<B>(state)) {
            return;
        }
        if is_preempted || B::sleeps(task) == Some(false) {
            (*state).woken_ns = now;
        }
        arch::publish();
        (*state).off_cpu_ns = now;
    }
}

/// Notes at the end of a task that its last return to a CPU was not reported, if so.
#[inline(always)]
pub fn end(state: *mut TaskState) {
    // SAFETY: always safe to call, and a live state of the running task.
    unsafe { end_absence(state, bpf_ktime_get_ns()) };
}

/// Ends an absence from the CPU whose end was not reported, if there is one. The task runs now.
///
/// # Safety
/// `state` is the live state of the running task.
#[inline(always)]
unsafe fn end_absence(state: *mut TaskState, now: u64) {
    // SAFETY: the caller's state.
    unsafe {
        let left = (*state).off_cpu_ns;
        if left == 0 {
            return;
        }
        (*state).off_cpu_ns = 0;
        add!(unreported_returns, 1);
        add!(unreported_ns, duration(left, now));
    }
}

/// Adds the time since `task` left its CPU, to which it returns now, if it left in a timed call.
#[inline(always)]
fn return_to_cpu<B: Backend>(task: Task, now: u64) {
    let Some(state) = B::state(task) else { return };
    // SAFETY: a live state of a task that this CPU is about to run, and the task's record.
    unsafe {
        let (left, woken) = ((*state).off_cpu_ns, (*state).woken_ns);
        // Also if the call is not timed. Otherwise, this wake-up would seem to be that of a later
        // absence whose wake-up the kernel does not report.
        if woken != 0 {
            (*state).woken_ns = 0;
        }
        if left == 0 {
            return;
        }
        (*state).off_cpu_ns = 0;
        let time = split(left, woken, now);
        match record_of::<B>(state) {
            Some(record) if (*record).in_flight_slot != OVERFLOWED => add_to_call(record, time),
            Some(record) => add_overflowed((*record).in_flight_key, time),
            None => add_overflowed((*state).key_plus_one.wrapping_sub(1), time),
        }
    }
}

/// Splits the time from `left` to `now`. `woken` is the last wake-up, or 0.
///
/// A wake-up before `left` is one that came while the task was about to sleep, and the task slept
/// for no time. Without a wake-up, the kernel did not report it, or skipped that program
/// (`bpf_task_storage_get` fails on a CPU that is already in such a call, before Linux 6.2). If the
/// state of the task was known, the task slept; otherwise, it most likely yielded.
#[inline(always)]
fn split(left: u64, woken: u64, now: u64) -> OffCpu {
    let all = duration(left, now);
    let waiting_ns = if woken >= left {
        let waiting = woken - left;
        if waiting < all { waiting } else { all }
    } else if woken == 0 && STATE_OFFSET.load() != 0 {
        all
    } else {
        0
    };
    OffCpu { waiting_ns, runnable_ns: all - waiting_ns }
}

/// The time from `from` to `to`. The clocks of two CPUs can differ by a little.
#[inline(always)]
fn duration(from: u64, to: u64) -> u64 {
    if to > from { to - from } else { 0 }
}

/// Whether a call of a task is in flight that counts and is timed. A call that a signal interrupted
/// has left.
///
/// # Safety
/// `state` is live, and `record` is its record.
#[inline(always)]
unsafe fn is_in_timed_call(state: *mut TaskState, record: Option<*mut ThreadRecord>) -> bool {
    // SAFETY: the caller's.
    unsafe {
        match record {
            Some(record) => {
                !CallKey((*record).in_flight_key).is_special() && (*record).entry_ns != 0
            }
            None => {
                let key_plus_one = (*state).key_plus_one;
                // Volatile, because LLVM would make one load of this and of the record's. The verifier
                // refuses an instruction that reads either from an arena or from a map.
                key_plus_one != 0
                    && !CallKey(key_plus_one - 1).is_special()
                    && (&raw const (*state).entry_ns).read_volatile() != 0
            }
        }
    }
}

/// Adds time to the call in flight of the owner of `record`.
///
/// # Safety
/// `record` is a live map value whose owner is not running.
#[inline(always)]
unsafe fn add_to_call(record: *mut ThreadRecord, time: OffCpu) {
    // SAFETY: the caller's record, and live map values.
    unsafe {
        let Some(call) = OFF_CPU_CALLS.get_ptr_mut((*record).index) else { return };
        (*call).sequence += 1;
        arch::publish();
        if (*call).entered != (*record).entered {
            end_previous(record, call);
        }
        (*call).time.waiting_ns += time.waiting_ns;
        (*call).time.runnable_ns += time.runnable_ns;
        arch::publish();
        (*call).sequence += 1;
    }
}

/// Adds the time of the previous call to the sums of its slot, and begins with the call in flight.
/// If an exit was missed since, the previous call may be the one whose latency is unknown.
///
/// # Safety
/// `record` and `call` are live map values of the same thread.
#[inline(always)]
unsafe fn end_previous(record: *mut ThreadRecord, call: *mut OffCpuCall) {
    // SAFETY: the caller's.
    unsafe {
        let missed_exits = (*record).missed_exits as u32;
        if (*call).missed_exits == missed_exits
            && let Some(sums) = OFF_CPU.get_ptr_mut((*call).slot)
        {
            (*sums).waiting_ns += (*call).time.waiting_ns;
            (*sums).runnable_ns += (*call).time.runnable_ns;
        }
        (*call).entered = (*record).entered;
        (*call).slot = (*record).in_flight_slot;
        (*call).missed_exits = missed_exits;
        (*call).time = OffCpu { waiting_ns: 0, runnable_ns: 0 };
    }
}

/// Adds time to the overflow slot of a call. Many threads do.
#[inline(always)]
fn add_overflowed(key: u32, time: OffCpu) {
    if CallKey(key).is_special() {
        return;
    }
    if let Some(sums) = OFF_CPU_OVERFLOW.get_ptr_mut(CallKey(key).overflow_index()) {
        // SAFETY: fields of a live map value.
        unsafe {
            atomic::add(&raw mut (*sums).waiting_ns, time.waiting_ns);
            atomic::add(&raw mut (*sums).runnable_ns, time.runnable_ns);
        }
    }
}
