//! Flags that choose which of the counted figures are shown.

use clap::Args;

use super::candidates;
use crate::{model::SortKey, names::errnos::Errno, present::shown::Shown};

/// Which figures `stat` shows. Totals and counts stay complete.
#[derive(Args, Debug, Clone, Default)]
pub struct ShownArgs {
    /// Add the errors by name to the table
    ///
    /// For example, `ENOENT 240, EACCES 5`: the most frequent error is first. `other` means errors
    /// that have no counter of their own. On a terminal, the errors are in a line below their row.
    /// JSON always has the errors, in `errnos`.
    #[arg(long, help_heading = "Shown")]
    pub show_errno: bool,
    /// Show only rows that have an error or a denied call
    ///
    /// The headline still counts all calls. The table and the JSON field `hidden` say how much is
    /// not shown.
    #[arg(long, help_heading = "Shown")]
    pub failed: bool,
    /// Show only rows that have one of these errors
    ///
    /// Names or numbers, separated by commas. Example: --errno ENOENT,EACCES
    #[arg(long, value_name = "ERRNO", value_delimiter = ',', add = candidates::errnos(), help_heading = "Shown")]
    pub errno: Vec<Errno>,
    /// Hide syscalls that wait by nature, such as futex, nanosleep and epoll_wait
    ///
    /// A call that waits by nature lasts as long as its program wants. The headline still counts
    /// these calls. The table and the JSON field `hidden` say how much is not shown.
    #[arg(long, help_heading = "Shown")]
    pub no_waits: bool,
    /// Add the latency histogram to each row of JSON
    ///
    /// The field `buckets` lists the buckets that are not empty. Each has `lower_ns` (exclusive),
    /// `upper_ns` (inclusive; null for the last bucket) and `count`. Requires --format json.
    #[arg(long, help_heading = "Shown")]
    pub buckets: bool,
}

impl ShownArgs {
    /// The selection that these flags make, in the order of `sort`.
    pub fn shown(&self, sort: Option<SortKey>) -> Shown {
        Shown {
            sort,
            failed: self.failed,
            errnos: self.errno.clone(),
            no_waits: self.no_waits,
            show_errno: self.show_errno,
            buckets: self.buckets,
        }
    }
}
