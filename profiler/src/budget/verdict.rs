//! How a run compares with its budget.

use crate::names::errnos::Errno;

/// How a run compares with each limit of its budget.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Each limit, in the order of the budget.
    pub checks: Vec<Check>,
    /// Why the run may have done more than its figures say; `None` if they are exact.
    pub doubt: Option<Doubt>,
}

/// Why the figures of a run may be too low, so that a limit that seems kept may not be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// So many calls may be in no figure, at most.
    Uncounted(u64),
    /// The profiler ended before the command.
    CutShort,
}

impl Verdict {
    /// The limits that the run exceeds.
    pub fn exceeded(&self) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(|check| check.is_exceeded())
    }

    /// Whether the run is within every limit, without a doubt.
    pub fn is_met(&self) -> bool {
        self.doubt.is_none() && self.exceeded().next().is_none()
    }
}

/// A limit, and what a run came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// The calls that the limit is about, as the budget names them; `None` for all calls.
    pub of: Option<String>,
    /// What is limited.
    pub limit: Limit,
    /// The most that is allowed. Nanoseconds, if the limit is one of time.
    pub allowed: u64,
    /// What the run came to, in the same unit.
    pub found: u64,
}

impl Check {
    /// Whether the run did more than is allowed.
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
    /// Its key in the file and in JSON.
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

    /// Whether it is a time in nanoseconds, and not a count.
    pub fn is_time(self) -> bool {
        matches!(self, Self::TotalTime | Self::P99 | Self::Max)
    }
}
