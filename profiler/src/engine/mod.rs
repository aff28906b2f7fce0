//! Where snapshots come from.

pub mod kernel;
