//! Room that turns out to be too little is added.

use crate::{
    run::{Held, Mode, Stat, wait_until},
    workload::Statement,
};

/// More processes between two readings than there are records at the start, twice: the
/// second time there are more, since they were missed.
pub(crate) fn records_that_were_missing_are_added(mode: Mode) {
    // Three processes a turn, and 8192 records at the start of 32768.
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
    let after_first = reports[before + 1].overflowed;
    assert!(after_first > 0, "the first time there was to be too little room");
    let mut report = reports.pop().expect("a report");
    assert_eq!(report.overflowed, after_first, "the second time there was enough");
    report.rows.extend(reports.into_iter().flat_map(|report| report.rows));
    assert_eq!((first.processes.len(), second.processes.len()), (9_001, 9_001));
    let processes = first.processes.into_iter().chain(second.processes).collect();
    report.totals_are(&Statement { processes, ..Statement::default() });
}
