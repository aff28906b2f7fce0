//! Calls that signals interrupt.

use crate::run::{Mode, Stat};

/// The register of the interrupted code is not a result of `rt_sigreturn`.
pub(super) fn rt_sigreturn(mode: Mode) {
    let (report, statement) = Stat::new(mode).workload(&["handled", "calls=200"]);
    report.has_exactly(&statement);
}

/// A call that a signal interrupts and the kernel restarts is not an error.
pub(super) fn sa_restart(mode: Mode) {
    let (report, statement) = Stat::new(mode).workload(&["restarted", "calls=50"]);
    report.has_exactly(&statement);
}

/// A thread is stopped and continued within a sleep.
pub(super) fn restart_syscall(mode: Mode) {
    let (report, statement) = Stat::new(mode).by_process_and_call().workload(&["stopped"]);
    report.has_exactly_by_process(&statement);
}

/// Handled signals in `nanosleep`, `poll` and `futex`, with SA_RESTART and without.
pub(super) fn signals_in_waits(mode: Mode) {
    let (report, statement) =
        Stat::new(mode).by_process_and_call().workload(&["in-waits", "calls=20"]);
    report.has_exactly_by_process(&statement);
    report.nothing_is_in_flight();
}
