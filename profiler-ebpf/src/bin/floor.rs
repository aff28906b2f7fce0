//! The cost of any probe, as a reference for ours: an empty pair of programs, and a pair that reads
//! only the clock. The profiler itself never loads this object.
#![no_std]
#![no_main]

use aya_ebpf::{helpers::bpf_ktime_get_ns, macros::btf_tracepoint, programs::BtfTracePointContext};

#[btf_tracepoint(function = "sys_enter")]
pub fn empty_enter(_ctx: BtfTracePointContext) -> i32 {
    0
}

#[btf_tracepoint(function = "sys_exit")]
pub fn empty_exit(_ctx: BtfTracePointContext) -> i32 {
    0
}

#[btf_tracepoint(function = "sys_enter")]
pub fn clock_enter(_ctx: BtfTracePointContext) -> i32 {
    read_clock()
}

#[btf_tracepoint(function = "sys_exit")]
pub fn clock_exit(_ctx: BtfTracePointContext) -> i32 {
    read_clock()
}

#[inline(always)]
fn read_clock() -> i32 {
    // SAFETY: always safe to call. The result is used, or the call would be dropped.
    let now = unsafe { bpf_ktime_get_ns() };
    i32::from(now == 0)
}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
