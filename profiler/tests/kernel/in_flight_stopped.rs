//! Calls that entered before the profiler attached, of threads that a tracer, a freezer or a
//! seccomp supervisor keeps asleep.

use std::{
    fs,
    io::{BufRead as _, Read as _},
    path::PathBuf,
};

use crate::{
    conformance::Skip,
    in_flight::{Reading, Stuck, before_is_seen, in_call, report_with_before, watch},
    report::kernel,
    run::{Held, Mode, Stat, statement, wait_until, workload_args},
    workload::READY,
};

/// A tracee that stopped to report an event is within its call. A tracee that a signal stopped has
/// left its call. A tracee that stopped at the entry or before seccomp has not entered.
pub(crate) fn in_flight_before_and_traced(mode: Mode) -> Result<(), Skip> {
    before_is_seen(mode)?;
    let held = Held::start(&["stopped-before"]);
    let args = ["--all", "--interval", "100ms", "--comm", "in-fork,in-exit,outside"];
    let running = Stat::new(mode).args(args).start().attached();
    let report = report_with_before(&running, mode)?;
    let mut in_flight: Vec<_> =
        report.in_flight.iter().map(|c| (c.comm.as_str(), c.syscall.as_str())).collect();
    in_flight.sort_unstable();
    assert_eq!(in_flight, [("in-exit", "exit_group"), ("in-fork", "fork")]);
    assert_eq!(report.in_flight_before, Some(2));
    held.stop();
    running.signal(libc::SIGINT);
    running.end();
    Ok(())
}

/// A freezer of cgroups v1, and a process in it.
struct Frozen(PathBuf);

impl Frozen {
    fn new(pid: u32) -> Result<Self, Skip> {
        let root = PathBuf::from("/sys/fs/cgroup/freezer");
        if !root.join("cgroup.procs").exists() {
            return Err(Skip::NoFreezer);
        }
        let this = Self(root.join(format!("profiler-test-{pid}")));
        fs::create_dir(&this.0).expect("a cgroup");
        this.write("cgroup.procs", &pid.to_string());
        this.write("freezer.state", "FROZEN");
        wait_until("the process is frozen", || {
            fs::read_to_string(this.0.join("freezer.state")).expect("a state") == "FROZEN\n"
        });
        Ok(this)
    }

    fn write(&self, file: &str, text: &str) {
        fs::write(self.0.join(file), text).expect("a file of a cgroup");
    }

    fn thaw(&self) {
        self.write("freezer.state", "THAWED");
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        let _ = fs::write(self.0.join("freezer.state"), "THAWED");
        let procs = fs::read_to_string(self.0.join("cgroup.procs")).unwrap_or_default();
        for pid in procs.lines() {
            let _ = fs::write("/sys/fs/cgroup/freezer/cgroup.procs", pid);
        }
        let _ = fs::remove_dir(&self.0);
    }
}

/// The freezer of cgroups v1 freezes a thread within `futex`, but makes threads leave `creat` or
/// `read` first.
pub(crate) fn in_flight_before_and_frozen(mode: Mode) -> Result<(), Skip> {
    const WAITING: u64 = 3;
    before_is_seen(mode)?;
    let mut stuck = Stuck::start(WAITING);
    stuck.enter();
    let frozen = Frozen::new(stuck.pid())?;
    let running = watch(mode, stuck.pid(), &[]);
    let report = report_with_before(&running, mode)?;
    assert_eq!(in_call(&report, "futex").len() as u64, WAITING, "{report:#?}");
    assert_eq!(report.in_flight_before, Some(WAITING), "{report:#?}");
    frozen.thaw();
    wait_until("the interrupted calls enter again", || {
        let report = report_with_before(&running, mode).expect("as above");
        assert_eq!(report.in_flight_before, Some(WAITING), "{report:#?}");
        in_call(&report, "creat").len() + in_call(&report, "read").len() == 2
    });
    drop(frozen);
    stuck.let_go();
    running.end();
    Ok(())
}

/// A call that waits for a supervisor has not entered, whether it started to wait before or after
/// the attach. It is not in flight, and is counted once it is answered.
pub(crate) fn held_by_a_supervisor(mode: Mode) {
    for attaches_first in [false, true] {
        let mut workload = Reading::start(&workload_args(&["supervised"]));
        workload.wait_until_reading();
        let enter = |workload: &mut Reading| {
            workload.let_read();
            let mut line = String::new();
            workload.output.read_line(&mut line).expect("a line");
            assert_eq!(line.trim_end(), READY);
        };
        if !attaches_first {
            enter(&mut workload);
        }
        let running = watch(mode, workload.child.id(), &[]);
        if attaches_first {
            enter(&mut workload);
        }
        let _ = report_with_before(&running, mode);
        let report = running.reports_so_far().pop().expect("a report");
        assert_eq!(in_call(&report, "getsid"), Vec::<&_>::new());
        workload.child.stdin = None;
        let mut text = String::new();
        workload.output.read_to_string(&mut text).expect("text");
        let stated = statement(&text).total()["x86_64/getsid"].clone();
        assert!(workload.child.wait().expect("a child of ours").success());
        let reports = running.end().reports();
        let rows = || reports.iter().flat_map(|report| &report.rows);
        let getsid = || rows().filter(|row| row.syscall.as_deref() == Some("getsid"));
        let calls: u64 = getsid().map(|row| row.calls).sum();
        let denied: u64 = getsid().map(|row| row.denied).sum();
        if attaches_first {
            assert_eq!((calls, denied), (stated.calls, stated.denied));
            continue;
        }
        // The kernel checks before seccomp whether anything traces entries (`syscall_trace_enter`,
        // kernel/entry/common.c). So the entry of the continued call is seen only if something else
        // traced entries.
        assert!(calls <= stated.calls, "{calls}");
        let all = stated.calls + stated.denied;
        // If the kernel does not report what seccomp allows, the first exit is ambiguous.
        assert!(calls + denied == all || kernel() < (5, 11) && denied == 0, "{calls}, {denied}");
    }
}
