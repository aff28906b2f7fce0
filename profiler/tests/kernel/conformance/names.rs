//! The name of a process is the last name of its leader.

use crate::{
    report::Report,
    run::{Held, Mode, Stat},
    workload::{RENAMED, Statement},
};

#[track_caller]
fn assert_name(report: &Report, pid: u32, name: &str) {
    let rows: Vec<_> = report.rows.iter().filter(|row| row.pid == Some(pid)).collect();
    assert!(!rows.is_empty(), "process {pid} has rows");
    assert!(rows.iter().all(|row| row.comm.as_deref() == Some(name)), "{name}: {rows:#?}");
}

fn pid(statement: &Statement) -> u32 {
    statement.processes[0].pid
}

/// The first 15 bytes of this executable's name, which the kernel keeps.
fn own_name() -> String {
    let name = std::fs::read_to_string("/proc/self/comm").expect("a name");
    name.trim_end().to_owned()
}

/// The process has ended before the report is printed, and has its last name.
pub(super) fn rename(mode: Mode) {
    let (report, statement) = Stat::new(mode).by_process_and_call().workload(&["rename"]);
    assert_name(&report, pid(&statement), RENAMED.to_str().expect("ASCII"));
    report.has_exactly_by_process(&statement);
}

pub(super) fn rename_by_exec(mode: Mode) {
    let (report, _) =
        Stat::new(mode).by_process_and_call().command(["sh", "-c", "exec sleep 0.01"]);
    let pid = report.rows[0].pid.expect("a process");
    assert_name(&report, pid, "sleep");
}

pub(super) fn rename_by_a_thread_s_exec(mode: Mode) {
    let (report, statement) =
        Stat::new(mode).by_process_and_call().workload(&["exec-by-thread", "calls=1"]);
    assert_name(&report, pid(&statement), &own_name());
}

pub(super) fn thread_names(mode: Mode) {
    let (report, statement) = Stat::new(mode).by_process_and_call().workload(&["named-threads"]);
    assert_name(&report, pid(&statement), &own_name());
    report.has_exactly_by_process(&statement);
}

/// Another thread makes the first call, while the leader sleeps since before the attach.
pub(super) fn thread_seen_first(mode: Mode) {
    let held = Held::start(&["named-threads"]);
    let pid = held.pid();
    let running =
        Stat::new(mode).by_process_and_call().args(["--pid", &pid.to_string()]).start().attached();
    let statement = held.go();
    let report = running.end().report();
    assert_name(&report, pid, &own_name());
    report.has_exactly_by_process(&statement);
}

pub(super) fn rename_by_a_thread(mode: Mode) {
    let (report, statement) =
        Stat::new(mode).by_process_and_call().workload(&["renamed-by-thread"]);
    assert_name(&report, pid(&statement), RENAMED.to_str().expect("ASCII"));
}

/// The leader sleeps or has ended, before or after the attach, and makes no call.
pub(super) fn rename_of_an_idle_leader(mode: Mode) {
    for leader in ["sleeping=1", "zombie=1"] {
        let args = ["renamed-by-thread-alone", leader];
        let (report, statement) = Stat::new(mode).by_process_and_call().workload(&args);
        assert_name(&report, pid(&statement), RENAMED.to_str().expect("ASCII"));
        report.has_exactly_by_process(&statement);
        let held = Held::start(&args);
        let running = Stat::new(mode).by_process_and_call().args(["--all"]).start().attached();
        let statement = held.go();
        let report = running.interrupt();
        assert_name(&report, pid(&statement), RENAMED.to_str().expect("ASCII"));
        report.has_exactly_by_process(&statement);
    }
}
