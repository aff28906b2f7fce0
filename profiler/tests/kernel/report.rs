//! Parses the JSON of `profiler stat`, and checks properties of every report.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::{
    own_cost::Own,
    workload::{Calls, Made, Statement},
};

/// A report. Only [`parse`](Self::parse) creates a report, so every report is checked.
#[derive(Deserialize, Debug)]
#[serde(deny_unknown_fields)]
pub(crate) struct Report {
    schema: u32,
    pub(crate) host: Option<String>,
    pub(crate) version: String,
    pub(crate) command: Option<Vec<String>>,
    pub(crate) start: String,
    pub(crate) end: String,
    pub(crate) window_ns: u64,
    pub(crate) lost: u64,
    lost_unseen: u64,
    pub(crate) overflowed: u64,
    /// With `--where`: returns to a CPU that the kernel did not report.
    #[serde(default)]
    pub(crate) unreported_returns: u64,
    /// Upper bound of the time off the CPU before these returns.
    #[serde(default)]
    pub(crate) unreported_ns: u64,
    pub(crate) breaches: u64,
    #[serde(default)]
    last_breach: String,
    pub(crate) timed_one_in: Option<u32>,
    /// With `--sample auto`.
    pub(crate) timed_per_second: Option<u32>,
    pub(crate) scope: serde_json::Value,
    pub(crate) rows: Vec<Row>,
    /// The sum of the rows that are not shown; only with a filter of rows.
    pub(crate) hidden: Option<Hidden>,
    pub(crate) in_flight: Vec<InFlight>,
    pub(crate) in_flight_by_kind: BTreeMap<String, u64>,
    /// How many of these entered before the attach. `None` if unknown.
    pub(crate) in_flight_before: Option<u64>,
    /// Operations of io_uring. `None` if they are not counted.
    pub(crate) io_uring: Option<Vec<Operation>>,
    /// Why operations are not counted.
    pub(crate) io_uring_missing: Option<String>,
    /// On what calls failed, with `--show-paths`.
    pub(crate) failing: Option<Vec<Failing>>,
    /// Why it is not known which capability was missing.
    pub(crate) reasons_missing: Option<String>,
    /// The security modules in force.
    pub(crate) security_modules: Option<Vec<String>>,
    /// What the profiler itself cost, with `--self`.
    #[serde(rename = "self")]
    pub(crate) own: Option<Own>,
}

/// The sum of the rows that are not shown.
#[derive(Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub(crate) struct Hidden {
    pub(crate) rows: usize,
    pub(crate) calls: u64,
    pub(crate) errors: u64,
    pub(crate) denied: u64,
    pub(crate) in_flight: u64,
    pub(crate) estimated_total_ns: u64,
    /// The part that waits by nature, with `--no-waits`.
    pub(crate) waits: Option<Box<Hidden>>,
}

/// The failures of a syscall with an errno.
#[derive(Deserialize, Debug, Clone)]
#[serde(deny_unknown_fields)]
pub(crate) struct Failing {
    pub(crate) pid: Option<u32>,
    #[expect(dead_code, reason = "the field is checked to be there")]
    pub(crate) comm: String,
    pub(crate) abi: String,
    pub(crate) syscall: String,
    #[expect(dead_code, reason = "the field is checked to be there")]
    pub(crate) nr: i64,
    pub(crate) errno: Option<String>,
    pub(crate) denied: bool,
    pub(crate) calls: u64,
    pub(crate) not_listed: u64,
    pub(crate) targets: Vec<FailingTarget>,
}

/// How often calls failed on a target.
#[derive(Deserialize, Debug, Clone)]
#[serde(deny_unknown_fields)]
pub(crate) struct FailingTarget {
    pub(crate) target: Option<String>,
    pub(crate) kind: Option<String>,
    /// The errno of denied calls.
    #[expect(dead_code, reason = "the field is checked to be there")]
    pub(crate) errno: Option<String>,
    pub(crate) reason: Option<String>,
    pub(crate) capability: Option<String>,
    pub(crate) calls: u64,
    pub(crate) at_most_more: u64,
}

/// A bucket of a latency histogram.
#[derive(Deserialize, Debug, Clone, Copy)]
#[serde(deny_unknown_fields)]
pub(crate) struct Bucket {
    /// Exclusive.
    pub(crate) lower_ns: u64,
    /// Inclusive; `None` for the last bucket.
    pub(crate) upper_ns: Option<u64>,
    pub(crate) count: u64,
}

#[derive(Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub(crate) struct InFlight {
    pub(crate) age_ns: u64,
    pub(crate) at_least: bool,
    pub(crate) pid: Option<u32>,
    pub(crate) tid: u32,
    pub(crate) comm: String,
    pub(crate) abi: String,
    pub(crate) syscall: String,
    pub(crate) nr: i64,
    pub(crate) kind: String,
}

/// Operations of io_uring of one opcode.
#[derive(Deserialize, Debug, Clone)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "the fields are checked to be there")]
pub(crate) struct Operation {
    pub(crate) pid: Option<u32>,
    pub(crate) comm: Option<String>,
    pub(crate) operation: Option<String>,
    pub(crate) opcode: Option<u8>,
    pub(crate) submitted: u64,
    pub(crate) completed: u64,
    pub(crate) errors: u64,
    pub(crate) errnos: BTreeMap<String, u64>,
    pub(crate) in_flight: u64,
    pub(crate) posted: u64,
    pub(crate) overflowed: u64,
    pub(crate) unmatched: u64,
    pub(crate) silent: u64,
    pub(crate) unreported: u64,
    pub(crate) timed: u64,
    pub(crate) total_ns: u64,
    pub(crate) mean_ns: u64,
    pub(crate) p50_ns: u64,
    pub(crate) p90_ns: u64,
    pub(crate) p99_ns: u64,
    pub(crate) p999_ns: u64,
    /// With `--buckets`.
    pub(crate) buckets: Option<Vec<Bucket>>,
}

#[derive(Deserialize, Debug, Clone)]
#[serde(deny_unknown_fields)]
pub(crate) struct Row {
    pub(crate) pid: Option<u32>,
    /// With `--by thread`.
    pub(crate) thread: Option<u32>,
    pub(crate) comm: Option<String>,
    /// With `--by thread`.
    pub(crate) process_comm: Option<String>,
    /// With `--by user`.
    pub(crate) user: Option<String>,
    /// With `--by cgroup`.
    pub(crate) cgroup: Option<String>,
    /// With `--by unit`.
    pub(crate) unit: Option<serde_json::Value>,
    /// With `--by container`.
    pub(crate) container: Option<serde_json::Value>,
    /// With `--by pod`.
    pub(crate) pod: Option<serde_json::Value>,
    pub(crate) abi: Option<String>,
    pub(crate) syscall: Option<String>,
    pub(crate) nr: Option<i64>,
    pub(crate) calls: u64,
    pub(crate) timed: u64,
    pub(crate) errors: u64,
    pub(crate) errnos: BTreeMap<String, u64>,
    pub(crate) total_ns: u64,
    pub(crate) estimated_total_ns: u64,
    /// With `--where`.
    pub(crate) on_cpu_ns: Option<u64>,
    /// With `--where`.
    pub(crate) waiting_ns: Option<u64>,
    /// With `--where`.
    pub(crate) runnable_ns: Option<u64>,
    pub(crate) min_ns: u64,
    pub(crate) mean_ns: u64,
    pub(crate) p50_ns: u64,
    pub(crate) p90_ns: u64,
    pub(crate) p99_ns: u64,
    pub(crate) p999_ns: u64,
    pub(crate) max_ns: u64,
    /// Present if some calls were timed, but not all.
    pub(crate) rank_error: Option<f64>,
    pub(crate) returned: u64,
    pub(crate) restarted: u64,
    pub(crate) denied: u64,
    pub(crate) never_returned: u64,
    pub(crate) lost: u64,
    pub(crate) in_flight: u64,
    /// With `--buckets`.
    pub(crate) buckets: Option<Vec<Bucket>>,
}

impl Row {
    /// ABI and name, in the form of a statement.
    pub(crate) fn name(&self) -> Option<String> {
        Some(format!("{}/{}", self.abi.as_ref()?, self.syscall.as_ref()?))
    }

    /// Whether the row is `(overflow)`.
    fn is_of_overflow(&self) -> bool {
        self.comm.as_deref() == Some("(overflow)")
    }

    /// The figures in the form of a statement.
    pub(crate) fn made(&self) -> Made {
        Made {
            calls: self.calls,
            errnos: self.errnos.clone(),
            restarted: self.restarted,
            never_returned: self.never_returned,
            denied: self.denied,
        }
    }

    /// The time on a CPU, waiting and runnable, with `--where`.
    pub(crate) fn parts(&self) -> Option<[u64; 3]> {
        Some([self.on_cpu_ns?, self.waiting_ns?, self.runnable_ns?])
    }

    /// Checks properties of every row, including rows of an interval, at whose ends calls are in
    /// flight.
    #[track_caller]
    fn check_of_interval(&self, has_weights: bool) {
        assert_eq!(self.errnos.values().sum::<u64>(), self.errors, "errors by errno: {self:#?}");
        if let Some(parts) = self.parts() {
            assert_eq!(parts.iter().sum::<u64>(), self.total_ns, "the parts add up: {self:#?}");
        }
        let ascending =
            [self.min_ns, self.p50_ns, self.p90_ns, self.p99_ns, self.p999_ns, self.max_ns];
        assert!(ascending.is_sorted(), "quantiles ascend within the extremes: {self:#?}");
        // The row `(overflow)` also has single errnos of calls that are in other rows.
        let is_return = self.errors <= self.returned || self.is_of_overflow();
        assert!(is_return, "an error is a return: {self:#?}");
        if self.timed == 0 {
            assert_eq!((self.total_ns, self.max_ns), (0, 0), "no call, no time: {self:#?}");
            return;
        }
        let left = self.returned + self.restarted;
        assert_eq!(self.rank_error.is_some(), self.timed != left, "a sample: {self:#?}");
        if !has_weights || self.timed == left {
            assert_eq!(self.mean_ns, self.total_ns / self.timed, "the mean of the sum: {self:#?}");
        }
        let extremes = self.min_ns..=self.max_ns;
        assert!(extremes.contains(&self.mean_ns), "the mean is between them: {self:#?}");
    }

    /// Checks properties of every row of a whole run.
    #[track_caller]
    fn check(&self, has_weights: bool) {
        self.check_of_interval(has_weights);
        assert_eq!(
            self.calls,
            self.returned + self.restarted + self.never_returned + self.lost + self.in_flight,
            "the law: {self:#?}"
        );
        let timed = self.timed;
        if timed == 0 {
            return;
        }
        let left = u128::from(self.returned + self.restarted);
        let scaled = u128::from(self.total_ns) * left / u128::from(timed);
        if !has_weights || u128::from(timed) == left {
            assert_eq!(u128::from(self.estimated_total_ns), scaled, "the estimate: {self:#?}");
        }
        // The sum is at least all calls but one at the minimum and one at the maximum, and at most
        // the reverse.
        let others = timed - 1;
        assert!(self.total_ns >= self.max_ns + others * self.min_ns, "the sum: {self:#?}");
        assert!(self.total_ns <= self.min_ns + others * self.max_ns, "the sum: {self:#?}");
    }
}

impl Report {
    /// Parses a report and checks the properties of every report.
    #[track_caller]
    pub(crate) fn parse(json: &str) -> Self {
        let report = Self::parse_interval(json);
        let has_weights = report.timed_per_second.is_some();
        report.rows.iter().for_each(|row| row.check(has_weights));
        // Calls in flight are counted in two ways: as entries without an exit, and thread by
        // thread. Calls that entered before the attach have no entry.
        assert_eq!(
            report.rows.iter().map(|row| row.in_flight).sum::<u64>()
                + report.hidden.as_ref().map_or(0, |hidden| hidden.in_flight)
                + report.in_flight_before.unwrap_or(0),
            report.in_flight_by_kind.values().sum::<u64>(),
            "calls in flight: {report:#?}"
        );
        report
    }

    /// Parses the report of an interval and checks it.
    #[track_caller]
    pub(crate) fn parse_interval(json: &str) -> Self {
        let report: Self = serde_json::from_str(json)
            .unwrap_or_else(|error| panic!("{error} in what should be JSON: {json:?}"));
        assert_eq!(report.schema, 1);
        assert!(report.window_ns > 0);
        if !kernel_skips_programs() {
            assert_eq!((report.lost, report.lost_unseen), (0, 0), "calls were lost");
        } else if report.loss() > 0 {
            println!("{LOST} {} or fewer calls", report.loss());
        }
        assert_eq!(
            report.breaches, 0,
            "the accounting equation does not hold: {}",
            report.last_breach
        );
        report.check_failing();
        assert!(report.unreported_returns > 0 || report.unreported_ns == 0, "{report:#?}");
        for row in &report.rows {
            row.check_of_interval(report.timed_per_second.is_some());
            let left = row.returned + row.restarted;
            match report.timed_one_in {
                Some(1) => assert_eq!(row.timed, left, "all are timed: {row:#?}"),
                Some(_) => assert!(row.timed <= left || row.is_of_overflow(), "{row:#?}"),
                None => assert_eq!(row.timed, 0, "none is timed: {row:#?}"),
            }
        }
        report
    }

    /// What is listed of failures and what is not add up to the errors of the rows.
    #[track_caller]
    fn check_failing(&self) {
        let Some(failing) = &self.failing else { return };
        for failing in failing {
            let listed: u64 = failing.targets.iter().map(|target| target.calls).sum();
            assert_eq!(listed + failing.not_listed, failing.calls, "{failing:#?}");
            for target in &failing.targets {
                assert!(target.at_most_more <= failing.not_listed, "{failing:#?}");
                assert_eq!(target.kind.is_some(), target.target.is_some(), "{failing:#?}");
            }
        }
        if self.hidden.is_none() {
            let sum = |denied: bool| -> u64 {
                failing.iter().filter(|f| f.denied == denied).map(|f| f.calls).sum()
            };
            assert_eq!(sum(false), self.rows.iter().map(|row| row.errors).sum::<u64>());
            assert_eq!(sum(true), self.rows.iter().map(|row| row.denied).sum::<u64>());
        }
    }

    /// Upper bound of lost entries and exits.
    pub(crate) fn loss(&self) -> u64 {
        self.lost + self.lost_unseen
    }

    /// The row of a syscall, over all processes.
    #[track_caller]
    pub(crate) fn row(&self, abi: &str, syscall: &str) -> &Row {
        let name = format!("{abi}/{syscall}");
        let mut rows = self.rows.iter().filter(|row| row.name().as_ref() == Some(&name));
        let row = rows.next().unwrap_or_else(|| panic!("no row of {name}: {:?}", self.names()));
        assert!(rows.next().is_none(), "{name} has more than one row");
        row
    }

    fn names(&self) -> Vec<String> {
        self.rows.iter().filter_map(Row::name).collect()
    }

    /// The reported figures of the stated calls, over all processes.
    fn made(&self, rows: impl Fn(&Row) -> bool, stated: &Calls) -> Calls {
        // A stated count of 0 has no row.
        let mut reported: Calls =
            stated.keys().map(|name| (name.clone(), Made::default())).collect();
        for row in self.rows.iter().filter(|row| rows(row)) {
            let Some(name) = row.name().filter(|name| stated.contains_key(name)) else { continue };
            reported.entry(name).or_default().add(&row.made());
        }
        reported
    }

    /// Each stated call, over all processes, is reported exactly as stated. For
    /// reports of nothing but the workload and its children, all of which have ended.
    #[track_caller]
    pub(crate) fn has_exactly(&self, statement: &Statement) {
        self.totals_are(statement);
        self.nothing_is_in_flight();
    }

    /// Each stated call, over all rows, is reported exactly as stated.
    #[track_caller]
    pub(crate) fn totals_are(&self, statement: &Statement) {
        let stated = statement.total();
        assert!(!stated.is_empty(), "a workload that states nothing proves nothing");
        assert_same(&self.made(|_| true, &stated), &stated, self.loss());
    }

    /// Each stated call is reported exactly as stated for each process, in a report by process and
    /// syscall.
    #[track_caller]
    pub(crate) fn has_exactly_by_process(&self, statement: &Statement) {
        assert!(!statement.processes.is_empty(), "a workload that states nothing proves nothing");
        for process in &statement.processes {
            let of_process = |row: &Row| {
                row.pid == Some(process.pid) && (process.comm.is_none() || row.comm == process.comm)
            };
            assert_same(&self.made(of_process, &process.calls), &process.calls, self.loss());
        }
    }

    /// Each stated call is reported exactly as stated for each thread, in a report by thread and
    /// syscall.
    #[track_caller]
    pub(crate) fn has_exactly_by_thread(&self, statement: &Statement) {
        assert!(!statement.threads.is_empty(), "a workload that states nothing proves nothing");
        for thread in &statement.threads {
            let of_thread = |row: &Row| {
                row.thread == Some(thread.tid) && row.comm.as_ref() == Some(&thread.comm)
            };
            assert_same(&self.made(of_thread, &thread.calls), &thread.calls, self.loss());
        }
    }

    #[track_caller]
    pub(crate) fn nothing_is_in_flight(&self) {
        let in_flight: Vec<_> = self.rows.iter().filter(|row| row.in_flight > 0).collect();
        assert!(in_flight.is_empty(), "every process has ended: {in_flight:#?}");
    }

    /// Checks that no call overflowed.
    #[track_caller]
    pub(crate) fn nothing_overflowed(&self) {
        assert_eq!(self.overflowed, 0);
    }
}

/// What a passing case prints if calls were lost.
pub(crate) const LOST: &str = "lost:";

/// Whether this kernel may skip programs in tracepoints, which it can preempt from Linux 7.1 on.
/// The report then says how many calls may be missing, and the tests allow for these. On all other
/// kernels, no call may be missing.
pub(crate) fn kernel_skips_programs() -> bool {
    kernel() >= (7, 1)
}

/// Major and minor version of the running kernel.
pub(crate) fn kernel() -> (u32, u32) {
    let release = nix::sys::utsname::uname().expect("a kernel");
    let release = release.release().to_string_lossy().into_owned();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    let mut next = || numbers.next().expect("two numbers").expect("a number");
    (next(), next())
}

/// Checks that each stated call is reported as stated, if at most `loss` entries and exits went
/// uncounted.
#[track_caller]
pub(crate) fn assert_same(reported: &Calls, stated: &Calls, loss: u64) {
    let different: Vec<_> = stated
        .iter()
        .map(|(name, made)| (name, made, reported.get(name)))
        .filter(|(_, made, reported)| !reported.is_some_and(|reported| reported.is(made, loss)))
        .map(|(name, made, reported)| format!("{name}: stated {made:?}, reported {reported:?}"))
        .collect();
    assert!(different.is_empty(), "not as stated:\n{}", different.join("\n"));
}
