//! Calls that seccomp or ptrace answers instead of the kernel.

use crate::{
    report::{Report, kernel},
    run::{Held, Mode, Stat, wait_until},
    service::Daemon,
};

/// Calls that seccomp refuses never enter, and are counted separately.
pub(super) fn seccomp_errno(mode: Mode) {
    let (report, statement) =
        Stat::new(mode).by_process_and_call().workload(&["denied", "calls=100"]);
    report.has_exactly_by_process(&statement);
    report.has_exactly(&statement);
}

/// How many first calls of threads after the attach may be missing in the denied calls. 0, unless
/// the kernel does not report what seccomp allows (before Linux 5.11).
fn missed_at_most(threads: u64) -> u64 {
    if kernel() >= (5, 11) { 0 } else { threads }
}

/// Denied calls of threads from before the attach are counted under their process. A `read` in
/// which a thread slept does not count as denied, although the filter refuses some reads. The
/// fallback has no list of such calls.
pub(super) fn seccomp_before(mode: Mode) {
    for (threads, all) in [(1, false), (64, true)] {
        let held = Held::start(&["denied-before", &format!("threads={threads}"), "calls=5000"]);
        let pid = held.pid();
        let scope = if all { "--all".to_owned() } else { format!("--pid={pid}") };
        let running = Stat::new(mode).by_process_and_call().args([scope]).start().attached();
        let stated = held.go().total()["x86_64/getsid"].denied;
        let report = if all { running.interrupt() } else { running.end().report() };
        let [getsid, read] = ["getsid", "read"].map(|syscall| of_process(&report, pid, syscall));
        let counted = stated - missed_at_most(threads)..=stated;
        assert!(counted.contains(&getsid), "{getsid} of {stated}");
        assert!(read <= if mode == Mode::Fallback { threads } else { 0 }, "{read}");
        report.nothing_overflowed();
    }
}

fn of_process(report: &Report, pid: u32, syscall: &str) -> u64 {
    let rows = report.rows.iter();
    rows.filter(|row| row.pid == Some(pid) && row.syscall.as_deref() == Some(syscall))
        .map(|row| row.denied)
        .sum()
}

/// The daemon's counter has these calls.
pub(super) fn seccomp_before_the_daemon(mode: Mode) {
    const THREADS: u64 = 64;
    const DENIED: &str = "profiler_syscall_denials_total{abi=\"x86_64\",syscall=\"getsid\"}";
    // A filter by name, because other tests make such calls at the same time.
    let name = format!("denied-{mode:?}").to_lowercase();
    let (threads, named) = (format!("threads={THREADS}"), format!("name={name}"));
    let held = Held::start(&["denied-before", &threads, "calls=100", &named]);
    let daemon = Daemon::start_with(mode, "200ms", &["--comm", &name]);
    let stated = held.go().total()["x86_64/getsid"].denied;
    let counted = stated - missed_at_most(THREADS)..=stated;
    let denied = || daemon.metrics().get(DENIED).map_or(0, |&denied| denied as u64);
    wait_until("the daemon has read them", || denied() >= *counted.start());
    assert!(counted.contains(&denied()), "{} of {stated}", denied());
    daemon.end();
}

/// A signal handler runs instead of the call, and returns.
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

/// Threads from before the attach that end in their first call after it.
pub(super) fn seccomp_kill_before(mode: Mode) {
    let held = Held::start(&["killed-before", "threads=4"]);
    let pid = held.pid().to_string();
    let running = Stat::new(mode).by_process_and_call().args(["--pid", &pid]).start().attached();
    let statement = held.go();
    let report = running.end().report();
    report.has_exactly_by_process(&statement);
    report.nothing_is_in_flight();
}

/// The filter asks a tracer, and there is none.
pub(super) fn seccomp_trace(mode: Mode) {
    let (report, statement) =
        Stat::new(mode).by_process_and_call().workload(&["seccomp-trace", "calls=100"]);
    report.has_exactly_by_process(&statement);
    report.nothing_is_in_flight();
}

/// Another thread answers, or lets the call continue.
pub(super) fn seccomp_user_notif(mode: Mode) {
    let (report, statement) =
        Stat::new(mode).by_process_and_call().workload(&["seccomp-user-notification", "calls=99"]);
    report.has_exactly_by_process(&statement);
    report.nothing_is_in_flight();
}

/// The tracer sets the result after the tracepoints.
pub(super) fn ptrace_result_at_exit(mode: Mode) {
    let (report, statement) =
        Stat::new(mode).by_process_and_call().workload(&["ptrace-result-at-exit", "calls=50"]);
    report.has_exactly_by_process(&statement);
    report.nothing_is_in_flight();
}

/// A 32-bit tracer sets the lower half of the result, and clears the upper half.
pub(super) fn ptrace_result_in_32_bits(mode: Mode) {
    let (report, statement) =
        Stat::new(mode).by_process_and_call().workload(&["ptrace-answered-in-32-bits", "calls=50"]);
    report.has_exactly_by_process(&statement);
    report.nothing_is_in_flight();
}

/// The tracer answers before the call enters, which then has the number -1.
pub(super) fn ptrace_result_at_entry(mode: Mode) {
    let (report, statement) =
        Stat::new(mode).by_process_and_call().workload(&["ptrace-result-at-entry", "calls=50"]);
    report.has_exactly_by_process(&statement);
    report.nothing_is_in_flight();
}

/// The kernel makes the call, and the tracer changes the result.
pub(super) fn ptrace_other_result(mode: Mode) {
    let (report, statement) =
        Stat::new(mode).by_process_and_call().workload(&["ptrace-other-result", "calls=50"]);
    report.has_exactly_by_process(&statement);
    report.nothing_is_in_flight();
}

/// The tracer changes the number of the call.
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

/// The tracee is killed in the stop at the entry of a call.
pub(super) fn ptrace_kill_at_entry(mode: Mode) {
    let (report, statement) =
        Stat::new(mode).by_process_and_call().workload(&["ptrace-killed-at-entry", "calls=20"]);
    report.has_exactly_by_process(&statement);
    report.nothing_is_in_flight();
}

/// Seccomp asks the tracer, which skips the call.
pub(super) fn ptrace_skip_for_seccomp(mode: Mode) {
    let args = ["ptrace-skipped-for-seccomp", "calls=50"];
    let (report, statement) = Stat::new(mode).by_process_and_call().workload(&args);
    report.has_exactly_by_process(&statement);
    report.nothing_is_in_flight();
}
