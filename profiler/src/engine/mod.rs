//! Where snapshots come from: an engine watches what a query asks for, and is read by whoever
//! consumes its snapshots.

mod intervals;
pub mod kernel;

pub use intervals::Intervals;
