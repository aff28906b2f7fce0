//! Processes and threads whose ids are reused, or differ between namespaces.

use crate::run::{Held, Mode, Stat};

/// Fifty processes with the same id, each with its own name and number of calls.
pub(super) fn reused_pid(mode: Mode) {
    let (report, statement) = Stat::with_privileged_command(mode)
        .by_process_and_call()
        .workload(&["reused-pid", "calls=50"]);
    report.has_exactly_by_process(&statement);
    report.nothing_is_in_flight();
}

/// The id of a thread becomes that of a process, and that of a thread again.
pub(super) fn reused_tid(mode: Mode) {
    let (report, statement) = Stat::with_privileged_command(mode)
        .by_process_and_call()
        .workload(&["reused-tid", "calls=50"]);
    report.has_exactly_by_process(&statement);
    report.nothing_is_in_flight();
}

/// After the end of a watched process, another process with children gets its id.
pub(super) fn reused_pid_in_scope(mode: Mode) {
    let first = Held::start(&["counts", "calls=20"]);
    let other = Held::start(&["counts", "calls=30"]);
    let (id, other_id) = (first.pid(), other.pid());
    let stranger = Held::start(&["reused-pid", "calls=5", "children=1", &format!("pid={id}")]);
    let pids = format!("{id},{other_id}");
    let running = Stat::new(mode).by_process_and_call().args(["--pid", &pids]).start().attached();
    let mut statement = first.go();
    let of_stranger = stranger.go();
    assert!(of_stranger.processes.iter().all(|process| process.pid == id));
    // The run continues until then.
    statement.processes.extend(other.go().processes);
    let report = running.end().report();
    report.has_exactly_by_process(&statement);
    report.has_exactly(&statement);
    assert!(report.rows.iter().all(|row| [Some(id), Some(other_id)].contains(&row.pid)));
}

/// Processes that share their memory, and threads, which share everything.
pub(super) fn clone_vm(mode: Mode) {
    let (report, statement) =
        Stat::new(mode).by_process_and_call().workload(&["clone-vm", "calls=20"]);
    report.has_exactly_by_process(&statement);
    report.nothing_is_in_flight();
}

/// Ids are those of the host, also for processes in a pid namespace.
pub(super) fn pid_namespace(mode: Mode) {
    let (report, statement) =
        Stat::with_privileged_command(mode).by_process_and_call().workload(&["pid-namespace"]);
    report.has_exactly_by_process(&statement);
    report.nothing_is_in_flight();
}
