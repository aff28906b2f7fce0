//! Calls that seccomp or ptrace answer in the kernel's place.

use crate::run::{Mode, Stat};

/// What seccomp refuses never entered, and is counted apart.
pub(super) fn seccomp_errno(mode: Mode) {
    let (report, statement) =
        Stat::new(mode).by_process_and_call().workload(&["denied", "calls=100"]);
    report.has_exactly_by_process(&statement);
    report.has_exactly(&statement);
}

/// A signal's handler runs in the call's place, and returns.
pub(super) fn seccomp_trap(mode: Mode) {
    let (report, statement) =
        Stat::new(mode).by_process_and_call().workload(&["seccomp-trap", "calls=100"]);
    report.has_exactly_by_process(&statement);
    report.nothing_is_in_flight();
}

/// The thread or the process ends in the call that it never entered.
pub(super) fn seccomp_kill(mode: Mode) {
    let (report, statement) =
        Stat::new(mode).by_process_and_call().workload(&["seccomp-kill", "calls=20"]);
    report.has_exactly_by_process(&statement);
    report.nothing_is_in_flight();
}

/// There is no tracer that could be asked.
pub(super) fn seccomp_trace(mode: Mode) {
    let (report, statement) =
        Stat::new(mode).by_process_and_call().workload(&["seccomp-trace", "calls=100"]);
    report.has_exactly_by_process(&statement);
    report.nothing_is_in_flight();
}

/// Another thread answers, or lets the call go on.
pub(super) fn seccomp_user_notif(mode: Mode) {
    let (report, statement) =
        Stat::new(mode).by_process_and_call().workload(&["seccomp-user-notification", "calls=99"]);
    report.has_exactly_by_process(&statement);
    report.nothing_is_in_flight();
}

/// The tracer answers when the tracepoints are past.
pub(super) fn ptrace_result_at_exit(mode: Mode) {
    let (report, statement) =
        Stat::new(mode).by_process_and_call().workload(&["ptrace-result-at-exit", "calls=50"]);
    report.has_exactly_by_process(&statement);
    report.nothing_is_in_flight();
}

/// The tracer has answered when the call enters, as number -1.
pub(super) fn ptrace_result_at_entry(mode: Mode) {
    let (report, statement) =
        Stat::new(mode).by_process_and_call().workload(&["ptrace-result-at-entry", "calls=50"]);
    report.has_exactly_by_process(&statement);
    report.nothing_is_in_flight();
}

/// The kernel made the call, and the tracer says otherwise.
pub(super) fn ptrace_other_result(mode: Mode) {
    let (report, statement) =
        Stat::new(mode).by_process_and_call().workload(&["ptrace-other-result", "calls=50"]);
    report.has_exactly_by_process(&statement);
    report.nothing_is_in_flight();
}

/// The tracer has another call made than was asked for.
pub(super) fn ptrace_other_number(mode: Mode) {
    let (report, statement) =
        Stat::new(mode).by_process_and_call().workload(&["ptrace-other-number", "calls=50"]);
    report.has_exactly_by_process(&statement);
    report.nothing_is_in_flight();
}

/// The tracer answers every call, and none is made.
pub(super) fn ptrace_sysemu(mode: Mode) {
    let (report, statement) =
        Stat::new(mode).by_process_and_call().workload(&["ptrace-emulated", "calls=50"]);
    report.has_exactly_by_process(&statement);
    report.nothing_is_in_flight();
}

/// The tracee is killed while its tracer looks at a call.
pub(super) fn ptrace_kill_at_entry(mode: Mode) {
    let (report, statement) =
        Stat::new(mode).by_process_and_call().workload(&["ptrace-killed-at-entry", "calls=20"]);
    report.has_exactly_by_process(&statement);
    report.nothing_is_in_flight();
}

/// Seccomp asks the tracer, who has no call made.
pub(super) fn ptrace_skip_for_seccomp(mode: Mode) {
    let args = ["ptrace-skipped-for-seccomp", "calls=50"];
    let (report, statement) = Stat::new(mode).by_process_and_call().workload(&args);
    report.has_exactly_by_process(&statement);
    report.nothing_is_in_flight();
}
