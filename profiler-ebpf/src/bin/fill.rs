//! Puts indexes onto the free stacks at the start. The user side runs the program itself
//! (`BPF_PROG_TEST_RUN`, Linux 5.10). The program attaches nowhere.
//!
//! The user side could push each index by a syscall. At the start there are some 60,000 of them,
//! which would take longer than the rest of the start.
#![no_std]
#![no_main]

use aya_ebpf::{btf_maps::Stack, macros::btf_map};
use profiler_common::fill;

/// The stacks of the object that counts calls: the user side shares them before it loads this
/// program.
#[btf_map]
static FREE_RECORDS: Stack<u32, 1> = Stack::new();
#[btf_map]
static FREE_EXTENTS: Stack<u32, 1> = Stack::new();

/// Pushes indexes, the greatest first, and returns how many.
///
/// Without aya's macro for raw tracepoints, whose programs always return 0.
#[unsafe(no_mangle)]
#[unsafe(link_section = "raw_tp/sys_enter")]
pub fn fill(arguments: *const u64) -> u32 {
    // SAFETY: the context of this kind of program is the arguments, of which the user side
    // gives twelve.
    let [stack, end, count] = unsafe { [*arguments, *arguments.add(1), *arguments.add(2)] };
    match stack {
        fill::RECORDS => push(&FREE_RECORDS, end as u32, count as u32),
        fill::EXTENTS => push(&FREE_EXTENTS, end as u32, count as u32),
        _ => 0,
    }
}

#[inline(always)]
fn push<const LEN: usize>(stack: &Stack<u32, LEN>, end: u32, count: u32) -> u32 {
    for pushed in 0..fill::BATCH {
        if pushed >= count || stack.push(end.wrapping_sub(pushed + 1), 0).is_err() {
            return pushed;
        }
    }
    fill::BATCH
}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
