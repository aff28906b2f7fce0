//! Space in the tables while nothing drains them, and after another user has taken its share.

use crate::{
    report::Report,
    run::{Held, Mode, Stat, wait_until},
    service::{Daemon, Name},
    workload::Statement,
};

/// Unused user ids, so that no other program uses a part of their shares.
const NEIGHBOUR: &str = "uid=60001";
const VICTIM: &str = "uid=60002";

/// While the profiler is stopped, many processes start. All of them get a record, because all
/// records are available from the start. The test does this twice.
pub(crate) fn a_stopped_reader_has_all_of_its_records(mode: Mode) {
    // Three processes per round.
    let [first, second] = [(); 2].map(|()| Held::start(&["forks", "calls=3000"]));
    let pids = format!("{},{}", first.pid(), second.pid());
    let running = Stat::new(mode).args(["--interval", "50ms", "--pid", &pids]).start().attached();
    // Stop the profiler, so that it does not drain, as on an overloaded host.
    running.signal(libc::SIGSTOP);
    let first = first.go();
    let before = running.intervals();
    running.signal(libc::SIGCONT);
    // The next interval may have begun before. The one after that was read since.
    wait_until("it has read", || running.intervals() >= before + 2);
    running.signal(libc::SIGSTOP);
    let second = second.go();
    running.signal(libc::SIGCONT);
    let mut reports = running.end().reports();
    let mut report = reports.pop().expect("a report");
    report.nothing_overflowed();
    report.rows.extend(reports.into_iter().flat_map(|report| report.rows));
    assert_eq!((first.processes.len(), second.processes.len()), (9_001, 9_001));
    let processes = first.processes.into_iter().chain(second.processes).collect();
    report.totals_are(&Statement { processes, ..Statement::default() });
}

/// Calls of a syscall that were counted without their process.
fn overflowed(report: &Report, name: &str) -> u64 {
    let rows = report.rows.iter().filter(|row| row.pid.is_none());
    rows.filter(|row| row.name().as_deref() == Some(name)).map(|row| row.calls).sum()
}

/// Runs a victim once a neighbour has taken its maximum share. Returns the report of both. The
/// totals are exact, and all calls of the victim are counted by process.
fn beside_a_neighbour(
    mode: Mode,
    room: &[&str],
    neighbour: &[&str],
    victim: &[&str],
) -> (Report, Statement) {
    let mut neighbour = Held::start(&[&["crowd", NEIGHBOUR], neighbour].concat());
    let victim = Held::start(&[&["counts", VICTIM], victim].concat());
    let pids = format!("{},{}", neighbour.pid(), victim.pid());
    let args = [&["--pid", &pids], room].concat();
    let running = Stat::new(mode).by_process_and_call().args(args).start().attached();
    neighbour.fill();
    let of_victim = victim.go();
    let of_neighbour = neighbour.go();
    let report = running.end().report();
    report.has_exactly_by_process(&of_victim);
    let without_process = report.rows.iter().filter(|row| row.pid.is_none());
    assert_eq!(without_process.map(|row| row.calls).sum::<u64>(), report.overflowed);
    let stated = of_neighbour.processes.iter().map(|process| process.pid).collect::<Vec<_>>();
    let processes = of_neighbour.processes.into_iter().chain(of_victim.processes).collect();
    let all = Statement { processes, ..Statement::default() };
    report.has_exactly(&all);
    let of_neighbour = all.processes.into_iter().filter(|p| stated.contains(&p.pid)).collect();
    (report, Statement { processes: of_neighbour, ..Statement::default() })
}

/// Thousands of idle threads of another user have exactly the maximum share of records, and their
/// calls without a record are counted exactly.
pub(crate) fn a_neighbour_s_idle_threads_leave_records(mode: Mode) {
    const THREADS: u64 = 2_500;
    const RECORDS: u64 = 600;
    let room = ["--max-threads", &RECORDS.to_string()];
    let neighbour = [&format!("threads={THREADS}"), "calls=2"];
    // At most a fifth of the records.
    let victim = ["threads=40", "processes=40", "calls=20"];
    let (report, neighbour) = beside_a_neighbour(mode, &room, &neighbour, &victim);
    // The main thread has a record, and the first threads that it started.
    let without_record = THREADS + 1 - RECORDS;
    for (name, made) in &neighbour.processes[0].calls {
        if !name.contains("exit") {
            let of_each = made.calls / THREADS;
            assert_eq!(overflowed(&report, name), without_record * of_each, "{name}");
        }
    }
}

/// The same for the memory for figures: calls and latencies of the victim have space, although the
/// threads of a neighbour make many different calls.
pub(crate) fn a_neighbour_s_many_calls_leave_room_for_figures(mode: Mode) {
    let room = ["--max-memory", "2"];
    let victim = ["threads=8", "processes=4", "calls=20"];
    let (report, _) = beside_a_neighbour(mode, &room, &["threads=400", "calls=6"], &victim);
    assert!(report.overflowed > 0, "the pool was to be too small for the neighbour: {report:#?}");
}

/// As many threads as configured have a record, whether they belong to one user or to two users,
/// and again after they have ended.
pub(crate) fn as_many_threads_as_configured_have_a_record(mode: Mode) {
    for users in [[NEIGHBOUR, NEIGHBOUR], [NEIGHBOUR, VICTIM]] {
        let args = |user| ["crowd", user, "threads=149", "calls=3", "together=1"];
        let mut crowds: Vec<_> =
            [users, users].concat().into_iter().map(|user| Held::start(&args(user))).collect();
        let pids: Vec<_> = crowds.iter().map(|crowd| crowd.pid().to_string()).collect();
        let args = ["--pid", &pids.join(","), "--max-threads", "300", "--interval", "50ms"];
        let running = Stat::new(mode).by_process_and_call().args(args).start().attached();
        let mut processes = Vec::new();
        while !crowds.is_empty() {
            let mut two: Vec<_> = crowds.drain(..2).collect();
            two.iter_mut().for_each(Held::fill);
            processes.extend(two.into_iter().flat_map(|crowd| crowd.go().processes));
            // The next drain returns their records.
            let before = running.intervals();
            wait_until("it has read", || running.intervals() >= before + 2 || crowds.is_empty());
        }
        let mut reports = running.end().reports();
        let mut report = reports.pop().expect("a report");
        report.nothing_overflowed();
        report.rows.extend(reports.into_iter().flat_map(|report| report.rows));
        report.has_exactly_by_process(&Statement { processes, ..Statement::default() });
    }
}

/// The daemon reports that a user has used up its share, and not that the pool is empty.
pub(crate) fn the_daemon_counts_what_is_withheld(mode: Mode) {
    let name = Name::new();
    let flags = [&name.filter()[..], &["--max-threads", "20"]].concat();
    let daemon = Daemon::start_with(mode, "50ms", &flags);
    let mut crowd = Held::start(&["crowd", NEIGHBOUR, &name.arg(), "threads=50", "calls=1"]);
    crowd.fill();
    let metrics = daemon.metrics();
    let of = |metric: &str| metrics[&format!("profiler_pool_{metric}{{pool=\"records\"}}")];
    assert_eq!((of("used"), of("capacity")), (20.0, 25.0));
    // At least once for each of the main thread and 50 other threads, except 20.
    assert!(of("withheld_total") >= 31.0, "{}", of("withheld_total"));
    assert_eq!(of("exhausted_total"), 0.0);
    crowd.go();
}
