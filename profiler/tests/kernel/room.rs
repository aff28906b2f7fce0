//! Tables that are far too small: totals stay exact, and it is said that they are
//! totals only.

use crate::{
    report::Report,
    run::{Mode, Stat},
    workload::Statement,
};

/// Many more threads than records.
pub(crate) fn too_few_records(mode: Mode) {
    let flags = ["--max-threads", "2"];
    exact_in_its_totals(mode, &flags, &["threads=64", "calls=200"], Report::has_exactly);
}

/// One record, for the main thread of each of many processes.
pub(crate) fn one_record_for_many_processes(mode: Mode) {
    let flags = ["--max-threads", "1"];
    exact_in_its_totals(mode, &flags, &["processes=100", "calls=20"], Report::has_exactly);
}

/// Enough records, and a pool that is used up between one call and the next.
pub(crate) fn too_small_a_pool(mode: Mode) {
    let workload = ["threads=256", "calls=50"];
    let flags = ["--max-memory", "1"];
    exact_in_its_totals(mode, &flags, &workload, Report::has_exactly);
}

/// Both.
pub(crate) fn too_little_of_everything(mode: Mode) {
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
    // Those without a process are in rows of none.
    check(&report, &statement);
    assert!(report.overflowed > 0, "the tables were to be too small");
    let without_process = report.rows.iter().filter(|row| row.pid.is_none());
    assert_eq!(without_process.map(|row| row.calls).sum::<u64>(), report.overflowed);
}

/// What becomes free is used again: over a hundred times as many processes as records,
/// a few at a time, and none overflows.
pub(crate) fn ended_threads_give_their_room_back(mode: Mode) {
    let args = ["counts", "processes=1000", "calls=5"];
    let flags = ["--max-threads", "256", "--max-memory", "8"];
    let (report, statement) = Stat::new(mode).args(flags).by_process_and_call().workload(&args);
    report.nothing_overflowed();
    report.has_exactly_by_process(&statement);
}
