//! Names for numbers.

pub mod errnos;
pub mod syscalls;
pub mod waits;
