//! The kernel side as seen from user space: the only place that knows aya.
//!
//! [`Session`] is loaded and attached programs; [`Tables`] is what they recorded,
//! as plain values. What the values mean is the business of [`crate::drain`].

mod btf;
mod error;
pub mod features;
mod load;
mod mapping;
mod object;
mod options;
mod programs;
mod tables;

pub use error::KernelError;
pub use load::Session;
pub use options::{Options, Scope};
#[cfg(test)]
pub(crate) use tables::UNOWNED;
pub use tables::{Activity, MapTables, SlotCounts, Tables};
