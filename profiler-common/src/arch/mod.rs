//! What differs between architectures: the ABIs of syscalls, and what the kernel does with their
//! numbers and results. One file per architecture has these items; x86_64 is the only one.
//!
//! The architecture is that of the host that the programs run on. The kernel side is compiled for
//! BPF, so the target does not tell it.

mod x86_64;

pub use x86_64::{
    ABIS, Abi, COMPAT, FOREIGN_ABIS, KERNEL_STACK_SHIFT, NATIVE, OVERFLOW_SLOTS, abi_and_number,
    can_be_restarted, foreign_index, is_compat, overflow_base, restores_registers,
};
