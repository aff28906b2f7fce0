//! How calls end that do not simply return: pitfalls 2 to 7 of syscall profilers.

use crate::run::{Mode, Stat};

/// `fork`, `vfork` and `clone` return twice, and are one call.
pub(crate) fn a_fork_is_one_call(mode: Mode) {
    let (report, statement) =
        Stat::new(mode).by_process_and_call().workload(&["forks", "calls=100"]);
    assert_eq!(statement.processes.len(), 301);
    report.has_exactly_by_process(&statement);
    report.has_exactly(&statement);
    report.nothing_overflowed();
}

/// A thread that execs takes the leader's id, and kills the leader.
pub(crate) fn an_exec_by_a_thread_is_one_call(mode: Mode) {
    let (report, statement) = Stat::new(mode).workload(&["exec-by-thread", "calls=50"]);
    report.has_exactly(&statement);
    report.nothing_overflowed();
    // The command's own, and the thread's.
    let exec = report.row("x86_64", "execve");
    assert_eq!((exec.calls, exec.returned, exec.errors), (2, 2, 0));
    // The leader's call leaves with -ERESTARTNOHAND before the leader dies.
    let pause = report.row("x86_64", "pause");
    assert_eq!((pause.calls, pause.restarted), (1, 1));
    // Of the whole life only the last program ends by itself.
    let exit_group = report.row("x86_64", "exit_group");
    assert_eq!((exit_group.calls, exit_group.never_returned), (1, 1));
}

/// The same with rows by process: one process, under the last program's name.
pub(crate) fn an_exec_by_a_thread_keeps_the_process(mode: Mode) {
    let (report, statement) =
        Stat::new(mode).by_process_and_call().workload(&["exec-by-thread", "calls=50"]);
    report.has_exactly_by_process(&statement);
    let pid = Some(statement.processes[0].pid);
    assert!(report.rows.iter().all(|row| row.pid == pid), "{:#?}", report.rows);
}

/// Threads that are killed within a call leave it, and leave nothing behind.
pub(crate) fn killed_threads_are_accounted_for(mode: Mode) {
    let (report, statement) =
        Stat::new(mode).by_process_and_call().workload(&["killed", "threads=32"]);
    report.has_exactly_by_process(&statement);
    report.nothing_is_in_flight();
    report.nothing_overflowed();
}

/// What the interrupted code had in its register is no result of `rt_sigreturn`.
pub(crate) fn rt_sigreturn_never_fails(mode: Mode) {
    let (report, statement) = Stat::new(mode).workload(&["handled", "calls=200"]);
    report.has_exactly(&statement);
}

/// A call that a signal breaks and the kernel makes again is no failure.
pub(crate) fn a_restarted_call_is_no_error(mode: Mode) {
    let (report, statement) = Stat::new(mode).workload(&["restarted", "calls=50"]);
    report.has_exactly(&statement);
}

/// Stopped and continued within a sleep.
pub(crate) fn a_stopped_call_comes_back(mode: Mode) {
    let (report, statement) = Stat::new(mode).by_process_and_call().workload(&["stopped"]);
    report.has_exactly_by_process(&statement);
}

/// What seccomp refuses never entered, and is counted apart.
pub(crate) fn denied_calls_are_no_calls(mode: Mode) {
    let (report, statement) =
        Stat::new(mode).by_process_and_call().workload(&["denied", "calls=100"]);
    report.has_exactly_by_process(&statement);
    report.has_exactly(&statement);
}
