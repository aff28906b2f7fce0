//! Filters count exactly the matching calls.

use std::{
    collections::BTreeSet,
    fs,
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
};

use super::Skip;
use crate::{
    report::Report,
    run::{Held, Mode, Stat},
    workload::{Statement, WANTED},
};

/// Checks that there are only rows of these calls.
#[track_caller]
fn has_only(report: &Report, names: &[&str]) {
    let reported: BTreeSet<_> = report.rows.iter().filter_map(|row| row.name()).collect();
    let wanted: BTreeSet<_> = names.iter().map(|&name| name.to_owned()).collect();
    assert_eq!(reported, wanted);
}

/// Reduces a statement to these calls.
fn only(mut statement: Statement, names: &[&str]) -> Statement {
    for process in &mut statement.processes {
        process.calls.retain(|name, _| names.contains(&name.as_str()));
    }
    statement
}

/// Some of twenty syscalls, by threads and by processes, also with too few records.
pub(super) fn syscalls(mode: Mode) {
    let names = ["x86_64/fsync", "x86_64/getppid", "x86_64/mincore"];
    let filter = ["--syscall", "fsync,getppid", "--syscall", "mincore"];
    for (room, workload) in [
        (&[][..], &["counts", "threads=8", "calls=300"][..]),
        (&[], &["counts", "processes=20", "calls=50"]),
        (&["--max-threads", "1"], &["counts", "threads=8", "calls=300"]),
        (&["--max-threads", "1"], &["counts", "processes=20", "calls=50"]),
    ] {
        let (report, statement) = Stat::new(mode).args(filter).args(room).workload(workload);
        report.has_exactly(&only(statement, &names));
        has_only(&report, &names);
    }
}

/// All syscalls except some, one of which ends the process.
pub(super) fn syscalls_excluded(mode: Mode) {
    let names = ["x86_64/fsync", "x86_64/getppid", "x86_64/exit_group"];
    let (report, statement) = Stat::new(mode)
        .args(["--exclude-syscall", "fsync,getppid", "--syscall", "!exit_group"])
        .workload(&["counts", "threads=4", "calls=300", "processes=4"]);
    let others: Vec<_> = statement.total().into_keys().collect();
    let others: Vec<_> =
        others.iter().map(String::as_str).filter(|name| !names.contains(name)).collect();
    assert!(others.len() > 15);
    report.has_exactly(&only(statement, &others));
    assert!(report.rows.iter().all(|row| !names.contains(&&*row.name().expect("a call"))));
}

/// Names on all ABIs or on one, numbers, and classes.
pub(super) fn syscalls_by_abi(mode: Mode) {
    for (filter, names) in [
        ("getppid", &["i386/getppid", "x32/getppid", "x86_64/getppid"][..]),
        ("i386:open,20", &["i386/open"]),
        ("i386:20,110", &["i386/getpid", "x86_64/getppid"]),
        ("unknown", &["i386/unknown"]),
        ("getppid,!x32:getppid", &["i386/getppid", "x86_64/getppid"]),
        ("i386:%pure", &["i386/getpid", "i386/getppid"]),
        ("i386:%file,!i386:%pure", &["i386/open"]),
    ] {
        let (report, statement) =
            Stat::new(mode).args(["--syscall", filter]).workload(&["abis", "calls=50"]);
        report.has_exactly(&only(statement, names));
        // The workload makes no writev (number 20), but the runtime may.
        let made = report.rows.iter().filter(|row| row.syscall.as_deref() != Some("writev"));
        let made: BTreeSet<_> = made.filter_map(|row| row.name()).collect();
        assert_eq!(made, names.iter().map(|&name| name.to_owned()).collect(), "{filter}");
    }
}

/// A denied call is counted if it matches. Otherwise, it is not a loss.
pub(super) fn syscalls_denied(mode: Mode) {
    for (filter, names) in [
        ("getsid", &["x86_64/getsid"][..]),
        ("adjtimex,getppid", &["i386/adjtimex"]),
        ("getppid", &[]),
    ] {
        for room in [&[][..], &["--max-threads", "1"]] {
            let (report, statement) = Stat::new(mode)
                .args(["--syscall", filter])
                .args(room)
                .workload(&["denied", "calls=100"]);
            if !names.is_empty() {
                report.has_exactly(&only(statement, names));
            }
            has_only(&report, names);
        }
    }
}

/// Calls in flight from before are filtered too.
pub(super) fn syscalls_before(mode: Mode) -> Result<(), Skip> {
    let held = Held::start(&["counts", "threads=3", "calls=10"]);
    let pid = held.pid().to_string();
    let before = |filter| {
        let running = Stat::new(mode).args(["--pid", &pid, "--syscall", filter]).start();
        running.attached().interrupt().in_flight_before
    };
    // Three threads wait at a barrier, and the main thread waits for its input.
    let found = ["futex", "read", "getppid"].map(before);
    held.go();
    match found {
        [None, ..] => Err(Skip::NothingBefore),
        found => {
            assert_eq!(found, [Some(3), Some(1), Some(0)]);
            Ok(())
        }
    }
}

/// Cgroups for a test: two siblings, one of which has a child.
pub(crate) struct Cgroups(pub(crate) PathBuf);

impl Cgroups {
    /// The mount point of cgroup version 2.
    pub(super) fn mount() -> Result<PathBuf, Skip> {
        let mounts = fs::read_to_string("/proc/mounts").expect("mounts");
        let mount = mounts.lines().find_map(|line| {
            let mut fields = line.split(' ').skip(1);
            let point = fields.next()?;
            (fields.next()? == "cgroup2").then_some(point)
        });
        Ok(mount.ok_or(Skip::NoCgroups)?.into())
    }

    pub(crate) fn new(mode: Mode) -> Result<Self, Skip> {
        let mount = Self::mount()?;
        // Other cases run at the same time.
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("profiler-test-{}-{mode:?}-{number}", std::process::id());
        let this = Self(mount.join(name));
        for directory in ["", "in", "in/deep", "in-not"] {
            fs::create_dir(this.0.join(directory)).expect("a cgroup");
        }
        Ok(this)
    }

    pub(crate) fn arg(&self, name: &str, path: &str) -> String {
        format!("{name}={}", self.0.join(path).display())
    }

    /// The path for a flag, absolute.
    pub(crate) fn path(&self, path: &str) -> String {
        self.0.join(path).display().to_string()
    }

    /// The path for a flag, from the root of the hierarchy.
    pub(crate) fn relative(&self, path: &str) -> String {
        let name = self.0.file_name().expect("a name");
        format!("{}/{path}", name.to_string_lossy())
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        for directory in ["in/deep", "in", "in-not", ""] {
            // The last process has ended, and may not have left yet.
            for _ in 0..500 {
                if fs::remove_dir(self.0.join(directory)).is_ok() {
                    break;
                }
                std::thread::sleep(std::time::Duration::from_millis(2));
            }
        }
    }
}

/// Calls alternate between the cgroup or its child, and a sibling with the same prefix in its name.
pub(super) fn cgroup(mode: Mode) -> Result<(), Skip> {
    let cgroups = Cgroups::new(mode)?;
    for (inside, flag) in [
        ("in", cgroups.path("in")),
        ("in/deep", cgroups.relative("in")),
        ("in/deep", format!("/{}", cgroups.relative("in/deep"))),
        ("in", format!("{},{}", cgroups.path("in/deep"), cgroups.path("in"))),
    ] {
        let (inside, outside) = (cgroups.arg("inside", inside), cgroups.arg("outside", "in-not"));
        let args = ["migrated", "rounds=3", "threads=2", "calls=20", &inside, &outside];
        let (report, statement) =
            Stat::new(mode).by_process_and_call().args(["--cgroup", &flag]).workload(&args);
        report.has_exactly_by_process(&statement);
        report.has_exactly(&statement);
    }
    Ok(())
}

/// A filter by cgroup on the whole host. No other process is in the cgroup.
pub(super) fn cgroup_of_the_host(mode: Mode) -> Result<(), Skip> {
    let cgroups = Cgroups::new(mode)?;
    let (inside, outside) = (cgroups.arg("inside", "in/deep"), cgroups.arg("outside", "in-not"));
    let running = Stat::new(mode)
        .by_process_and_call()
        .args(["--all", "--cgroup", &cgroups.path("in")])
        .start()
        .attached();
    let held = Held::start(&["migrated", "rounds=5", "threads=3", "calls=100", &inside, &outside]);
    let own = held.pid();
    let statement = held.go();
    let report = running.interrupt();
    report.has_exactly_by_process(&statement);
    let children: Vec<_> = statement.processes.iter().map(|process| process.pid).collect();
    assert!(children.contains(&own));
    assert!(report.rows.iter().all(|row| row.pid.is_some_and(|pid| children.contains(&pid))));
    Ok(())
}

/// One thread of a process is moved, and the others are not.
pub(super) fn cgroup_of_a_thread(mode: Mode) -> Result<(), Skip> {
    let cgroups = Cgroups::new(mode)?;
    fs::write(cgroups.0.join("in/deep/cgroup.type"), "threaded").expect("a threaded cgroup");
    let (inside, outside) = (cgroups.arg("inside", "in/deep"), cgroups.arg("outside", "in"));
    let args = ["migrated-thread", "rounds=4", "calls=50", &inside, &outside];
    let (report, statement) = Stat::new(mode)
        .by_process_and_call()
        .args(["--cgroup", &cgroups.path("in/deep")])
        .workload(&args);
    report.has_exactly_by_process(&statement);
    Ok(())
}

/// The accounting checks of processes that are moved all the time while they make calls.
pub(super) fn cgroup_under_load(mode: Mode) -> Result<(), Skip> {
    let cgroups = Cgroups::new(mode)?;
    let burning = Held::start(&["burn", "threads=2"]);
    let running =
        Stat::new(mode).args(["--all", "--cgroup", &cgroups.path("in")]).start().attached();
    for directory in ["in", "in-not", "in/deep", "in-not"].iter().cycle().take(200) {
        let procs = cgroups.0.join(directory).join("cgroup.procs");
        fs::write(procs, burning.pid().to_string()).expect("a move");
        std::thread::sleep(std::time::Duration::from_millis(3));
    }
    // Every report passes the accounting checks, and this one has calls.
    let report = running.interrupt();
    burning.stop();
    assert!(report.row("x86_64", "getppid").calls > 0);
    Ok(())
}

/// Calls alternate between the name and another. The leader or another thread renames the process.
pub(super) fn comm(mode: Mode) {
    for by_thread in [&[][..], &["by-thread=1"]] {
        let args = ["renamed-by-turns", "rounds=3", "threads=2", "calls=20"];
        let (report, statement) = Stat::new(mode)
            .by_process_and_call()
            .args(["--comm", &format!("nobody,{WANTED}")])
            .workload(&[&args[..], by_thread].concat());
        report.has_exactly_by_process(&statement);
        report.has_exactly(&statement);
    }
}

/// An exec brings a process into the filter's scope, or out of it.
pub(super) fn comm_by_exec(mode: Mode) {
    by_exec(mode, "execs-by-name");
}

/// An exec by a thread that is not the leader, and has its own name.
pub(super) fn comm_by_a_thread_s_exec(mode: Mode) {
    by_exec(mode, "execs-of-threads-by-name");
}

fn by_exec(mode: Mode, workload: &str) {
    let directory = tempfile::tempdir().expect("a directory");
    let own = std::env::current_exe().expect("an executable");
    for name in [WANTED, "unwanted"] {
        std::os::unix::fs::symlink(&own, directory.path().join(name)).expect("a link");
    }
    let links = format!("directory={}", directory.path().display());
    let (report, statement) = Stat::new(mode)
        .by_process_and_call()
        .args(["--comm", WANTED])
        .workload(&[workload, "calls=25", &links]);
    report.has_exactly_by_process(&statement);
}

/// Different filters are ANDed.
pub(super) fn filters_together(mode: Mode) {
    let own = fs::read_to_string("/proc/self/comm").expect("a name");
    let own = own.trim_end();
    let names = ["x86_64/fsync", "x86_64/getppid"];
    let stat = |pid: u32, comm: &str| {
        Stat::new(mode)
            .by_process_and_call()
            .args(["--pid", &pid.to_string(), "--comm", comm, "--syscall", "fsync,getppid"])
            .start()
            .attached()
    };
    let held = Held::start(&["counts", "threads=4", "calls=100", "processes=4"]);
    let other = Held::start(&["counts", "threads=4", "calls=100"]);
    let (running, nobody) = (stat(held.pid(), own), stat(held.pid(), "nobody"));
    other.go();
    let statement = only(held.go(), &names);
    let pid = statement.processes[0].pid;
    let report = running.end().report();
    report.has_exactly_by_process(&statement);
    report.has_exactly(&statement);
    has_only(&report, &names);
    let scope = serde_json::json!({
        "pids": [pid],
        "cgroups": null,
        "units": null,
        "containers": null,
        "pods": null,
        "comms": [own],
        "syscalls": { "only": ["fsync", "getppid"], "except": [] },
    });
    assert_eq!(report.scope, scope);
    has_only(&nobody.end().report(), &[]);
}
