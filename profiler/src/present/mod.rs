//! Snapshots made into bytes. Pure functions; nothing here reads anything.

pub mod bars;
pub mod budget;
pub mod columns;
mod cost;
#[cfg(test)]
mod golden;
mod grid;
mod in_flight;
pub mod json;
pub mod metrics;
mod not_shown;
pub mod origin;
pub(crate) mod paint;
pub mod rows;
pub mod shown;
pub mod syscalls;
pub mod table;
#[cfg(test)]
mod testing;
pub mod units;

use std::time::Duration;

use crate::{
    budget::Verdict,
    filter::Filter,
    model::{Cost, Grouping, Health, InFlight, Scope},
    present::rows::Row,
};
use origin::Origin;
use shown::{Hidden, Shown};

/// What `profiler stat` prints at once.
#[derive(Clone, Copy, Debug)]
pub struct Report<'a> {
    /// Where and when it was made.
    pub origin: &'a Origin,
    /// The rows that are shown, sorted.
    pub rows: &'a [Row],
    /// What the rows leave out.
    pub hidden: &'a Hidden,
    /// What the user wants to see.
    pub shown: &'a Shown,
    /// What makes a row.
    pub by: Grouping,
    /// The time that the rows are of.
    pub window: Duration,
    /// What was lost, and how full the tables are.
    pub health: &'a Health,
    /// Calls that have not returned at the end of it.
    pub in_flight: &'a InFlight,
    /// What the profiler itself cost, if that is to be printed.
    pub own: Option<OwnCost<'a>>,
    /// Which processes count,
    pub scope: &'a Scope,
    /// and what of them.
    pub filter: &'a Filter,
    /// How the run compares with its budget, if it has one.
    pub verdict: Option<&'a Verdict>,
    /// One as time passes, and not the last.
    pub more_follow: bool,
}

/// What the profiler itself cost within [`Report::window`].
#[derive(Clone, Copy, Debug)]
pub struct OwnCost<'a> {
    /// What was spent.
    pub spent: &'a Cost,
    /// CPUs of the host.
    pub cpus: usize,
}
