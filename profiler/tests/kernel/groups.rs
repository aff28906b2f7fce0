//! Rows by thread and by user: the report equals the statement of the workload.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    report::Report,
    run::{Held, Mode, Stat, capabilities_are_bounded},
    workload::USERS,
};

/// Each thread has a row per syscall, under its last name.
pub(crate) fn by_thread(mode: Mode) {
    let args = ["grouped-threads", "threads=8"];
    let (report, statement) = Stat::new(mode).args(["--by", "thread,syscall"]).workload(&args);
    report.has_exactly(&statement);
    report.has_exactly_by_thread(&statement);
    report.nothing_overflowed();
    let workers = report
        .rows
        .iter()
        .filter(|row| row.comm.as_ref().is_some_and(|comm| comm.starts_with("worker-")));
    let processes: BTreeSet<_> = workers.map(|row| (row.pid, &row.process_comm)).collect();
    assert_eq!(processes.len(), 1, "all threads are of one process: {processes:?}");
    let (report, of_process) = Stat::new(mode).args(["--by", "process,thread"]).workload(&args);
    let process = &of_process.processes[0];
    let rows = report.rows.iter().filter(|row| row.pid == Some(process.pid));
    assert_eq!(rows.count(), 1 + of_process.threads.len(), "the threads and the main thread");
}

/// The sum over all intervals is the whole run, by thread, although most threads end in an
/// interval.
pub(crate) fn by_thread_and_interval(mode: Mode) {
    let held = Held::start(&["counts", "threads=8", "calls=5000", "processes=4"]);
    let pid = held.pid().to_string();
    let args = ["--by", "thread,syscall", "--interval", "20ms", "--pid", &pid];
    let running = Stat::new(mode).args(args).start().attached();
    let statement = held.go();
    whole(running.end().reports()).totals_are(&statement);
}

/// Merges all reports.
fn whole(reports: Vec<Report>) -> Report {
    let mut reports = reports.into_iter();
    let mut whole = reports.next().expect("a report");
    whole.rows.extend(reports.flat_map(|report| report.rows));
    whole
}

/// Processes that change their user have their last user, even if they are short-lived, and even if
/// the call that changes the user is not counted.
pub(crate) fn by_user(mode: Mode) -> Result<(), String> {
    if capabilities_are_bounded() {
        return Err("the capabilities to change users are not there".into());
    }
    for filter in [&[][..], &["--syscall", "getppid"]] {
        let by_user = || Stat::new(mode).args(["--by", "user,syscall"]).args(filter);
        let (report, _) = by_user().workload(&["users"]);
        assert_is_as_stated(&report);
        // The processes are alive when the interval ends.
        let held = Held::start(&["users", "sleep=1"]);
        let pid = held.pid().to_string();
        let running = by_user().args(["--interval", "100ms", "--pid", &pid]).start().attached();
        held.go();
        assert_is_as_stated(&whole(running.end().reports()));
    }
    Ok(())
}

fn assert_is_as_stated(report: &Report) {
    let name = |uid: u32| {
        let user = nix::unistd::User::from_uid(uid.into()).expect("a list of users");
        user.map_or_else(|| uid.to_string(), |user| user.name)
    };
    let stated: BTreeMap<String, u64> = USERS.map(|(uid, calls)| (name(uid), calls)).into();
    let mut reported: BTreeMap<String, u64> = BTreeMap::new();
    let of_call = |row: &&crate::report::Row| row.syscall.as_deref() == Some("getppid");
    for row in report.rows.iter().filter(of_call) {
        *reported.entry(row.user.clone().expect("a user")).or_default() += row.calls;
    }
    assert_eq!(reported, stated);
}
