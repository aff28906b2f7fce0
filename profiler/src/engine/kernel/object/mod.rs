//! The compiled objects, described: programs, maps, settings, and which kernels run them.
//!
//! The [`catalog`] describes each object once. Everything that loads, attaches or sizes an object
//! reads that description.
//!
//! A session loads the best object that counts calls. To load another object beside it, describe the
//! object in the catalogue, say when it is needed, and list it in `COMPANIONS`. It gets the settings
//! of the session. A map with [`Size::Shared`] is the map of the same name of the first object.

mod catalog;
mod file;
mod program;
mod spec;

#[cfg(test)]
pub(crate) use catalog::COUNTERS;
pub(crate) use catalog::{best_counter, companions, find, program_named};
pub use program::program_names;
pub(crate) use program::{
    CAPABILITY_CHECKED, ENTRY, EXEC, OPERATION_COMPLETED, OPERATION_FAILED, OPERATION_OVERFLOWED,
    OPERATION_SUBMITTED, OPERATION_SUBMITTED_OLD, ProgramSpec, SYSCALL_PROGRAMS, preemptible,
};
pub(crate) use spec::{Group, Hook, ObjectName, ObjectSpec, Requirement, RingEvent, Size, When};
