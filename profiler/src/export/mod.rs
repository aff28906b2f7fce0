//! Snapshots as bytes, each format a pure function.

pub mod prometheus;
