//! Reads the counts of the profiler from its JSON.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, ensure};

use crate::report_json::{Figures, Report};

/// The calls of a program's processes, by name.
#[derive(Default, Debug)]
pub(super) struct Counted {
    pub(super) calls: BTreeMap<String, Figures>,
    pub(super) processes: usize,
}

/// Syscalls that create a thread or a process each time they succeed.
const BIRTHS: [&str; 4] = ["clone", "clone3", "fork", "vfork"];

/// Syscalls that end the calling thread.
const DEATHS: [&str; 2] = ["exit", "exit_group"];

impl Counted {
    /// Adds up the calls of all processes, except those named `tool`, the tool that counts the same
    /// run. A process is known by its last name, so the child of `tool` is part of the program.
    ///
    /// # Errors
    /// If the report is not exact.
    pub(super) fn parse(json: &str, tool: &str) -> Result<Self> {
        let mut counted = Self::default();
        let mut pids = BTreeSet::new();
        for row in
            Report::parse(json)?.rows.into_iter().filter(|row| row.comm.as_deref() != Some(tool))
        {
            let abi = row.abi.as_deref().unwrap_or("no ABI");
            ensure!(
                abi == "x86_64",
                "the program made {} with the ABI {abi}: only x86_64 can be compared",
                row.syscall
            );
            pids.extend(row.pid);
            counted.calls.entry(row.syscall).or_default().add(&row.figures);
        }
        counted.processes = pids.len();
        Ok(counted)
    }

    pub(super) fn total(&self) -> Figures {
        let mut total = Figures::default();
        self.calls.values().for_each(|figures| total.add(figures));
        total
    }

    fn sum(&self, names: &[&str], of: impl Fn(&Figures) -> u64) -> u64 {
        names.iter().filter_map(|&name| self.calls.get(name)).map(of).sum()
    }

    /// Returns the number of threads: the first thread, and one for each successful call that
    /// creates a thread.
    pub(super) fn threads(&self) -> u64 {
        1 + self.sum(&BIRTHS, |f| f.returned - f.errors)
    }

    /// Returns the number of threads that an `exit_group`, an `execve` or a signal killed.
    pub(super) fn killed_threads(&self) -> u64 {
        self.threads().saturating_sub(self.sum(&DEATHS, |f| f.never_returned))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(pid: u32, comm: &str, syscall: &str, calls: u64, never_returned: u64) -> String {
        format!(
            r#"{{"pid":{pid},"comm":"{comm}","abi":"x86_64","syscall":"{syscall}","calls":{calls},
            "returned":{},"restarted":0,"errors":0,"never_returned":{never_returned},
            "in_flight":0,"denied":0,"total_ns":{calls}}}"#,
            calls - never_returned
        )
    }

    fn report(lost: u64, rows: &[String]) -> String {
        format!(r#"{{"lost":{lost},"overflowed":0,"breaches":0,"rows":[{}]}}"#, rows.join(","))
    }

    #[test]
    fn the_tool_s_own_calls_are_left_out() {
        let rows = [row(1, "strace", "read", 9, 0), row(2, "sh", "read", 3, 0)];
        let counted = Counted::parse(&report(0, &rows), "strace").expect("a report");
        assert_eq!((counted.total().calls, counted.processes), (3, 1));
    }

    #[test]
    fn threads_that_did_not_end_of_themselves_were_killed() {
        let rows = [
            row(2, "sh", "clone3", 4, 0),
            row(2, "sh", "vfork", 1, 0),
            row(2, "sh", "exit", 1, 1),
            row(2, "sh", "exit_group", 2, 2),
        ];
        let counted = Counted::parse(&report(0, &rows), "strace").expect("a report");
        assert_eq!((counted.threads(), counted.killed_threads()), (6, 3));
    }

    #[test]
    fn what_is_not_exact_is_not_compared() {
        assert!(Counted::parse(&report(1, &[]), "strace").is_err());
    }
}
