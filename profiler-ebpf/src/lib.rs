//! The kernel side of `profiler`: what runs at every system call.
//!
//! A call costs two programs. At entry: find the thread's record, find the slot
//! of this call in it, count, note the time. At exit: read the time, find the
//! record, add to the slot. The record is found through a per-CPU hint that
//! holds as long as the CPU runs the same thread, and otherwise through the
//! task's state ([`task`]). Nothing on that way takes a lock, adds atomically, or
//! emits an event.
//!
//! # Order of stores
//!
//! A program writes figures first, and the sums that announce them last. The reader reads sums
//! first, and figures after. So every figure that a sum announces is there. A figure that the
//! reader missed shows in the difference of its next reading.
#![no_std]
// For the atomic additions: Rust gives this target no `fetch_add`.
#![feature(asm_experimental_arch)]

pub mod arch;
pub mod atomic;
pub mod backend;
pub mod call_lister;
pub mod control;
pub mod counters;
pub mod entry;
pub mod exit;
pub mod global;
pub mod interrupted;
pub mod life;
pub mod maps;
pub mod pool;
pub mod programs;
pub mod refusal;
pub mod report;
pub mod restart;
pub mod scope;
pub mod settings;
pub mod signals;
pub mod task;
pub mod thread;
pub mod typed;
pub mod verifier;

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
