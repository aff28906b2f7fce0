//! Seccomp profiles: which syscalls a process may make.
//!
//! An [`Observation`] says which calls were seen. [`generate`] turns it into a [`Profile`]. Modules
//! of formats (`oci`, `systemd`, `kubernetes`) read and write profiles. [`Profile::judge`] says what
//! a profile does with a call.

mod compile;
pub mod danger;
mod generate;
mod judge;
mod kubernetes;
mod notes;
mod observation;
mod oci;
mod profile;
mod relatives;
pub mod runtime;
mod systemd;
#[cfg(test)]
mod tests;

pub use compile::{CompileError, compile};
pub use generate::{Choices, Denial, generate};
pub use judge::{Container, Verdict};
pub use kubernetes::write as write_kubernetes;
pub use notes::{Note, coverage, notes};
pub use observation::{Observation, Seen, Watched};
pub use oci::{read as read_oci, write as write_oci};
pub use profile::{Action, Arch, Condition, Operator, Profile, ProfileError, Requirement, Rule};
pub use systemd::{
    read as read_systemd, write as write_systemd, write_deny_list as write_systemd_deny_list,
};
