//! Exact counts: the report equals the statement of a workload, to the last call.

use crate::run::{Held, Mode, Stat};

/// Several threads make twenty different syscalls, each at least a given number of times.
pub(crate) fn by_threads(mode: Mode) {
    for (threads, calls) in [(0, 5_000), (1, 5_000), (4, 2_000), (64, 200)] {
        let args = ["counts", &format!("threads={threads}"), &format!("calls={calls}")];
        let (report, statement) = Stat::new(mode).workload(&args);
        report.has_exactly(&statement);
        report.nothing_overflowed();
    }
}

/// Two hundred short-lived processes.
pub(crate) fn by_short_lived_processes(mode: Mode) {
    let args = ["counts", "processes=200", "calls=20"];
    let (report, statement) = Stat::new(mode).workload(&args);
    assert_eq!(statement.processes.len(), 201);
    report.has_exactly(&statement);
    report.nothing_overflowed();
}

/// Processes of one name make one row per syscall, and one row per ABI.
pub(crate) fn by_name_and_by_abi() {
    let args = ["counts", "processes=20", "calls=20"];
    let by = |list: &str| Stat::new(Mode::Main).args(["--by", list]).workload(&args);
    let (report, statement) = by("comm,syscall");
    report.has_exactly(&statement);
    let mut names: Vec<_> = report.rows.iter().map(|row| (&row.comm, row.name())).collect();
    let rows = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), rows, "each name and syscall has one row");
    assert!(report.rows.iter().all(|row| row.pid.is_none()));
    let (report, statement) = by("abi");
    let stated = statement.processes.iter().flat_map(|process| process.calls.values());
    let reported: u64 = report.rows.iter().map(|row| row.calls).sum();
    assert_eq!(report.rows.len(), 1, "all calls are x86_64");
    // The command also makes calls that it does not state.
    assert!(reported >= stated.map(|made| made.calls).sum());
}

/// Rows by process. No two successive processes make the same number of calls.
pub(crate) fn by_process(mode: Mode) {
    let args = ["counts", "processes=200", "calls=20"];
    let (report, statement) = Stat::new(mode).by_process_and_call().workload(&args);
    report.has_exactly_by_process(&statement);
    report.has_exactly(&statement);
    report.nothing_overflowed();
    assert!(report.rows.iter().all(|row| row.pid.is_some()));
}

/// The sum over all intervals is the whole run.
pub(crate) fn by_interval(mode: Mode) {
    // Long enough for several intervals on a fast host, and short enough for an emulated host.
    let held = Held::start(&["counts", "threads=2", "calls=20000", "processes=2"]);
    let running = Stat::new(mode)
        .args(["--interval", "20ms", "--pid", &held.pid().to_string()])
        .start()
        .attached();
    let statement = held.go();
    let ended = running.end();
    let reports = ended.reports();
    assert!(reports.len() > 2, "the workload is too short for this test");
    let mut whole: Option<crate::report::Report> = None;
    for report in reports {
        report.nothing_overflowed();
        match &mut whole {
            None => whole = Some(report),
            Some(whole) => whole.rows.extend(report.rows),
        }
    }
    whole.expect("a report").totals_are(&statement);
}

/// The whole host is watched, and the workload's part of it is exact.
pub(crate) fn on_the_whole_host(mode: Mode) {
    let running = Stat::new(mode).args(["--all"]).by_process_and_call().start().attached();
    let held = Held::start(&["counts", "threads=8", "calls=500", "processes=50"]);
    let statement = held.go();
    let report = running.interrupt();
    report.has_exactly_by_process(&statement);
    report.nothing_overflowed();
}

/// A running process with many threads, which starts children after the attach.
pub(crate) fn of_a_running_process(mode: Mode) {
    let held = Held::start(&["counts", "threads=64", "calls=100", "processes=20"]);
    let other = Held::start(&["counts", "calls=10"]);
    let running = Stat::new(mode)
        .by_process_and_call()
        .args(["--pid", &held.pid().to_string()])
        .start()
        .attached();
    let others = other.go();
    let statement = held.go();
    // The profiler ends by itself, because the process has ended.
    let ended = running.end();
    assert_eq!(ended.code(), Some(0));
    let report = ended.report();
    report.has_exactly_by_process(&statement);
    report.has_exactly(&statement);
    report.nothing_overflowed();
    let other = others.processes[0].pid;
    assert!(report.rows.iter().all(|row| row.pid != Some(other)), "it was not asked for");
}
