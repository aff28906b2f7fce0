//! Explains the differences between two counts of the same run, from other figures of that run.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, ensure};

use super::{
    ours::Counted,
    strace::{Summary, Traced},
};
use crate::report_json::Figures;

/// The calls that the child of strace or perf makes before its execve. The tool does not count
/// these calls. They are measured with a program that only ends: the profiler counts them in
/// addition.
#[derive(Debug)]
pub(super) struct Prelude {
    pub(super) calls: BTreeMap<String, u64>,
}

impl Prelude {
    pub(super) fn of_strace(counted: &Counted, traced: &Summary) -> Self {
        let more = counted.calls.iter().map(|(name, figures)| {
            let counted = figures.calls - figures.never_returned;
            (name.clone(), counted.saturating_sub(calls_of(traced, name).calls))
        });
        Self { calls: more.filter(|(_, calls)| *calls > 0).collect() }
    }

    /// # Errors
    /// If perf did not count exactly the one call of the program.
    pub(super) fn of_perf(counted: &Counted, entries: u64) -> Result<Self> {
        ensure!(entries == 1, "perf counted {entries} entries of a program that makes one");
        let calls = counted.calls.iter().filter(|(name, _)| *name != "exit_group");
        Ok(Self { calls: calls.map(|(name, figures)| (name.clone(), figures.calls)).collect() })
    }

    pub(super) fn total(&self) -> u64 {
        self.calls.values().sum()
    }

    fn of(&self, name: &str) -> u64 {
        self.calls.get(name).copied().unwrap_or_default()
    }
}

fn calls_of(traced: &Summary, name: &str) -> Traced {
    traced.calls.get(name).copied().unwrap_or_default()
}

/// A syscall that the profiler and strace count differently.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Difference {
    pub(super) name: String,
    /// Calls and errors, as counted by the profiler.
    pub(super) ours: (u64, u64),
    /// Calls and errors, as counted by strace.
    pub(super) theirs: (u64, u64),
    /// Calls that never returned. strace counts a call only when it returns.
    pub(super) never_returned: u64,
    /// Calls before the execve of the program.
    pub(super) prelude: u64,
    /// Calls that left because their thread was killed. strace cannot see such calls end.
    pub(super) killed: u64,
    /// Denied calls. strace counts them as calls.
    pub(super) denied: u64,
    /// Restarted calls. strace counts them as errors.
    pub(super) restarted: u64,
    /// Restored register values that strace counts as errors.
    pub(super) sigreturns: u64,
    /// Whether a part of the difference is unexplained.
    pub(super) unexplained: bool,
}

impl Difference {
    /// Compares the counts of a syscall. `None` if they are equal.
    fn new(name: &str, ours: &Figures, theirs: Traced, prelude: u64) -> Option<Self> {
        if (ours.calls, ours.errors) == (theirs.calls, theirs.errors) {
            return None;
        }
        let never_returned = ours.never_returned + ours.in_flight;
        let left = (ours.calls + ours.denied).checked_sub(prelude + never_returned);
        let killed = left.and_then(|left| left.checked_sub(theirs.calls));
        // A call of a killed thread leaves with a restart code, so the profiler counts it as
        // restarted.
        let calls_agree = killed.is_some_and(|killed| killed <= ours.restarted);
        let killed = killed.unwrap_or_default().min(ours.restarted);
        let restarted = ours.restarted - killed;
        let errors = ours.errors + ours.denied + restarted;
        // `rt_sigreturn` returns to the interrupted code, so the register does not have a result.
        let sigreturns = match (name, theirs.errors.checked_sub(errors)) {
            ("rt_sigreturn", Some(more)) => Some(more),
            (_, more) => more.filter(|&more| more == 0),
        };
        Some(Self {
            name: name.to_owned(),
            ours: (ours.calls, ours.errors),
            theirs: (theirs.calls, theirs.errors),
            never_returned,
            prelude,
            killed,
            denied: ours.denied,
            restarted,
            sigreturns: sigreturns.unwrap_or_default(),
            unexplained: !calls_agree || sigreturns.is_none(),
        })
    }
}

/// Seconds in calls that both tools counted completely. Excludes each syscall in which a thread was
/// killed, because strace does not see the end of such a call.
#[derive(Default)]
pub(super) struct Times {
    pub(super) ours: f64,
    pub(super) theirs: f64,
    pub(super) calls: u64,
}

/// The comparison of a run with strace.
pub(super) struct WithStrace {
    pub(super) ours: Figures,
    pub(super) theirs: Traced,
    pub(super) processes: usize,
    pub(super) threads: u64,
    pub(super) killed_threads: u64,
    /// Number of different syscalls that either tool counted.
    pub(super) names: usize,
    pub(super) times: Times,
    pub(super) differences: Vec<Difference>,
}

impl WithStrace {
    pub(super) fn new(counted: &Counted, traced: &Summary, prelude: &Prelude) -> Self {
        let names: BTreeSet<_> = counted.calls.keys().chain(traced.calls.keys()).collect();
        let mut differences = Vec::new();
        let mut times = Times::default();
        for &name in &names {
            let ours = counted.calls.get(name).copied().unwrap_or_default();
            let theirs = calls_of(traced, name);
            let difference = Difference::new(name, &ours, theirs, prelude.of(name));
            if difference.as_ref().is_none_or(|difference| difference.killed == 0) {
                times.ours += ours.total_ns as f64 / 1e9;
                times.theirs += theirs.seconds;
                times.calls += theirs.calls;
            }
            differences.extend(difference);
        }
        Self {
            ours: counted.total(),
            theirs: traced.total(),
            processes: counted.processes,
            threads: counted.threads(),
            killed_threads: counted.killed_threads(),
            names: names.len(),
            times,
            differences,
        }
    }

    pub(super) fn sum(&self, of: impl Fn(&Difference) -> u64) -> u64 {
        self.differences.iter().map(of).sum()
    }

    /// Whether each difference is explained, and the number of killed threads is plausible.
    pub(super) fn is_explained(&self) -> bool {
        self.differences.iter().all(|difference| !difference.unexplained)
            && self.sum(|difference| difference.killed) <= self.killed_threads
    }
}

/// The comparison of a run with perf.
pub(super) struct WithPerf {
    pub(super) ours: u64,
    pub(super) theirs: u64,
    pub(super) prelude: u64,
}

impl WithPerf {
    pub(super) fn new(counted: &Counted, entries: u64, prelude: &Prelude) -> Self {
        Self { ours: counted.total().calls, theirs: entries, prelude: prelude.total() }
    }

    pub(super) fn is_explained(&self) -> bool {
        self.ours == self.theirs + self.prelude
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(calls: u64) -> Figures {
        Figures { calls, returned: calls, ..Figures::default() }
    }

    fn traced(calls: u64, errors: u64) -> Traced {
        Traced { calls, errors, seconds: 0.0 }
    }

    fn unexplained(name: &str, ours: Figures, theirs: Traced, prelude: u64) -> bool {
        Difference::new(name, &ours, theirs, prelude).expect("a difference").unexplained
    }

    #[test]
    fn what_agrees_is_no_difference() {
        assert_eq!(Difference::new("read", &figures(3), traced(3, 0), 0), None);
    }

    #[test]
    fn each_class_explains_as_much_as_it_is() {
        assert!(!unexplained("read", figures(5), traced(3, 0), 2));
        assert!(unexplained("read", figures(5), traced(3, 0), 1));
        assert!(unexplained("read", figures(5), traced(3, 0), 3));
        let ended = Figures { returned: 0, never_returned: 5, ..figures(5) };
        assert!(!unexplained("exit_group", ended, traced(0, 0), 0));
        let broken = Figures { returned: 3, restarted: 2, ..figures(5) };
        assert!(!unexplained("futex", broken, traced(5, 2), 0), "restarted");
        assert!(!unexplained("futex", broken, traced(4, 1), 0), "one killed");
        assert!(unexplained("futex", broken, traced(4, 2), 0));
        assert!(unexplained("futex", broken, traced(2, 0), 0), "three calls of two killed threads");
        assert!(unexplained("futex", broken, traced(6, 2), 0), "strace counts more calls");
    }

    #[test]
    fn only_a_sigreturn_has_errors_that_are_none() {
        assert!(!unexplained("rt_sigreturn", figures(5), traced(5, 2), 0));
        assert!(unexplained("read", figures(5), traced(5, 2), 0));
    }

    #[test]
    fn perf_counts_all_but_the_prelude() {
        let prelude = Prelude { calls: [("read".to_owned(), 2)].into() };
        let calls = [("read".to_owned(), figures(7))].into();
        let counted = Counted { calls, processes: 1 };
        assert!(WithPerf::new(&counted, 5, &prelude).is_explained());
        assert!(!WithPerf::new(&counted, 6, &prelude).is_explained());
    }
}
