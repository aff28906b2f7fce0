//! The object that sums up stacks of calls: `raw_tracepoint` programs, so that one object runs on all
//! kernels, and task state in a table by the address of the task.
#![no_std]
#![no_main]

use aya_ebpf::{
    EbpfContext as _,
    helpers::{bpf_get_current_task, bpf_probe_read_kernel},
    macros::raw_tracepoint,
    programs::RawTracePointContext,
};
use profiler_common::{
    arch,
    stacks::StackTask,
    wire::{TaskIdentity, TaskState, ThreadRecord},
};
use profiler_ebpf::{
    backend::Backend,
    scope,
    settings::STATUS_OFFSET,
    task::{Task, field_u32},
};

use self::stacks::{StackBackend, maps::TASKS};

// Not in the library: each object has all maps of the library.
#[path = "../stacks/mod.rs"]
mod stacks;

/// The state of a task about which nothing is known.
static UNKNOWN: StackTask = {
    // SAFETY: integers.
    unsafe { core::mem::zeroed() }
};

/// Tasks by address; no records and no cells.
struct StacksByAddress;

impl Backend for StacksByAddress {
    /// A number. The verifier forgets that it was a pointer, because a helper copies it.
    #[inline(always)]
    fn registers(regs: u64) -> u64 {
        // SAFETY: copies a variable.
        unsafe { bpf_probe_read_kernel(&raw const regs) }.unwrap_or(0)
    }

    #[inline(always)]
    fn current() -> Task {
        // SAFETY: always safe to call.
        unsafe { bpf_get_current_task() as Task }
    }

    #[inline(always)]
    fn state(task: Task) -> Option<*mut TaskState> {
        TASKS.get_ptr_mut(task as u64).map(|known| known.cast())
    }

    #[inline(always)]
    fn state_or_new(task: Task) -> Option<*mut TaskState> {
        if let Some(state) = Self::state(task) {
            return Some(state);
        }
        TASKS.insert(task as u64, &UNKNOWN, 0).ok()?;
        Self::state(task)
    }

    #[inline(always)]
    fn forget(task: Task) {
        let _ = TASKS.remove(task as u64);
    }

    #[inline(always)]
    fn record(_index: u32) -> Option<*mut ThreadRecord> {
        None
    }

    #[inline(always)]
    fn identity(_index: u32) -> Option<*mut TaskIdentity> {
        None
    }

    #[inline(always)]
    fn recorded(_task: Task) -> Option<*mut ThreadRecord> {
        None
    }

    #[inline(always)]
    fn forget_hint(_task: Task) {}

    /// Always false: no such calls are listed.
    #[inline(always)]
    fn forget_listed_call(_task: Task) -> bool {
        false
    }

    #[inline(always)]
    fn is_compat(task: Task) -> bool {
        arch::is_compat(field_u32(task, STATUS_OFFSET.load()))
    }

    /// The registers are a number here.
    #[inline(always)]
    fn distance(regs: u64, _place: *const u8) -> u64 {
        regs
    }
}

impl StackBackend for StacksByAddress {}

#[raw_tracepoint(tracepoint = "sys_enter")]
pub fn sys_enter(ctx: RawTracePointContext) -> i32 {
    stacks::enter::<StacksByAddress>(ctx.as_ptr(), ctx.arg(0), ctx.arg(1));
    0
}

#[raw_tracepoint(tracepoint = "sys_exit")]
pub fn sys_exit(ctx: RawTracePointContext) -> i32 {
    stacks::exit::<StacksByAddress>(ctx.as_ptr(), ctx.arg(0), ctx.arg(1));
    0
}

#[raw_tracepoint(tracepoint = "sched_process_fork")]
pub fn process_fork(ctx: RawTracePointContext) -> i32 {
    stacks::life::fork::<StacksByAddress>(ctx.arg(0), ctx.arg(1));
    0
}

#[raw_tracepoint(tracepoint = "sched_process_exec")]
pub fn process_exec(ctx: RawTracePointContext) -> i32 {
    stacks::life::exec::<StacksByAddress>(ctx.arg(0));
    0
}

#[raw_tracepoint(tracepoint = "sched_process_exit")]
pub fn process_exit(ctx: RawTracePointContext) -> i32 {
    stacks::life::exit::<StacksByAddress>(ctx.arg(0));
    0
}

#[raw_tracepoint(tracepoint = "task_rename")]
pub fn task_rename(ctx: RawTracePointContext) -> i32 {
    profiler_ebpf::life::rename::<StacksByAddress>(ctx.arg(0), ctx.arg(1));
    0
}

// Loaded only for the stacks of the kernel.
#[raw_tracepoint(tracepoint = "sched_switch")]
pub fn sched_switch(ctx: RawTracePointContext) -> i32 {
    let is_preempted = ctx.arg::<u64>(0) & 1 != 0;
    stacks::switch::<StacksByAddress>(ctx.as_ptr(), is_preempted, ctx.arg(1));
    0
}

// Loaded only if a filter names cgroups.
#[raw_tracepoint(tracepoint = "cgroup_attach_task")]
pub fn cgroup_attach(_ctx: RawTracePointContext) -> i32 {
    scope::invalidate_after_move();
    0
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
