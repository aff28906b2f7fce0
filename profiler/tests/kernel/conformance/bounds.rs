//! With tables that are far too small, totals stay exact, and the report says how many calls
//! overflowed.

use crate::{
    report::Report,
    run::{Mode, Stat},
    workload::Statement,
};

/// Many more threads than records.
pub(super) fn too_few_records(mode: Mode) {
    let flags = ["--max-threads", "2"];
    exact_in_its_totals(mode, &flags, &["threads=64", "calls=200"], Report::has_exactly);
}

/// One record, for the main thread of each of many processes.
pub(super) fn one_record(mode: Mode) {
    let flags = ["--max-threads", "1"];
    exact_in_its_totals(mode, &flags, &["processes=100", "calls=20"], Report::has_exactly);
}

/// Enough records, and a pool that runs out between two calls.
pub(super) fn too_small_a_pool(mode: Mode) {
    let workload = ["threads=256", "calls=50"];
    let flags = ["--max-memory", "1"];
    exact_in_its_totals(mode, &flags, &workload, Report::has_exactly);
}

/// Too few records and extents.
pub(super) fn too_little_of_everything(mode: Mode) {
    let flags = ["--max-threads", "2", "--max-memory", "1"];
    let workload = ["threads=64", "calls=200", "processes=50"];
    exact_in_its_totals(mode, &flags, &workload, Report::has_exactly);
}

fn exact_in_its_totals(
    mode: Mode,
    flags: &[&str],
    workload: &[&str],
    check: fn(&Report, &Statement),
) {
    let args = [&["counts"], workload].concat();
    let (report, statement) = Stat::new(mode).args(flags).workload(&args);
    check(&report, &statement);
    assert!(report.overflowed > 0, "the tables were to be too small");
    let (report, statement) = Stat::new(mode).args(flags).by_process_and_call().workload(&args);
    // Calls without a process are in rows without a process.
    check(&report, &statement);
    assert!(report.overflowed > 0, "the tables were to be too small");
    let without_process = report.rows.iter().filter(|row| row.pid.is_none());
    assert_eq!(without_process.map(|row| row.calls).sum::<u64>(), report.overflowed);
}

/// Calls of every outcome, without space for any.
pub(super) fn every_outcome_without_room(mode: Mode) {
    for workload in [
        &["forks", "calls=30"][..],
        &["exec-by-thread", "calls=5"],
        &["killed", "threads=8"],
        &["handled", "calls=50"],
        &["restarted", "calls=20"],
        &["denied", "calls=20"],
        &["seccomp-trap", "calls=20"],
        &["seccomp-trace", "calls=20"],
        &["seccomp-user-notification", "calls=30"],
        &["abis", "calls=20"],
        &["bogus", "calls=20"],
        &["clone-vm", "calls=5"],
    ] {
        let args = [workload, &["child=1"]].concat();
        let (report, mut statement) = Stat::new(mode).args(["--max-threads", "1"]).workload(&args);
        // The parent, which has the only record, makes the call too.
        for process in &mut statement.processes {
            process.calls.remove("x86_64/exit_group");
        }
        report.has_exactly(&statement);
        assert!(report.overflowed > 0, "the tables were to be too small: {workload:?}");
    }
}

/// The pool runs out between the slot of a call and the cell for its latency.
pub(super) fn no_room_for_a_latency(mode: Mode) {
    for first in ["first=0", "first=1", "first=2"] {
        let (report, statement) = Stat::new(mode)
            .args(["--max-memory", "1"])
            .by_process_and_call()
            .workload(&["one-of-each", "processes=400", first]);
        report.totals_are(&statement);
        report.nothing_is_in_flight();
        assert!(report.overflowed > 0, "the pool was to be too small");
    }
}

/// Freed records are reused: over a hundred times as many processes as records, a few at a time,
/// without overflow.
pub(super) fn room_is_given_back(mode: Mode) {
    let args = ["counts", "processes=1000", "calls=5"];
    let flags = ["--max-threads", "256", "--max-memory", "8"];
    let (report, statement) = Stat::new(mode).args(flags).by_process_and_call().workload(&args);
    report.nothing_overflowed();
    report.has_exactly_by_process(&statement);
}

/// Maximum number of ended processes in the list (`MAX_ENDED`, aggregate/keep_ended.rs).
const KEPT: usize = 20_000;

/// Further ended processes are added up in a row without an id.
pub(super) fn too_many_ended(mode: Mode) {
    let more = 500;
    let calls = format!("calls={}", KEPT + more);
    let (report, statement) = Stat::new(mode).by_process_and_call().workload(&["many", &calls]);
    report.has_exactly_by_process(&statement);
    report.nothing_overflowed();
    report.nothing_is_in_flight();
    let (apart, together): (Vec<_>, Vec<_>) = report
        .rows
        .iter()
        .filter(|row| row.syscall.as_deref() == Some("exit_group"))
        .partition(|row| row.pid.is_some());
    // The workload itself is in the list, because it ends last.
    assert_eq!(apart.len(), KEPT);
    assert!(apart.iter().all(|row| (row.calls, row.never_returned) == (1, 1)));
    let [together] = together[..] else { panic!("one row of them: {together:#?}") };
    assert_eq!(together.comm.as_deref(), Some("(ended)"));
    let all = (more + 1) as u64;
    assert_eq!((together.calls, together.never_returned), (all, all));
}
