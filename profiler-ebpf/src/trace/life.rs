//! Forks, execs, ends and signals in a trace.

use aya_ebpf::helpers::{bpf_get_current_comm, bpf_get_current_pid_tgid, bpf_ktime_get_ns};
use profiler_common::{
    trace::{About, Header, NEVER_RETURNED, TracedTask},
    wire::TaskState,
};

use super::{
    TraceBackend, change, exit::is_wanted, maps::FREE_PENDING, of_state, output, recorder, traced,
    traced_or_new,
};
use profiler_ebpf::{
    life,
    maps::RENAMED,
    scope::{self, outside},
    settings::{COMMS_ONLY, EXIT_CODE_OFFSET, LIVE_OFFSET, SIGNAL_OFFSET},
    task::{Task, field_u32, field_u64, layout_known},
};

/// Handles `sched_process_fork`: the running task `parent` made `child`, which has not run yet.
#[inline(always)]
pub fn fork<B: TraceBackend>(parent: Task, child: Task) {
    life::fork::<B>(parent, child);
    if recorder::has_hints() {
        recorder::forget_stack(child);
    }
    if let Some(state) = B::state(child) {
        let traced = of_state(state);
        // The state of an earlier task at the same address, whose end was missed.
        // SAFETY: a live state; the child has not run yet. It keeps the space for memory.
        unsafe {
            recorder::release(traced);
            (*traced).dropped = 0;
            change(traced, || {
                (*traced).call.about = 0;
                (*traced).call.comm = Default::default();
                (*traced).call.tid = 0;
            });
        }
    }
}

/// Handles `sched_process_exec`: the running task runs another program.
#[inline(always)]
pub fn exec<B: TraceBackend>(task: Task) {
    life::exec::<B>(task);
    if let Some(traced) = traced::<B>(task) {
        // SAFETY: a live state of the running task.
        unsafe {
            let traced = recorder::owned(traced);
            (*traced).flags |= TracedTask::RAN_EXEC;
            // An exec by a thread that is not the leader changes its id. Without a call that is
            // followed, the id of the process is not noted yet.
            let ids = bpf_get_current_pid_tgid();
            (*traced).call.tid = ids as u32;
            (*traced).call.tgid = (ids >> 32) as u32;
        }
    }
}

/// Handles `sched_process_exit`: the running task ends.
#[inline(always)]
pub fn exit<B: TraceBackend>(task: Task) {
    if COMMS_ONLY.load() != 0 {
        let _ = RENAMED.remove(task as u64);
    }
    let ids = bpf_get_current_pid_tgid();
    if let Some(traced) = traced_or_new::<B>(task) {
        let state = traced.cast::<TaskState>();
        // SAFETY: a live state of the running task.
        unsafe {
            if scope::counts_at_exit(state, task, (ids >> 32) as u32) {
                send_end(traced, task, ids);
            }
            outside::forget(state);
            free_memory(traced);
            if recorder::is_on() {
                recorder::release(traced);
            }
        }
    }
    B::forget(task);
}

/// Frees the space for memory of a task that ends.
///
/// # Safety
/// `traced` is a live state.
#[inline(always)]
pub(super) unsafe fn free_memory(traced: *mut TracedTask) {
    // SAFETY: the caller's state.
    unsafe {
        let slot = (*traced).slot;
        if slot != 0 {
            (*traced).slot = 0;
            let _ = FREE_PENDING.push(slot - 1, 0);
        }
    }
}

/// Sends the call in which the running task ends, if there is one, and its end.
#[inline(always)]
unsafe fn send_end(known: *mut TracedTask, task: Task, ids: u64) {
    // SAFETY: the caller's live state of the running task.
    unsafe {
        let traced = recorder::owned(known);
        let call = &raw mut (*traced).call;
        let now = bpf_ktime_get_ns();
        if (*call).about != 0 {
            (*call).exit_ns = now;
            (*call).flags |= NEVER_RETURNED;
            // It has not failed.
            (*call).result = 0;
            if recorder::is_on() {
                recorder::record_call(traced);
            } else if is_wanted(call) {
                output::send_call(traced);
            }
        }
        let live = field_u32(field_u64(task, SIGNAL_OFFSET.load()) as Task, LIVE_OFFSET.load());
        let status = if layout_known() { field_u32(task, EXIT_CODE_OFFSET.load()) } else { 0 };
        let is_last = LIVE_OFFSET.load() != 0 && live == 0;
        *call = Header {
            about: About::End as u8,
            tid: ids as u32,
            tgid: (ids >> 32) as u32,
            dropped: (*traced).dropped,
            exit_ns: now,
            result: status.into(),
            args: [is_last.into(), 0, 0, 0, 0, 0],
            comm: bpf_get_current_comm().unwrap_or_default(),
            ..Header::default()
        };
        if recorder::is_on() {
            // Before the reader can free the ring.
            free_memory(traced);
            recorder::end(known, traced, call, field_u64(task, SIGNAL_OFFSET.load()) as Task);
        } else {
            output::send(traced, call, size_of::<Header>() as u32);
        }
    }
}

/// Codes of signals without a sender (include/uapi/asm-generic/siginfo.h).
const SI_KERNEL: u32 = 0x80;
const SI_TIMER: u32 = -2_i32 as u32;
const SI_SIGIO: u32 = -5_i32 as u32;

/// Handles `signal_deliver`: the running task gets `signal`. `info` is a `struct kernel_siginfo`,
/// which begins as `siginfo_t` of the native ABI does (include/uapi/asm-generic/siginfo.h).
#[inline(always)]
pub fn deliver<B: TraceBackend>(signal: u64, info: Task) {
    let task = B::current();
    let Some(traced) = traced::<B>(task) else { return };
    let ids = bpf_get_current_pid_tgid();
    let state = traced.cast::<TaskState>();
    // SAFETY: a live state of the running task.
    unsafe {
        if !scope::counts_at_exit(state, task, (ids >> 32) as u32) {
            return;
        }
        let code = field_u32(info, 8);
        let sender = field_u64(info, 16);
        // Which fields there are depends on the signal and the code (`siginfo_layout`,
        // kernel/signal.c, Linux 6.12). If a process sent the signal, they are its id and user.
        let is_of_kernel = code as i32 > 0 && code < SI_KERNEL;
        let (pid, uid, address) = match signal as u32 {
            // SIGILL, SIGTRAP, SIGBUS, SIGFPE, SIGSEGV and SIGSYS: the address of the fault or call.
            4 | 5 | 7 | 8 | 11 | 31 if is_of_kernel => (0, 0, sender),
            // SIGPOLL: the events.
            29 if is_of_kernel => (0, 0, 0),
            _ if matches!(code, SI_KERNEL | SI_TIMER | SI_SIGIO) => (0, 0, 0),
            _ => (sender & u64::from(u32::MAX), sender >> 32, 0),
        };
        let header = Header {
            about: About::Signal as u8,
            tid: ids as u32,
            tgid: (ids >> 32) as u32,
            nr: signal as u32,
            dropped: (*traced).dropped,
            exit_ns: bpf_ktime_get_ns(),
            args: [code.into(), pid, uid, address, 0, 0],
            comm: bpf_get_current_comm().unwrap_or_default(),
            ..Header::default()
        };
        if recorder::is_on() {
            recorder::record(recorder::owned(traced), &raw const header);
        } else {
            output::send(traced, &raw const header, size_of::<Header>() as u32);
        }
    }
}

/// Handles `task_rename`: the name of `task` will be another.
#[inline(always)]
pub fn rename<B: TraceBackend>(task: Task, comm: *const u8) {
    life::rename::<B>(task, comm);
    if recorder::is_on()
        && let Some(traced) = traced::<B>(task)
    {
        // SAFETY: a live state.
        unsafe { recorder::rename(recorder::owned(traced)) }
    }
}
