//! Draining while threads make calls.

use crate::{
    run::{Held, Mode, Stat},
    service::{Daemon, Name, Series, assert_added},
};

/// Two threads that only make calls, and a drain every 10 ms.
pub(super) fn drained_under_saturation(mode: Mode) {
    let name = Name::new();
    let daemon = Daemon::start_with(mode, "10ms", &name.filter());
    let before = daemon.metrics();
    let statement = Held::start(&["saturate", "threads=2", "calls=500000", &name.arg()]).go();
    let after = daemon.metrics();
    assert_added(&before, &after, &statement, &["personality", "ioprio_get", "timer_getoverrun"]);
    let drains = |series: &Series| series["profiler_drain_duration_seconds_count"];
    assert!(drains(&after) - drains(&before) > 10.0, "the workload is too short for this case");
    daemon.end();
}

/// Every row of every interval is consistent, with and without records for the threads, and all
/// intervals add up to the statement.
pub(super) fn rows_agree_at_every_moment(mode: Mode) {
    let mut rows = 0;
    for flags in [&["--by", "process,syscall"][..], &["--by", "syscall"], &["--max-threads", "2"]] {
        // Six busy threads, so that many are read in the middle of a call.
        let held = Held::start(&["counts", "threads=6", "calls=6000"]);
        let pid = held.pid().to_string();
        let args = ["--interval", "10ms", "--pid", &pid];
        let running = Stat::new(mode).args(args).args(flags).start().attached();
        let statement = held.go();
        // Parsing a report checks its rows.
        let mut reports = running.end().reports().into_iter();
        let mut whole = reports.next().expect("a report");
        whole.rows.extend(reports.flat_map(|report| report.rows));
        whole.totals_are(&statement);
        rows += whole.rows.len();
    }
    assert!(rows > 1_000, "the workload is too short for this case: {rows} rows");
}
