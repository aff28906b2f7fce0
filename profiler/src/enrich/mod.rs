//! Names for numbers.

pub mod errnos;
pub mod lasting;
pub mod syscalls;
