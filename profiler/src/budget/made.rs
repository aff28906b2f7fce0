//! Creates a budget from a run.

use std::{collections::BTreeMap, str::FromStr, time::Duration};

use profiler_common::call::{Abi, CallKey};

use super::{Budget, Limits, Unlisted, was_made};
use crate::{
    filter::CallPattern,
    model::{CallRow, Figures},
    names::{errnos::Errno, syscalls},
};

/// By how much the times of later runs may exceed those of the measured run, percent: 0 to 10,000.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Margin(u32);

/// The text is not a valid [`Margin`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a whole number of percent from 0 to 10000, for example 50%")]
pub struct InvalidMargin;

impl FromStr for Margin {
    type Err = InvalidMargin;

    fn from_str(text: &str) -> Result<Self, InvalidMargin> {
        let number = text.strip_suffix('%').unwrap_or(text);
        let percent = number.parse().ok().filter(|percent| *percent <= 10_000);
        percent.map(Self).ok_or(InvalidMargin)
    }
}

impl Margin {
    fn above(self, ns: u64) -> Duration {
        let with_margin = u128::from(ns) * u128::from(100 + self.0) / 100;
        Duration::from_nanos(u64::try_from(with_margin).unwrap_or(u64::MAX))
    }
}

impl Budget {
    /// Creates a budget with the calls and errnos of each syscall in the run as limits. All other
    /// syscalls are forbidden. With a margin, the budget also limits the total time and the p99 of
    /// each syscall.
    pub fn of_run(calls: &[CallRow], margin: Option<Margin>) -> Self {
        let mut by_name: BTreeMap<String, Figures> = BTreeMap::new();
        for row in calls.iter().filter(|row| was_made(&row.total) > 0) {
            by_name.entry(pattern_of(row.key, calls)).or_default().merge(&row.total);
        }
        let limits = |(name, figures): (String, Figures)| {
            let pattern: CallPattern = name.parse().expect("a name of the tables is a pattern");
            (pattern, limits(&figures, margin))
        };
        Self {
            total: Limits::default(),
            syscalls: by_name.into_iter().map(limits).collect(),
            forbidden: Vec::new(),
            unlisted: Unlisted::Forbidden,
        }
    }
}

/// A pattern that matches only this syscall of the run. The pattern has no ABI if the ABI is
/// x86_64, and the run has no syscall of the same name on another ABI.
pub(super) fn pattern_of(key: CallKey, calls: &[CallRow]) -> String {
    let name = syscalls::name(key);
    let is_namesake = |row: &CallRow| row.key.abi() != key.abi() && syscalls::name(row.key) == name;
    if key.abi() == Some(Abi::X86_64) && !calls.iter().any(is_namesake) {
        return name.to_owned();
    }
    syscalls::name_in_abi(key)
}

fn limits(figures: &Figures, margin: Option<Margin>) -> Limits {
    let errnos = figures
        .errnos
        .iter()
        .filter_map(|&(number, count)| Errno::from_number(number).map(|errno| (errno, count)));
    let margin = margin.filter(|_| figures.timed() > 0);
    Limits {
        calls: Some(figures.calls),
        errors: Some(figures.errors),
        errnos: errnos.collect(),
        denied: Some(figures.denied),
        total_time: margin.map(|margin| margin.above(figures.estimated_total_ns())),
        p99: margin.map(|margin| margin.above(figures.quantiles([0.99])[0])),
        max: None,
    }
}
