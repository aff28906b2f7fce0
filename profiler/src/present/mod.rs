//! Renders snapshots as tables, JSON and metrics. Pure functions: nothing here does I/O.

pub mod bars;
pub mod budget;
pub mod columns;
mod cost;
mod errors;
pub mod explain;
pub mod failures;
pub mod flame;
#[cfg(test)]
mod golden;
mod grid;
mod in_flight;
pub mod json;
mod key;
pub mod metrics;
mod not_shown;
pub mod operations;
pub mod origin;
pub(crate) mod paint;
mod place;
pub mod rows;
pub mod seccomp;
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
    model::{Cost, Coverage, FailureCoverage, Grouping, Health, InFlight, Scope},
    present::rows::Row,
    text::Untrusted,
};
use failures::FailureSum;
use operations::OperationSum;
use origin::Origin;
use shown::{Hidden, Shown};

/// A report of `profiler stat`, at the end or for an interval.
#[derive(Clone, Copy, Debug)]
pub struct Report<'a> {
    /// Where and when the report was made.
    pub origin: &'a Origin,
    /// The rows that are shown, sorted.
    pub rows: &'a [Row],
    /// The sum of the rows that are not shown.
    pub hidden: &'a Hidden,
    /// Which rows are shown.
    pub shown: &'a Shown,
    /// The dimensions of the key of each row.
    pub by: Grouping,
    /// The time that the figures cover.
    pub window: Duration,
    /// What was lost, and how full the tables are.
    pub health: &'a Health,
    /// Calls in flight at the end of that time.
    pub in_flight: &'a InFlight,
    /// Operations of io_uring, sorted.
    pub operations: &'a [OperationSum],
    /// Whether operations of io_uring are counted.
    pub coverage: &'a Coverage,
    /// On what calls failed, sorted, with `--show-paths`.
    pub failures: &'a [FailureSum],
    /// Whether that is noted.
    pub failure_coverage: FailureCoverage,
    /// The security modules in force; `None` if the kernel does not say.
    pub security_modules: Option<&'a [Untrusted]>,
    /// The profiler's own cost, with `--self`.
    pub own: Option<OwnCost<'a>>,
    /// Which processes are counted.
    pub scope: &'a Scope,
    /// Which of their calls are counted.
    pub filter: &'a Filter,
    /// How the run compares with its budget, if it has one.
    pub verdict: Option<&'a Verdict>,
    /// Whether further intervals follow.
    pub more_follow: bool,
}

/// The profiler's own cost within [`Report::window`].
#[derive(Clone, Copy, Debug)]
pub struct OwnCost<'a> {
    /// The cost.
    pub spent: &'a Cost,
    /// The number of CPUs of the host.
    pub cpus: usize,
}
