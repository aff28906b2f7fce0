//! The object for kernels without task storage (Linux 5.10) or without BTF:
//! `raw_tracepoint` programs, and task state in a table by thread id.
//!
//! A thread id is not a task: it is given to another after the task ended, and an
//! exec can change it. So the exit hook deletes the state before the id is free,
//! and the exec hook moves it.
#![no_std]
#![no_main]

use aya_ebpf::{
    bindings::pt_regs,
    btf_maps::HashMap,
    helpers::{bpf_get_current_pid_tgid, bpf_get_current_task, bpf_probe_read_kernel},
    macros::{btf_map, raw_tracepoint},
    programs::RawTracePointContext,
};
use profiler_common::{call::TS_COMPAT, wire::TaskState};
use profiler_ebpf::{
    entry, exit, life, report,
    task::{STATUS_OFFSET, Task, Tasks, field_u32},
};

/// State by thread id. Preallocated, so that an insert fails only when it is full,
/// and as large as the configuration allows threads.
#[btf_map]
static TASKS: HashMap<u32, TaskState, 1> = HashMap::new();

/// Tasks by thread id.
struct ByTid;

#[inline(always)]
fn tid_or_current(tid: u32) -> u32 {
    if tid == 0 { bpf_get_current_pid_tgid() as u32 } else { tid }
}

impl Tasks for ByTid {
    #[inline(always)]
    fn current() -> Task {
        // SAFETY: always safe to call.
        unsafe { bpf_get_current_task() as Task }
    }

    #[inline(always)]
    fn state(_task: Task, tid: u32) -> Option<*mut TaskState> {
        TASKS.get_ptr_mut(tid_or_current(tid))
    }

    #[inline(always)]
    fn state_or_new(task: Task, tid: u32) -> Option<*mut TaskState> {
        let tid = tid_or_current(tid);
        if let Some(state) = Self::state(task, tid) {
            return Some(state);
        }
        TASKS.insert(tid, TaskState::default(), 0).ok()?;
        Self::state(task, tid)
    }

    #[inline(always)]
    fn forget_current() {
        let _ = TASKS.remove(tid_or_current(0));
    }

    #[inline(always)]
    fn moved(from: u32, to: u32) {
        if let Some(state) = TASKS.get_ptr_mut(from) {
            // SAFETY: a live map value of the running task's own.
            let copy = unsafe { *state };
            let _ = TASKS.insert(to, copy, 0);
            let _ = TASKS.remove(from);
        }
    }

    #[inline(always)]
    fn is_compat(task: Task) -> bool {
        field_u32(task, STATUS_OFFSET.load()) & TS_COMPAT != 0
    }

    #[inline(always)]
    fn number_at_exit(regs: u64) -> u64 {
        // SAFETY: the helper checks the address.
        unsafe {
            let regs = regs as *const pt_regs;
            bpf_probe_read_kernel(&raw const (*regs).orig_rax).unwrap_or(u64::MAX)
        }
    }
}

#[raw_tracepoint(tracepoint = "sys_enter")]
pub fn sys_enter(ctx: RawTracePointContext) -> i32 {
    entry::enter::<ByTid>(ctx.arg(0), ctx.arg(1));
    0
}

#[raw_tracepoint(tracepoint = "sys_exit")]
pub fn sys_exit(ctx: RawTracePointContext) -> i32 {
    exit::exit::<ByTid>(ctx.arg(0), ctx.arg(1));
    0
}

#[raw_tracepoint(tracepoint = "sched_process_fork")]
pub fn process_fork(ctx: RawTracePointContext) -> i32 {
    life::fork::<ByTid>(ctx.arg(0), ctx.arg(1));
    0
}

#[raw_tracepoint(tracepoint = "sched_process_exec")]
pub fn process_exec(ctx: RawTracePointContext) -> i32 {
    life::exec::<ByTid>(ctx.arg(0), ctx.arg(1));
    0
}

#[raw_tracepoint(tracepoint = "sched_process_exit")]
pub fn process_exit(ctx: RawTracePointContext) -> i32 {
    life::exit::<ByTid>(ctx.arg(0));
    report::exhaustion();
    0
}

#[raw_tracepoint(tracepoint = "task_rename")]
pub fn task_rename(ctx: RawTracePointContext) -> i32 {
    life::rename::<ByTid>(ctx.arg(0), ctx.arg(1));
    0
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
