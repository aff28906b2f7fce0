//! Where the time of calls went: on a CPU, waiting or runnable (`--where`).
//!
//! Every report is checked for rows whose three parts do not add up, see [`report`](crate::report).
//! The tests here compare the parts with statements of workloads: how long they slept, and how much
//! CPU time they had.
//!
//! If the kernel does not report a return to a CPU, the time off the CPU counts as time on a CPU.
//! The report has an upper bound of this time (`unreported_ns`), and the tests allow only for that.
//! On most machines, it is 0.

use std::process::Command;

use crate::{
    report::{Report, Row},
    run::{Mode, Stat, workload_args},
    service::{Daemon, Name},
    workload::{Busy, Preempted, Statement},
};

/// Sleeps of at least this length are asleep for most of it. A shorter one may be over before a
/// thread that was preempted on its way to sleep gets there.
const LONG_NS: u64 = 100_000_000;

fn stat(mode: Mode) -> Stat {
    Stat::new(mode).args(["--where"]).by_process_and_call()
}

#[track_caller]
fn row<'a>(report: &'a Report, pid: u32, syscall: &str) -> &'a Row {
    let is_of = |row: &&Row| row.pid == Some(pid) && row.syscall.as_deref() == Some(syscall);
    let row = report.rows.iter().find(is_of);
    row.unwrap_or_else(|| panic!("no row of {syscall} by {pid}: {report:#?}"))
}

#[track_caller]
fn parts(row: &Row) -> [u64; 3] {
    row.parts().unwrap_or_else(|| panic!("no parts: {row:#?}"))
}

/// A sleep waits at least for the requested time, minus the way to the timer.
pub(crate) fn sleeps_are_waiting(mode: Mode) {
    let (report, statement) = stat(mode).workload(&["sleeps"]);
    for timing in &statement.timings {
        let row = row(&report, timing.pid, &timing.syscall);
        let [_, waiting, _] = parts(row);
        let asked: u64 = timing.asked_ns.iter().sum();
        if asked == 0 {
            assert_eq!(waiting, 0, "a call that never sleeps: {row:#?}");
        } else if timing.asked_ns[0] >= LONG_NS {
            let waited = waiting + report.unreported_ns;
            assert!(waited >= asked / 4 * 3, "{asked} asked: {row:#?}");
        }
        // The time between the timer and the return to a CPU is unknown.
        let took: u64 = timing.took_ns.iter().sum();
        assert!(waiting <= took, "{row:#?}");
    }
}

/// A call that works all the time, on a CPU that other threads use too.
pub(crate) fn time_preempted_is_runnable(mode: Mode) {
    let (report, statement) = stat(mode).workload(&["preempted", "calls=2"]);
    let [preempted] = &statement.preempted[..] else { panic!("{statement:?}") };
    let Preempted { pid, took_ns, cpu_ns, .. } = *preempted;
    let row = row(&report, pid, &preempted.syscall);
    let [on_cpu, waiting, runnable] = parts(row);
    let unreported = report.unreported_ns;
    let context = format!("{preempted:?}\n{row:#?}");
    let away_ns = took_ns - cpu_ns;
    assert!(
        runnable + unreported >= away_ns / 2 && runnable <= away_ns + away_ns / 10,
        "{context}"
    );
    assert!(waiting <= row.total_ns / 20, "it never sleeps: {context}");
    // What a hypervisor takes, the kernel does not count as CPU time.
    assert!(on_cpu >= cpu_ns / 10 * 9 && on_cpu <= cpu_ns + away_ns / 4 + unreported, "{context}");
}

/// Threads that wake each other: each wait is over when the other writes, and before that thread
/// gives up the CPU.
pub(crate) fn turns_on_one_cpu(mode: Mode) {
    turns(mode, &["turns", "calls=5000", "one=1"]);
}

/// A thread can be woken while it is about to leave its CPU.
pub(crate) fn turns_on_any_cpu(mode: Mode) {
    turns(mode, &["turns", "calls=5000"]);
}

fn turns(mode: Mode, workload: &[&str]) {
    let (report, statement) = stat(mode).workload(workload);
    let [busy] = &statement.busy[..] else { panic!("{statement:?}") };
    let Busy { pid, calls, took_ns, cpu_ns } = *busy;
    let (reads, writes) = (row(&report, pid, "read"), row(&report, pid, "write"));
    let context = format!("{busy:?}\n{reads:#?}\n{writes:#?}");
    // Further writes are those of the statement.
    assert!(reads.calls == calls && writes.calls >= calls, "{context}");
    let unreported = report.unreported_ns;
    let [[reading, waiting, _], [writing, ..]] = [parts(reads), parts(writes)];
    // At any moment, one of the two threads waits or is runnable.
    assert!(waiting + unreported >= took_ns / 10 && waiting <= 2 * took_ns, "{context}");
    // The CPU time has more than the calls: the profiler's programs, and user space. It lacks what
    // a hypervisor takes.
    let on_cpu = reading + writing;
    assert!(on_cpu <= cpu_ns + took_ns / 2 + unreported && on_cpu >= cpu_ns / 10, "{context}");
}

/// The intervals of a run have the time of the whole run.
pub(crate) fn of_intervals_adds_up(mode: Mode) {
    let stat = stat(mode).args(["--interval", "50ms"]);
    let ended = stat.args(["--"]).args(workload_args(&["sleeps"])).start().end();
    let statement: Statement = serde_json::from_slice(&ended.output.stdout).expect("a statement");
    let reports = ended.reports();
    assert!(reports.len() > 10, "{}", reports.len());
    let unreported = reports.iter().map(|report| report.unreported_ns).max().unwrap_or(0);
    for timing in statement.timings.iter().filter(|timing| timing.asked_ns[0] >= LONG_NS) {
        let rows = reports.iter().flat_map(|report| &report.rows);
        let rows = rows.filter(|row| {
            row.pid == Some(timing.pid) && row.syscall.as_ref() == Some(&timing.syscall)
        });
        let waiting: u64 = rows.map(|row| parts(row)[1]).sum();
        let asked: u64 = timing.asked_ns.iter().sum();
        assert!(waiting + unreported >= asked / 4 * 3, "{waiting} of {asked}");
        assert!(waiting <= timing.took_ns.iter().sum(), "{waiting}");
    }
}

/// Only calls that are timed have parts. They add up to the time of these calls.
pub(crate) fn of_a_sample_adds_up(mode: Mode) {
    let (report, statement) = stat(mode).args(["--sample", "2"]).workload(&["sleeps"]);
    for timing in statement.timings.iter().filter(|timing| timing.asked_ns[0] >= LONG_NS) {
        let row = row(&report, timing.pid, &timing.syscall);
        let [_, waiting, _] = parts(row);
        let waited = waiting + report.unreported_ns;
        assert!(waited >= row.timed * timing.asked_ns[0] / 4 * 3, "{row:#?}");
    }
}

/// Calls without a record of their own have parts too, in the row of their syscall.
pub(crate) fn without_room(mode: Mode) {
    let (report, statement) = stat(mode).args(["--max-threads", "1"]).workload(&["sleeps"]);
    assert!(report.overflowed > 0, "there was room: {report:#?}");
    let is_sleep = |row: &&Row| row.syscall.as_deref() == Some("clock_nanosleep");
    let sum = |part: usize| -> u64 {
        report.rows.iter().filter(is_sleep).map(|row| parts(row)[part]).sum()
    };
    let (waiting, runnable) = (sum(1) + report.unreported_ns, sum(2));
    let asked: u64 = statement.timings.iter().flat_map(|timing| &timing.asked_ns).sum();
    assert!(waiting + runnable >= asked / 4 * 3, "{waiting}, {runnable} of {asked}: {report:#?}");
    // On a busy host, a short sleep may be over before the thread gets to sleep.
    assert!(waiting >= asked / 3, "{waiting}, {runnable} of {asked}: {report:#?}");
}

/// The metrics have the same parts.
pub(crate) fn the_daemon_exports_it(mode: Mode) {
    let name = Name::new();
    let flags = [&name.filter()[..], &["--where"]].concat();
    let daemon = Daemon::start_with(mode, "200ms", &flags);
    let args = workload_args(&["sleeps", &name.arg()]);
    let output = Command::new(&args[0]).args(&args[1..]).output().expect("the workload");
    let statement: Statement = serde_json::from_slice(&output.stdout).expect("a statement");
    let metrics = daemon.metrics();
    let labels = r#"abi="x86_64",syscall="clock_nanosleep""#;
    let [on_cpu, waiting, runnable] = ["on_cpu", "waiting", "runnable"].map(|state| {
        let series = "profiler_syscall_state_seconds_total";
        metrics[&format!(r#"{series}{{{labels},state="{state}"}}"#)]
    });
    let total = metrics[&format!("profiler_syscall_duration_seconds_sum{{{labels}}}")];
    let unreported = metrics["profiler_unreported_off_cpu_seconds_total"];
    let context = format!("{on_cpu} on a CPU, {waiting} waiting, {runnable} runnable, of {total}");
    assert!((on_cpu + waiting + runnable - total).abs() < 1e-6, "{context}");
    let asked: u64 = statement.timings.iter().flat_map(|timing| &timing.asked_ns).sum();
    assert!(waiting + unreported >= asked as f64 / 1e9 * 0.75, "{asked} asked: {context}");
    daemon.end();
}

/// Without `--where`, no program follows the scheduler, and rows have no parts.
pub(crate) fn without_the_flag_there_is_none(mode: Mode) {
    let (report, _) = Stat::new(mode).workload(&["counts", "calls=10"]);
    assert!(report.rows.iter().all(|row| row.parts().is_none()));
}
