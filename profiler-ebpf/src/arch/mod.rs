//! What differs between architectures in the programs: the order of memory accesses, and the
//! registers of a task that entered the kernel. One file per architecture has these items; x86_64
//! is the only one.
//!
//! The ABIs of syscalls are in [`profiler_common::arch`].

mod x86_64;

pub use x86_64::{
    CallRegisters, FrameRegisters, SigAction, add_with_full_barrier, call_number, is_exec,
    lower_half_is_at_least, number_of_unfinished_call, publish,
};
