//! Calls that leave in another program than they entered in.

use crate::run::{Mode, Stat};

/// Both calls, by processes of which each makes one only.
pub(super) fn execveat(mode: Mode) {
    let (report, statement) =
        Stat::new(mode).by_process_and_call().workload(&["execs", "calls=20"]);
    report.has_exactly_by_process(&statement);
    let at = report.rows.iter().filter(|row| row.syscall.as_deref() == Some("execveat"));
    assert_eq!(at.map(|row| row.returned - row.errors).sum::<u64>(), 20);
    report.nothing_is_in_flight();
}

/// From 64-bit code, by the number that another table has for it, into 64-bit code.
pub(super) fn exec_by_int_0x80(mode: Mode) {
    let (report, statement) =
        Stat::new(mode).by_process_and_call().workload(&["execs-by-int80", "calls=20"]);
    report.has_exactly_by_process(&statement);
    report.nothing_is_in_flight();
}

/// A thread that execs takes the leader's id, and kills the leader.
pub(super) fn exec_by_a_thread(mode: Mode) {
    let (report, statement) = Stat::new(mode).workload(&["exec-by-thread", "calls=50"]);
    report.has_exactly(&statement);
    report.nothing_overflowed();
    // The command's own, and the thread's.
    let exec = report.row("x86_64", "execve");
    assert_eq!((exec.calls, exec.returned, exec.errors), (2, 2, 0));
    // The leader's call leaves with -ERESTARTNOHAND before the leader dies: it never returns.
    let pause = report.row("x86_64", "pause");
    assert_eq!((pause.calls, pause.never_returned), (1, 1));
    // Of the whole life only the last program ends by itself.
    let exit_group = report.row("x86_64", "exit_group");
    assert_eq!((exit_group.calls, exit_group.never_returned), (1, 1));
}

/// The same with rows by process: one process, under the last program's name.
pub(super) fn exec_by_a_thread_by_process(mode: Mode) {
    let (report, statement) =
        Stat::new(mode).by_process_and_call().workload(&["exec-by-thread", "calls=50"]);
    report.has_exactly_by_process(&statement);
    let pid = Some(statement.processes[0].pid);
    assert!(report.rows.iter().all(|row| row.pid == pid), "{:#?}", report.rows);
}

/// The old program is gone, so that the call fails and the process dies.
pub(super) fn exec_fails_late(mode: Mode) {
    let (report, statement) =
        Stat::new(mode).by_process_and_call().workload(&["fail-late", "calls=50"]);
    report.has_exactly_by_process(&statement);
    report.nothing_is_in_flight();
}

/// Likewise, by a thread that has taken its leader's id by then.
pub(super) fn exec_by_a_thread_fails_late(mode: Mode) {
    let (report, statement) =
        Stat::new(mode).by_process_and_call().workload(&["fail-late", "calls=50", "by-thread=1"]);
    report.has_exactly_by_process(&statement);
    report.nothing_is_in_flight();
}
