//! Budgets: limits on the calls, errors and times of a run.
//!
//! A [`Budget`] comes from a file or from an earlier run. At the end of a run, [`Budget::check`]
//! compares the run with the budget and returns a [`Verdict`].

mod file;
mod made;
mod verdict;

use std::{collections::BTreeMap, time::Duration};

use profiler_common::call::CallKey;

use crate::{
    filter::{CallPattern, Calls},
    model::{CallRow, Figures, Health, nanoseconds},
    names::errnos::Errno,
};
pub use made::{InvalidMargin, Margin};
pub use verdict::{Check, Doubt, Limit, Verdict};

/// Limits for a run. A run exceeds a limit if its figure is greater than the limit.
#[derive(Clone, Debug, Default)]
pub struct Budget {
    /// Limits on all calls together.
    total: Limits,
    /// Limits on the calls that match each pattern, together.
    syscalls: Vec<(CallPattern, Limits)>,
    /// Syscalls that must not be made, whether denied or not.
    forbidden: Vec<CallPattern>,
    /// What applies to syscalls that no pattern of the budget matches.
    unlisted: Unlisted,
}

/// Whether syscalls that the budget does not name are allowed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Unlisted {
    /// They are allowed.
    #[default]
    Allowed,
    /// They are forbidden.
    Forbidden,
}

/// Limits on some calls. `None` means no limit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Limits {
    /// Calls that entered.
    calls: Option<u64>,
    /// Calls that returned an errno.
    errors: Option<u64>,
    /// Calls that returned each errno.
    errnos: BTreeMap<Errno, u64>,
    /// Calls that seccomp or a tracer denied.
    denied: Option<u64>,
    /// Wall time of all calls.
    total_time: Option<Duration>,
    /// The latency that 99 % of the calls do not exceed.
    p99: Option<Duration>,
    /// The longest latency.
    max: Option<Duration>,
}

impl Limits {
    /// Compares `figures` with each limit.
    fn checks(&self, of: Option<&str>, figures: &Figures) -> Vec<Check> {
        let mut checks = Vec::new();
        let mut check = |limit, allowed: Option<u64>, found: u64| {
            if let Some(allowed) = allowed {
                checks.push(Check { of: of.map(str::to_owned), limit, allowed, found });
            }
        };
        let nanos = |limit: Option<Duration>| limit.map(nanoseconds);
        check(Limit::Calls, self.calls, figures.calls);
        check(Limit::Errors, self.errors, figures.errors);
        for (&errno, &allowed) in &self.errnos {
            let found = figures.errnos.iter().find(|&&(number, _)| number == errno.number());
            check(Limit::Errno(errno), Some(allowed), found.map_or(0, |&(_, count)| count));
        }
        check(Limit::Denied, self.denied, figures.denied);
        check(Limit::TotalTime, nanos(self.total_time), figures.estimated_total_ns());
        check(Limit::P99, nanos(self.p99), figures.quantiles([0.99])[0]);
        check(Limit::Max, nanos(self.max), figures.max_ns());
        checks
    }

    fn has_times(&self) -> bool {
        self.total_time.is_some() || self.p99.is_some() || self.max.is_some()
    }
}

/// Calls that entered, and denied calls, which never enter.
fn was_made(figures: &Figures) -> u64 {
    figures.calls + figures.denied
}

impl Budget {
    /// Compares the figures of `calls` since the start with the budget.
    pub fn check(&self, calls: &[CallRow], health: &Health) -> Verdict {
        let sum = |includes: &dyn Fn(CallKey) -> bool| -> Figures {
            calls.iter().filter(|row| includes(row.key)).map(|row| &row.total).collect()
        };
        let mut checks = self.total.checks(None, &sum(&|_| true));
        for (pattern, limits) in &self.syscalls {
            let figures = sum(&|key| pattern.names(key));
            checks.extend(limits.checks(Some(&pattern.to_string()), &figures));
        }
        for pattern in &self.forbidden {
            let found = was_made(&sum(&|key| pattern.names(key)));
            let of = Some(pattern.to_string());
            checks.push(Check { of, limit: Limit::Forbidden, allowed: 0, found });
        }
        if self.unlisted == Unlisted::Forbidden {
            let is_listed = |key| self.patterns().any(|pattern| pattern.names(key));
            let unlisted =
                calls.iter().filter(|row| was_made(&row.total) > 0 && !is_listed(row.key));
            checks.extend(unlisted.map(|row| Check {
                of: Some(made::pattern_of(row.key, calls)),
                limit: Limit::Unlisted,
                allowed: 0,
                found: was_made(&row.total),
            }));
        }
        let uncounted = health.lost() + health.unseen;
        Verdict { checks, doubt: (uncounted > 0).then_some(Doubt::Uncounted(uncounted)) }
    }

    fn patterns(&self) -> impl Iterator<Item = &CallPattern> {
        self.syscalls.iter().map(|(pattern, _)| pattern).chain(&self.forbidden)
    }

    /// The first pattern whose syscalls are all excluded by `counting`. A run could never exceed
    /// its limits.
    pub fn first_left_out(&self, counting: &Calls) -> Option<&CallPattern> {
        self.patterns().find(|pattern| !pattern.is_counted_by(counting))
    }

    /// Whether the budget limits times.
    pub fn has_times(&self) -> bool {
        self.total.has_times() || self.syscalls.iter().any(|(_, limits)| limits.has_times())
    }
}

#[cfg(test)]
mod tests;
