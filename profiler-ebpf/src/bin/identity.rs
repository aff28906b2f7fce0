//! Tells the user side its process id on the host, and the time of the kernel's clock. The user
//! side runs the program itself (`BPF_PROG_TEST_RUN`, Linux 5.10). The program attaches nowhere.
//!
//! In a pid namespace a process does not know its id on the host, and in a time namespace
//! `CLOCK_MONOTONIC` is not the clock of `bpf_ktime_get_ns`.
#![no_std]
#![no_main]

use aya_ebpf::helpers::{bpf_get_current_pid_tgid, bpf_ktime_get_ns};
use profiler_common::identity;

/// Answers the question that the first argument asks, in the 32 bits that the kernel returns.
///
/// Without aya's macro for raw tracepoints, whose programs always return 0.
#[unsafe(no_mangle)]
#[unsafe(link_section = "raw_tp/sys_enter")]
pub fn identify(arguments: *const u64) -> u32 {
    // SAFETY: the context of this kind of program is the arguments, of which the user side
    // gives twelve; the helpers are always safe to call.
    let answer = unsafe {
        match *arguments {
            identity::TGID => bpf_get_current_pid_tgid() >> 32,
            identity::CLOCK_HIGH => bpf_ktime_get_ns() >> 32,
            _ => bpf_ktime_get_ns(),
        }
    };
    answer as u32
}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
