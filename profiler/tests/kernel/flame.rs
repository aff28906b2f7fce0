//! `profiler flame`: the shares of known callers.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader},
    process::{Command, Output, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    run::{PROFILER, statement, workload_args},
    workload::{READY, Statement},
};

/// The functions that call, and their shares.
const CALLERS: [(&str, f64); 3] = [("caller_a", 0.5), ("caller_b", 0.3), ("caller_c", 0.2)];

/// A run of `profiler flame` that writes JSON.
struct Flame {
    command: Command,
    directory: TempDir,
}

/// A report, and what the workload stated.
struct Report {
    json: Value,
    statement: Option<Statement>,
}

impl Flame {
    fn new(args: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let mut command = Command::new(PROFILER);
        command.args(["flame", "-o"]).arg(directory.path().join("out.json")).args(args);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self { command, directory }
    }

    #[track_caller]
    fn workload(mut self, args: &[&str]) -> Report {
        self.command.arg("--").args(workload_args(args));
        let output = self.command.output().expect("the profiler");
        let stated = statement(&String::from_utf8_lossy(&output.stdout));
        Report { statement: Some(stated), ..self.end(&output) }
    }

    #[track_caller]
    fn end(&self, output: &Output) -> Report {
        assert!(output.status.success(), "{output:?}");
        let text = std::fs::read(self.directory.path().join("out.json")).expect("a report");
        let json: Value = serde_json::from_slice(&text).expect("JSON");
        let weights = rows(&json).map(|row| number(&row["weight"]));
        assert_eq!(weights.sum::<u64>(), number(&json["total"]), "rows add up: {json}");
        Report { json, statement: None }
    }
}

fn rows(json: &Value) -> impl Iterator<Item = &Value> {
    json["rows"].as_array().expect("rows").iter()
}

#[track_caller]
fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no number"))
}

impl Report {
    /// The sums by the innermost function, in the order of the functions' names. In a build without
    /// symbols, functions have offsets, which are in the same order.
    fn callers(&self) -> Vec<(Option<String>, u64)> {
        let mut sums = BTreeMap::new();
        for row in rows(&self.json).filter(|row| row["method"] != "lost") {
            let innermost = row["user"].as_array().and_then(|user| user.last());
            let innermost = innermost.unwrap_or_else(|| panic!("a row without a stack: {row}"));
            let function = innermost["function"].as_str().map(str::to_owned);
            let place = (function, number(&innermost["offset"]));
            *sums.entry(place).or_default() += number(&row["weight"]);
        }
        sums.into_iter().map(|((function, _), sum)| (function, sum)).collect()
    }

    /// The sums of these functions, and of no other.
    #[track_caller]
    fn sums_of(&self, functions: &[&str]) -> Vec<u64> {
        let callers = self.callers();
        let are_right = callers.len() == functions.len()
            && callers.iter().zip(functions).all(|((found, _), expected)| {
                found.as_deref().is_none_or(|found| found == *expected)
            });
        assert!(are_right, "{callers:?} instead of {functions:?}: {}", self.json);
        callers.into_iter().map(|(_, sum)| sum).collect()
    }

    #[track_caller]
    fn shares_of(&self, prefix: &str) -> Vec<f64> {
        let names = CALLERS.map(|(name, _)| format!("{prefix}{name}"));
        let sums = self.sums_of(&names.each_ref().map(String::as_str));
        sums.into_iter().map(|sum| sum as f64 / self.total() as f64).collect()
    }

    fn total(&self) -> u64 {
        number(&self.json["total"])
    }

    /// The calls that the workload stated.
    fn stated(&self) -> u64 {
        let statement = self.statement.as_ref().expect("a workload");
        statement.total().values().map(|made| made.calls).sum()
    }

    fn share(&self, name: &str) -> f64 {
        self.json["shares"][name].as_f64().expect("a share")
    }

    #[track_caller]
    fn has_shares(&self, prefix: &str, within: f64) {
        for (share, (function, expected)) in self.shares_of(prefix).into_iter().zip(CALLERS) {
            assert!((share - expected).abs() <= within, "{function}: {share}, {}", self.json);
        }
    }
}

/// The stack of every call: the shares are exact, by frame pointers alone.
pub(crate) fn of_every_call_is_exact() {
    let flame = Flame::new(&["--every", "--frame-pointers", "--syscall", "getpgid"]);
    let report = flame.workload(&["callers", "calls=100000", "framed=1"]);
    assert_eq!(report.total(), report.stated());
    report.has_shares("framed_", 0.0);
    assert_eq!(report.share("frame_pointers"), 1.0);
    assert_eq!(report.share("lost"), 0.0);
}

/// Without frame pointers, stacks are unwound. They are sampled, and the sum is exact.
pub(crate) fn without_frame_pointers_is_within_one_percent() {
    let flame = Flame::new(&["--rate", "50000", "--syscall", "getpgid"]);
    let report = flame.workload(&["callers", "calls=1500000"]);
    assert_eq!(report.total(), report.stated());
    report.has_shares("", 0.01);
    assert!(report.share("unwound") > 0.99, "{}", report.json["shares"]);
    assert!(report.share("truncated") < 0.01, "{}", report.json["shares"]);
}

/// The errors that are stated have as much to do with the result as they say: shares that are sampled
/// at a low rate deviate by a few standard errors.
pub(crate) fn deviates_by_its_standard_error() {
    let flame = Flame::new(&["--rate", "1000", "--syscall", "getpgid"]);
    let report = flame.workload(&["callers", "calls=1500000", "framed=1"]);
    assert_eq!(report.total(), report.stated());
    for (share, (function, expected)) in report.shares_of("framed_").into_iter().zip(CALLERS) {
        let stacks = number(&report.json["stacks"]) as f64;
        // At least as large as that of independent draws of equal weight.
        let error = (expected * (1.0 - expected) / stacks).sqrt();
        assert!((share - expected).abs() < 6.0 * error, "{function}: {share} ± {error}");
    }
}

pub(crate) fn of_errors_has_the_callers_that_fail() {
    let flame = Flame::new(&["--weight", "errors", "--syscall", "getpgid"]);
    let report = flame.workload(&["callers", "calls=20000", "failing=1"]);
    assert_eq!(report.total(), 4_000);
    // The failures since the last stack have none.
    let sums = report.sums_of(&["caller_c"]);
    assert!((3_000..=4_000).contains(&sums[0]), "{sums:?}");
}

/// Latencies are the weights, and the kernel's stack says where a call waits.
pub(crate) fn of_time_has_the_callers_that_wait() {
    let flame = Flame::new(&["--weight", "time", "--kernel", "--syscall", "nanosleep"]);
    let report = flame.workload(&["callers-sleep", "calls=50"]);
    assert!(report.total() >= 200_000_000, "{}", report.total());
    let sums = report.sums_of(&["caller_a", "caller_b"]);
    let of_both = sums.iter().sum::<u64>() as f64;
    let share = sums[0] as f64 / of_both;
    // 90 % of the time, and half of the calls. On a busy host, each sleep takes longer than it should.
    assert!((0.65..0.98).contains(&share), "{share}");
    assert!(of_both > 0.95 * report.total() as f64);
    let waits = rows(&report.json).filter(|row| row["weight"].as_u64() > Some(1_000_000));
    for row in waits.filter(|row| row["method"] != "lost") {
        assert!(!row["kernel"].as_array().expect("functions").is_empty(), "{row}");
    }
}

/// A process that runs already, until it ends.
pub(crate) fn of_a_running_process() {
    let line = workload_args(&["callers", "calls=50000", "framed=1", "hold=1"]);
    let mut workload = Command::new(&line[0]);
    workload.args(&line[1..]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut workload = workload.spawn().expect("a workload");
    let mut output = BufReader::new(workload.stdout.take().expect("a pipe"));
    let mut text = String::new();
    output.read_line(&mut text).expect("a line");
    assert_eq!(text.trim(), READY);
    let pid = workload.id().to_string();
    let mut flame = Flame::new(&["--every", "--syscall", "getpgid", "-p", &pid]);
    let profiler = flame.command.spawn().expect("the profiler");
    crate::run::wait_until("the profiler attaches", || {
        !crate::run::kernel_ids(profiler.id(), "link_id").is_empty()
            && std::fs::read_to_string(format!("/proc/{}/syscall", profiler.id()))
                .is_ok_and(|call| call.starts_with(&format!("{} ", libc::SYS_poll)))
    });
    drop(workload.stdin.take());
    let ended = workload.wait().expect("a child of ours");
    assert!(ended.success());
    let report = flame.end(&profiler.wait_with_output().expect("a child of ours"));
    assert_eq!(report.total(), 50_000);
    report.has_shares("framed_", 0.0);
}

/// If there is no space for stacks, the sum is still exact.
pub(crate) fn without_space_adds_up() {
    let flame = Flame::new(&["--every", "--frame-pointers", "--max-stacks", "64"]);
    let report = flame.workload(&["callers", "calls=1000"]);
    assert!(report.total() >= 1_000);
    assert!(rows(&report.json).count() > 3);
}
