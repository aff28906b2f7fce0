//! Attaching to a busy host.

use crate::{
    detach::{assert_gone, objects},
    run::{Held, Mode, Stat, wait_until},
};

/// Number of attaches. The programs of all objects attach in the same way. An attach under load
/// takes a second.
const TIMES: u32 = 20;
const TIMES_OF_OTHERS: u32 = 5;

/// Attaches again and again. Nothing is left in the kernel, nothing is lost, and calls in flight at
/// an attach do not count as denied.
pub(super) fn attach_under_load(mode: Mode) {
    let load = Held::start(&["burn", "threads=4"]);
    let times = if mode == Mode::Main { TIMES } else { TIMES_OF_OTHERS };
    for _ in 0..times {
        let running = Stat::new(mode).args(["--all"]).by_process_and_call().start().attached();
        let objects = objects(&running);
        // On a busy machine, the load may not have run yet.
        let before = cpu_ticks(load.pid());
        wait_until("the load has run", || cpu_ticks(load.pid()) > before);
        let report = running.interrupt();
        let of_load: Vec<_> = report.rows.iter().filter(|r| r.pid == Some(load.pid())).collect();
        assert!(!of_load.is_empty(), "the load makes calls");
        assert!(of_load.iter().all(|row| row.denied == 0), "{of_load:#?}");
        assert_gone(&objects);
    }
    load.stop();
}

/// CPU time of a process, user and system, in clock ticks.
fn cpu_ticks(pid: u32) -> u64 {
    let stat = procfs::process::Process::new(pid.cast_signed()).and_then(|process| process.stat());
    let stat = stat.expect("a running process");
    stat.utime + stat.stime
}
