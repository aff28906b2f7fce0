//! Which cgroup a call belongs to: the one in which it entered.

use std::{fs, path::Path, time::Duration};

use super::{Skip, filters::Cgroups};
use crate::{
    report::Report,
    run::{Held, Mode, Stat},
    workload::container_id,
};

/// Only the rows of a cgroup, by its path from the root.
fn in_cgroup(mut report: Report, path: &str) -> Report {
    let path = format!("/{path}");
    report.rows.retain(|row| row.cgroup.as_ref() == Some(&path));
    report
}

/// A process with several threads moves into a cgroup and out of it, while a call of one thread is
/// in flight. The workload states which calls entered in the cgroup.
pub(super) fn cgroup_of_a_moved_process(mode: Mode) -> Result<(), Skip> {
    let cgroups = Cgroups::new(mode)?;
    for inside in ["in", "in/deep"] {
        let args = [cgroups.arg("inside", inside), cgroups.arg("outside", "in-not")];
        let args = ["migrated", "rounds=3", "threads=4", "calls=20", &args[0], &args[1]];
        let by = ["--by", "cgroup,process,syscall"];
        let (report, statement) = Stat::new(mode).args(by).workload(&args);
        let report = in_cgroup(report, &cgroups.relative(inside));
        report.has_exactly_by_process(&statement);
    }
    Ok(())
}

/// The same by thread: a thread that moves stays one thread.
pub(super) fn cgroups_of_moved_threads(mode: Mode) -> Result<(), Skip> {
    let cgroups = Cgroups::new(mode)?;
    let args = [cgroups.arg("inside", "in"), cgroups.arg("outside", "in-not")];
    let args = ["migrated", "rounds=3", "threads=4", "calls=20", &args[0], &args[1]];
    let (report, statement) =
        Stat::new(mode).args(["--by", "cgroup,thread,syscall"]).workload(&args);
    let report = in_cgroup(report, &cgroups.relative("in"));
    report.has_exactly_by_process(&statement);
    let (report, _) = Stat::new(mode).args(["--by", "thread"]).workload(&args);
    let mut threads: Vec<_> = report.rows.iter().map(|row| (row.pid, row.thread)).collect();
    threads.sort_unstable();
    let all = threads.len();
    threads.dedup();
    assert_eq!(threads.len(), all, "no thread has two rows");
    Ok(())
}

/// One thread of a process moves to a threaded cgroup, and the others do not.
pub(super) fn cgroup_of_a_moved_thread(mode: Mode) -> Result<(), Skip> {
    let cgroups = Cgroups::new(mode)?;
    fs::write(cgroups.path("in/deep/cgroup.type"), "threaded").expect("a threaded cgroup");
    let args = [cgroups.arg("inside", "in/deep"), cgroups.arg("outside", "in")];
    let args = ["migrated-thread", "rounds=4", "calls=50", &args[0], &args[1]];
    let (report, statement) =
        Stat::new(mode).args(["--by", "cgroup,process,syscall"]).workload(&args);
    in_cgroup(report, &cgroups.relative("in/deep")).has_exactly_by_process(&statement);
    Ok(())
}

/// Processes that live for a millisecond, each in a cgroup that is removed at once.
pub(super) fn cgroups_that_are_removed(mode: Mode) -> Result<(), Skip> {
    let cgroups = Cgroups::new(mode)?;
    for more in [&[][..], &["namespace=1"]] {
        assert_short(mode, Path::new(&cgroups.path("in")), &cgroups.relative("in"), more);
    }
    Ok(())
}

/// Cgroups of version 1 that are renamed and then removed have their last name.
pub(super) fn cgroups_that_are_renamed(mode: Mode) -> Result<(), Skip> {
    let is_in_root =
        fs::read_to_string("/proc/self/cgroup").is_ok_and(|text| text.contains("0::/\n"));
    let root = Path::new("/sys/fs/cgroup/pids");
    if !is_in_root || !root.join("cgroup.procs").exists() {
        return Err(Skip::NoVersion1);
    }
    let name = format!("profiler-test-{}-{mode:?}-renamed", std::process::id());
    let directory = root.join(&name);
    fs::create_dir(&directory).expect("a cgroup");
    assert_short(mode, &directory, &name, &["rename=1"]);
    fs::remove_dir(directory).expect("an empty cgroup");
    Ok(())
}

fn assert_short(mode: Mode, directory: &Path, path: &str, more: &[&str]) {
    let directory = format!("directory={}", directory.display());
    let args = ["short-cgroups", "processes=20", "calls=10", &directory];
    let args = [&args[..], more].concat();
    let by = ["--by", "cgroup,container,process,syscall"];
    let (report, statement) = Stat::new(mode).args(by).workload(&args);
    report.has_exactly_by_process(&statement);
    for (n, process) in (0..).zip(&statement.processes) {
        let id = container_id(n);
        let expected = serde_json::json!({
            "name": null, "id": id, "runtime": "docker", "image": null,
        });
        let is_of_child = |row: &&crate::report::Row| {
            row.pid == Some(process.pid) && row.syscall.as_deref() == Some("getppid")
        };
        let rows: Vec<_> = report.rows.iter().filter(is_of_child).collect();
        assert_eq!(rows.len(), 1, "{rows:#?}");
        assert!(rows[0].unit.is_none() && rows[0].pod.is_none());
        assert_eq!(rows[0].container.as_ref(), Some(&expected));
        let found = rows[0].cgroup.as_deref();
        assert_eq!(found, Some(&*format!("/{path}/docker/{id}")));
    }
}

/// The accounting checks of processes that move all the time while they make calls.
pub(super) fn cgroups_under_load(mode: Mode) -> Result<(), Skip> {
    let cgroups = Cgroups::new(mode)?;
    let burning = Held::start(&["burn", "threads=4"]);
    let pid = burning.pid().to_string();
    let args = ["--pid", &pid, "--by", "cgroup"];
    let running = Stat::new(mode).args(args).start().attached();
    for directory in ["in", "in-not", "in/deep", "in-not"].iter().cycle().take(200) {
        fs::write(cgroups.path(&format!("{directory}/cgroup.procs")), &pid).expect("a move");
        std::thread::sleep(Duration::from_millis(3));
    }
    // Every report passes the accounting checks. Each cgroup has calls.
    let report = running.interrupt();
    burning.stop();
    for directory in ["in", "in-not", "in/deep"] {
        let path = format!("/{}", cgroups.relative(directory));
        let calls = report.rows.iter().filter(|row| row.cgroup.as_ref() == Some(&path));
        assert!(calls.map(|row| row.calls).sum::<u64>() > 0, "{directory}");
    }
    Ok(())
}
