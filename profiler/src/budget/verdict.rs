//! The result of comparing a run with its budget.

use crate::names::errnos::Errno;

/// The result of comparing a run with each limit of its budget.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Each limit, in the order of the budget.
    pub checks: Vec<Check>,
    /// Why the figures may be too low. `None` if they are exact.
    pub doubt: Option<Doubt>,
}

/// Why the figures of a run may be too low, so that the run may exceed more limits than they show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// Upper bound of the calls that no figure includes.
    Uncounted(u64),
    /// The profiler ended before the command.
    CutShort,
}

impl Verdict {
    /// The limits that the run exceeds.
    pub fn exceeded(&self) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(|check| check.is_exceeded())
    }

    /// Whether the run is within every limit, and its figures are exact.
    pub fn is_met(&self) -> bool {
        self.doubt.is_none() && self.exceeded().next().is_none()
    }
}

/// A limit, and the figure of the run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// The syscall, as the budget names it. `None` for all syscalls together.
    pub of: Option<String>,
    /// What is limited.
    pub limit: Limit,
    /// The limit: a count, or nanoseconds.
    pub allowed: u64,
    /// The figure of the run, in the same unit.
    pub found: u64,
}

impl Check {
    /// Whether the run exceeds the limit.
    pub fn is_exceeded(&self) -> bool {
        self.found > self.allowed
    }
}

/// What a budget limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Calls that entered.
    Calls,
    /// Calls that returned an errno.
    Errors,
    /// Calls that returned this errno.
    Errno(Errno),
    /// Calls that seccomp or a tracer denied.
    Denied,
    /// Wall time of all calls, nanoseconds.
    TotalTime,
    /// The latency that 99 % of the calls do not exceed, nanoseconds.
    P99,
    /// The longest latency, nanoseconds.
    Max,
    /// Calls that must not be made.
    Forbidden,
    /// Calls that the budget does not name and therefore forbids.
    Unlisted,
}

impl Limit {
    /// The key in the file and in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Calls => "calls",
            Self::Errors => "errors",
            Self::Errno(_) => "errno",
            Self::Denied => "denied",
            Self::TotalTime => "total_time",
            Self::P99 => "p99",
            Self::Max => "max",
            Self::Forbidden => "forbidden",
            Self::Unlisted => "unlisted",
        }
    }

    /// Whether the limit is a time in nanoseconds. Otherwise, it is a count.
    pub fn is_time(self) -> bool {
        matches!(self, Self::TotalTime | Self::P99 | Self::Max)
    }
}
