//! The kernel side of `profiler`: the programs that run at every syscall.
//!
//! Each call runs two programs. The entry program finds the record of the thread and the slot of
//! the call, counts the call, and stores the time. The exit program reads the time, finds the
//! record, and adds to the slot. A hint names the likely record ([`thread`]). If the hint is wrong,
//! the state of the task names the record. No step on this path takes a lock, adds atomically or
//! emits an event.
//!
//! # Order of stores
//!
//! A program writes figures first, and then the sums that announce them. The reader reads the sums
//! first, and then the figures. So every figure that a sum announces is there. If the reader misses
//! a figure, the figure is in the difference of its next reading.
#![no_std]
// For the atomic additions: Rust gives this target no `fetch_add`.
#![feature(asm_experimental_arch)]

pub mod arch;
pub mod atomic;
pub mod backend;
pub mod by_address;
pub mod call_lister;
pub mod cgroup;
pub mod control;
pub mod counters;
pub mod entry;
pub mod exit;
pub mod failing;
pub mod global;
pub mod hints;
pub mod interrupted;
pub mod io_uring;
pub mod life;
pub mod maps;
pub mod off_cpu;
pub mod pool;
pub mod programs;
pub mod refusal;
pub mod report;
pub mod restart;
pub mod sampling;
pub mod scope;
pub mod settings;
pub mod signals;
pub mod stack;
pub mod task;
pub mod thread;
pub mod typed;
pub mod verifier;

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
