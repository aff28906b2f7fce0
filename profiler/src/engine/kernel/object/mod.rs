//! The compiled objects, described: programs, maps, settings, and which kernels run them.
//!
//! The [`catalog`] describes each object once. Everything that loads, attaches or sizes an object
//! reads that description.

mod catalog;
mod file;
mod program;
mod spec;

pub(crate) use catalog::{COUNTERS, companions, find, program_named};
pub(crate) use program::{CGROUP_ATTACH, ENTRY, ProgramSpec, SYSCALL_PROGRAMS, preemptible};
pub(crate) use spec::{Group, Hook, ObjectName, ObjectSpec, Requirement, Size, When};
