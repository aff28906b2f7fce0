//! Calls that return twice, or return late.

use crate::run::{Held, Mode, Stat};

/// `fork`, `vfork` and `clone` return twice, and are one call.
pub(super) fn fork(mode: Mode) {
    let (report, statement) =
        Stat::new(mode).by_process_and_call().workload(&["forks", "calls=100"]);
    assert_eq!(statement.processes.len(), 301);
    report.has_exactly_by_process(&statement);
    report.has_exactly(&statement);
    report.nothing_overflowed();
}

/// Four parallel processes with a thousand children each.
pub(super) fn process_storm(mode: Mode) {
    let (report, statement) = Stat::new(mode).by_process_and_call().workload(&[
        "process-storm",
        "processes=4",
        "calls=1000",
    ]);
    assert_eq!(statement.processes.len(), 4 * 1001);
    report.has_exactly_by_process(&statement);
    report.nothing_is_in_flight();
    report.nothing_overflowed();
}

/// Threads by `clone3`, so short-lived that their ids and records are reused.
pub(super) fn clone3_storm(mode: Mode) {
    let (report, statement) =
        Stat::new(mode).by_process_and_call().workload(&["thread-storm", "calls=3000"]);
    report.has_exactly_by_process(&statement);
    report.has_exactly(&statement);
    report.nothing_overflowed();
}

/// The parent is in `vfork` until the child execs.
pub(super) fn vfork_in_flight(mode: Mode) {
    let start = || Stat::new(mode).args(["--all"]).by_process_and_call().start().attached();
    let (meanwhile, whole) = (start(), start());
    let held = Held::start(&["held-vfork"]);
    let report = meanwhile.interrupt();
    let vfork: Vec<_> = report
        .rows
        .iter()
        .filter(|row| row.pid == Some(held.pid()) && row.syscall.as_deref() == Some("vfork"))
        .map(|row| (row.calls, row.in_flight, row.returned))
        .collect();
    assert_eq!(vfork, [(1, 1, 0)]);
    let statement = held.go();
    whole.interrupt().has_exactly_by_process(&statement);
}
