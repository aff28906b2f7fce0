//! Names of syscalls, errnos and operations of io_uring.

pub mod classes;
pub mod errnos;
pub mod find;
pub mod near;
pub mod operations;
pub mod syscalls;
pub mod table;
pub mod waits;
