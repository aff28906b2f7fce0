//! Calls in which a thread dies.

use crate::run::{Mode, Stat};

/// Calls of killed threads leave, and nothing stays in flight.
pub(super) fn killed_in_flight(mode: Mode) {
    let (report, statement) =
        Stat::new(mode).by_process_and_call().workload(&["killed", "threads=32"]);
    report.has_exactly_by_process(&statement);
    report.nothing_is_in_flight();
    report.nothing_overflowed();
}

/// The leader ends the process while sixty-four others wait in calls of six kinds.
pub(super) fn exit_group_in_flight(mode: Mode) {
    let (report, statement) =
        Stat::new(mode).by_process_and_call().workload(&["exit-group", "threads=64"]);
    report.has_exactly_by_process(&statement);
    report.nothing_is_in_flight();
    report.nothing_overflowed();
}
