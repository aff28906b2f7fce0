//! Snapshots made into bytes. Pure functions; nothing here reads anything.

pub mod json;
pub mod prometheus;
pub mod table;
