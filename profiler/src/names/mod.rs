//! Names for numbers.

pub mod errnos;
pub mod near;
pub mod syscalls;
pub mod waits;
