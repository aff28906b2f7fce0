//! The object that sums up stacks of calls: `raw_tracepoint` programs, so that one object runs on all
//! kernels, and task state in a table by the address of the task.
#![no_std]
#![no_main]

use aya_ebpf::{EbpfContext as _, macros::raw_tracepoint, programs::RawTracePointContext};
use profiler_common::stacks::StackTask;
use profiler_ebpf::scope;

use self::stacks::{StackBackend, maps::TASKS};

// Not in the library: each object has all maps of the library.
#[path = "../stacks/mod.rs"]
mod stacks;

profiler_ebpf::backend_of_calls!(StacksByAddress, TASKS, StackTask, by_address::is_compat);

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
