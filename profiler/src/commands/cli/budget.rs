//! Flags that limit what a run may do.

use std::path::PathBuf;

use clap::Args;

use crate::budget::Margin;

/// The limits of a run.
#[derive(Args, Debug, Clone, Default)]
pub struct BudgetArgs {
    /// Check the run against the limits in this TOML file, and exit with 10 if it does more
    ///
    /// The tables `total` and `syscalls.NAME` limit `calls`, `errors`, `errnos`, `denied`,
    /// `total_time`, `p99` and `max`. The list `forbidden` names syscalls that must not be made.
    /// `unlisted = "forbidden"` forbids all that have no table. The verdict goes to standard error, and to the field `budget`
    /// of JSON. If calls may be uncounted, the run is not within its budget.
    #[arg(long, value_name = "FILE", help_heading = "Budget")]
    pub budget: Option<PathBuf>,
    /// Write a budget that allows what this run does, and nothing more
    ///
    /// It has the calls and the errors of each syscall, and forbids all other syscalls. Times
    /// differ from run to run, so it has none without --time-margin.
    #[arg(long, value_name = "FILE", help_heading = "Budget")]
    pub write_budget: Option<PathBuf>,
    /// Limit times too in the budget that is written, to this much above those of the run
    ///
    /// Percent, for example 50%. It limits the total time and the p99 of each syscall.
    #[arg(long, value_name = "PERCENT", requires = "write_budget", help_heading = "Budget")]
    pub time_margin: Option<Margin>,
}
