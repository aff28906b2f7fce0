//! Snapshots made into bytes. Pure functions; nothing here reads anything.

mod grid;
mod in_flight;
pub mod json;
pub mod prometheus;
pub mod table;

use std::time::Duration;

use crate::{
    cli::Grouping,
    filter::Filter,
    kernel::Scope,
    rows::Row,
    snapshot::{Health, InFlight},
};

/// What `profiler stat` prints at once.
#[derive(Clone, Copy, Debug)]
pub struct Report<'a> {
    /// The rows, sorted.
    pub rows: &'a [Row],
    /// What makes a row.
    pub by: Grouping,
    /// The time that the rows are of.
    pub window: Duration,
    /// What was lost, and how full the tables are.
    pub health: &'a Health,
    /// Calls that have not returned at the end of it.
    pub in_flight: &'a InFlight,
    /// Which processes count,
    pub scope: &'a Scope,
    /// and what of them.
    pub filter: &'a Filter,
    /// One as time passes, and not the last.
    pub more_follow: bool,
}
