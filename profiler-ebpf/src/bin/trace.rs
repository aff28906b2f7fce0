//! The object that follows single calls: `raw_tracepoint` programs, so that one object runs on all
//! kernels, and task state in a table by the address of the task.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

use core::arch::asm;

use aya_ebpf::{macros::raw_tracepoint, programs::RawTracePointContext};
use profiler_common::{arch, settings::placeholder, trace::TracedTask};
use profiler_ebpf::{
    arch::CallRegisters,
    scope,
    settings::{CASTS, STATUS_OFFSET},
    task::{Task, field_u32},
};

use self::trace::{TraceBackend, maps::TASKS};

// Not in the library: each object has all maps of the library.
#[path = "../trace/mod.rs"]
mod trace;

profiler_ebpf::backend_of_calls!(TraceByAddress, TASKS, TracedTask, is_compat);

/// Whether `task` is in a 32-bit syscall.
#[inline(always)]
fn is_compat(task: Task) -> bool {
    let status = if CASTS.load() != 0 {
        two_words((task as u64).wrapping_add(STATUS_OFFSET.load().into()))[0] as u32
    } else {
        field_u32(task, STATUS_OFFSET.load())
    };
    arch::is_compat(status)
}

impl TraceBackend for TraceByAddress {
    #[inline(always)]
    unsafe fn write_arguments(regs: u64, is_compat: bool, args: *mut [u64; 6]) {
        // SAFETY: the caller's place.
        unsafe {
            if CASTS.load() == 0 || is_compat {
                read_arguments(regs, is_compat, args);
            } else {
                *args = CallRegisters::native_arguments(regs, two_words);
            }
        }
    }
}

/// Copies the registers, and writes the arguments. In a function of its own: the programs have no space
/// for the registers on their stack, as the functions that they call later need it.
///
/// # Safety
/// `args` is within a live map value.
#[inline(never)]
unsafe fn read_arguments(regs: u64, is_compat: bool, args: *mut [u64; 6]) {
    // SAFETY: the caller's place.
    unsafe { *args = CallRegisters::read(regs).arguments(is_compat) }
}

/// The two words at an address of the kernel; 0 where there is nothing. By `bpf_rdonly_cast`, which is
/// not a call at run time: the verifier replaces it by a move (`fixup_kfunc_call`,
/// kernel/bpf/verifier.c). A helper that reads memory costs as much as the rest of the entry program.
/// The user side sets the BTF ids of the function and of the type, which has two integers, or
/// removes the call.
#[inline(always)]
fn two_words(address: u64) -> [u64; 2] {
    let (first, second);
    // SAFETY: the kernel checks the address, and reads 0 where there is nothing.
    unsafe {
        asm!(
            "r1 = {address}",
            "r2 = {cast_type}",
            "call {cast}",
            "{first} = *(u64 *)(r0 + 0)",
            "{second} = *(u64 *)(r0 + 8)",
            address = in(reg) address,
            first = lateout(reg) first,
            second = lateout(reg) second,
            cast_type = const placeholder::RDONLY_CAST_TYPE,
            cast = const placeholder::RDONLY_CAST,
            out("r0") _, out("r1") _, out("r2") _, out("r3") _, out("r4") _, out("r5") _,
            options(nostack)
        );
    }
    [first, second]
}

#[raw_tracepoint(tracepoint = "sys_enter")]
pub fn sys_enter(ctx: RawTracePointContext) -> i32 {
    trace::entry::enter::<TraceByAddress>(ctx.arg(0), ctx.arg(1));
    0
}

#[raw_tracepoint(tracepoint = "sys_exit")]
pub fn sys_exit(ctx: RawTracePointContext) -> i32 {
    trace::exit::exit::<TraceByAddress>(ctx.arg(0), ctx.arg(1));
    0
}

#[raw_tracepoint(tracepoint = "sched_process_fork")]
pub fn process_fork(ctx: RawTracePointContext) -> i32 {
    trace::life::fork::<TraceByAddress>(ctx.arg(0), ctx.arg(1));
    0
}

#[raw_tracepoint(tracepoint = "sched_process_exec")]
pub fn process_exec(ctx: RawTracePointContext) -> i32 {
    trace::life::exec::<TraceByAddress>(ctx.arg(0));
    0
}

#[raw_tracepoint(tracepoint = "sched_process_exit")]
pub fn process_exit(ctx: RawTracePointContext) -> i32 {
    trace::life::exit::<TraceByAddress>(ctx.arg(0));
    0
}

#[raw_tracepoint(tracepoint = "task_rename")]
pub fn task_rename(ctx: RawTracePointContext) -> i32 {
    trace::life::rename::<TraceByAddress>(ctx.arg(0), ctx.arg(1));
    0
}

#[raw_tracepoint(tracepoint = "signal_deliver")]
pub fn signal_deliver(ctx: RawTracePointContext) -> i32 {
    trace::life::deliver::<TraceByAddress>(ctx.arg(0), ctx.arg(1));
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
