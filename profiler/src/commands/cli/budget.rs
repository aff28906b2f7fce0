//! Flags that limit what a run may do.

use std::path::PathBuf;

use clap::Args;

use crate::budget::Margin;

/// The limits of a run.
#[derive(Args, Debug, Clone, Default)]
pub struct BudgetArgs {
    /// Check the run against the limits in this TOML file, and exit with 10 if it exceeds one
    ///
    /// The tables `total` and `syscalls.NAME` limit `calls`, `errors`, `errnos`, `denied`,
    /// `total_time`, `p99` and `max`. The list `forbidden` names syscalls that must not be made.
    /// `unlisted = "forbidden"` forbids all syscalls that the file does not name. The verdict goes
    /// to standard error, and to the field `budget` of JSON. If calls may be uncounted, the run is
    /// not within its budget.
    #[arg(long, value_name = "FILE", help_heading = "Budget")]
    pub budget: Option<PathBuf>,
    /// Write a budget that allows the calls of this run, and no more
    ///
    /// The file limits the calls and the errors of each syscall, and forbids all other syscalls.
    /// Times differ from run to run, so the file limits times only with --time-margin.
    #[arg(long, value_name = "FILE", help_heading = "Budget")]
    pub write_budget: Option<PathBuf>,
    /// Also write limits for times, this much above the times of the run
    ///
    /// A percentage, for example 50%. The limits apply to the total time and the p99 of each
    /// syscall. Requires --write-budget.
    #[arg(long, value_name = "PERCENT", requires = "write_budget", help_heading = "Budget")]
    pub time_margin: Option<Margin>,
}
