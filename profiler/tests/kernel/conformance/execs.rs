//! Calls that enter in one program and leave in another.

use crate::run::{Mode, Stat};

/// `execve` and `execveat`, by processes that each make one of them.
pub(super) fn execveat(mode: Mode) {
    let (report, statement) =
        Stat::new(mode).by_process_and_call().workload(&["execs", "calls=20"]);
    report.has_exactly_by_process(&statement);
    let at = report.rows.iter().filter(|row| row.syscall.as_deref() == Some("execveat"));
    assert_eq!(at.map(|row| row.returned - row.errors).sum::<u64>(), 20);
    report.nothing_is_in_flight();
}

/// From 64-bit code by the number of the i386 table, into 64-bit code.
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
    // The leader's call leaves with -ERESTARTNOHAND before the leader dies, so it never returns.
    let pause = report.row("x86_64", "pause");
    assert_eq!((pause.calls, pause.never_returned), (1, 1));
    // Only the last program ends by itself.
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

/// The exec fails after the old program is gone, so the process dies.
pub(super) fn exec_fails_late(mode: Mode) {
    let (report, statement) =
        Stat::new(mode).by_process_and_call().workload(&["fail-late", "calls=50"]);
    report.has_exactly_by_process(&statement);
    report.nothing_is_in_flight();
}

/// The same by a thread that has already taken its leader's id.
pub(super) fn exec_by_a_thread_fails_late(mode: Mode) {
    let (report, statement) =
        Stat::new(mode).by_process_and_call().workload(&["fail-late", "calls=50", "by-thread=1"]);
    report.has_exactly_by_process(&statement);
    report.nothing_is_in_flight();
}
