//! Room for those who come while nobody reads.

use crate::{
    run::{Held, Mode, Stat, wait_until},
    workload::Statement,
};

/// Many more processes come than are given back meanwhile, since the profiler is stopped,
/// twice: it has all of its records from the start.
pub(crate) fn a_stopped_reader_has_all_of_its_records(mode: Mode) {
    // Three processes a turn.
    let [first, second] = [(); 2].map(|()| Held::start(&["forks", "calls=3000"]));
    let pids = format!("{},{}", first.pid(), second.pid());
    let running = Stat::new(mode).args(["--interval", "50ms", "--pid", &pids]).start().attached();
    // So that it does not read meanwhile, as on a host that has no time for it.
    running.signal(libc::SIGSTOP);
    let first = first.go();
    let before = running.intervals();
    running.signal(libc::SIGCONT);
    // The next may have been printed in part before; what follows it was read since.
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
