//! Which cgroup a call belongs to: the one in which it entered.

use std::{
    fs, io,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, unshare},
};

use super::{Skip, filters::Cgroups};
use crate::{
    report::Report,
    run::{Held, Mode, Stat, profiler_command, wait_until, workload_args},
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
        let directory = cgroups.path("in");
        assert_short(Stat::new(mode), Path::new(&directory), &cgroups.relative("in"), more);
    }
    Ok(())
}

/// Cgroups of version 1 that are renamed and then removed have their last name.
pub(super) fn cgroups_that_are_renamed(mode: Mode) -> Result<(), Skip> {
    let root = version_1()?;
    let name = format!("profiler-test-{}-{mode:?}-renamed", std::process::id());
    let directory = root.join(&name);
    fs::create_dir(&directory).expect("a cgroup");
    assert_short(Stat::new(mode), &directory, &name, &["rename=1"]);
    fs::remove_dir(directory).expect("an empty cgroup");
    Ok(())
}

/// Where the hierarchy of the controller `pids` is mounted, as version 1. The path there names the
/// cgroup of this process, unless the process is in a cgroup of version 2 other than the root.
fn version_1() -> Result<PathBuf, Skip> {
    let cgroups = fs::read_to_string("/proc/self/cgroup").expect("cgroups");
    let mounts = fs::read_to_string("/proc/mounts").expect("mounts");
    let point = mounts.lines().find_map(|line| {
        let [_, point, "cgroup", options, ..] = line.split(' ').collect::<Vec<_>>()[..] else {
            return None;
        };
        options.split(',').any(|option| option == "pids").then(|| PathBuf::from(point))
    });
    let in_version_2 = cgroups.lines().any(|line| line.starts_with("0::") && line != "0::/");
    point.filter(|_| !in_version_2).ok_or(Skip::NoVersion1)
}

/// A profiler that sees no mount of version 2, as on a host with version 1 only.
fn without_version_2(mut command: Command) -> Command {
    let mounts = fs::read_to_string("/proc/mounts").expect("mounts");
    let of_version_2 = |line: &str| {
        let mut fields = line.split(' ').skip(1);
        let point = fields.next()?;
        (fields.next()? == "cgroup2").then(|| PathBuf::from(point))
    };
    let points: Vec<_> = mounts.lines().filter_map(of_version_2).collect();
    let hide = move || {
        let none = None::<&str>;
        unshare(CloneFlags::CLONE_NEWNS)?;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
        for point in &points {
            umount2(point, MntFlags::MNT_DETACH)?;
        }
        Ok::<_, io::Error>(())
    };
    // SAFETY: makes system calls, and allocates nothing: paths of mounts are short.
    unsafe { command.pre_exec(hide) };
    command
}

/// With version 1 only, its paths name cgroups, units and containers. They do so for cgroups that are
/// removed at once, for the root, and in filters. `--cgroup` is refused.
pub(super) fn cgroups_of_version_1_alone(mode: Mode) -> Result<(), Skip> {
    let root = version_1()?;
    let profiler = || Stat::of(without_version_2(profiler_command()), mode);
    let slice = format!("profilertest{}{mode:?}.slice", std::process::id());
    let unit = format!("known-{}-{mode:?}.service", std::process::id());
    let [slice, inside, outside] =
        [slice.clone(), format!("{slice}/{unit}"), format!("{slice}/other")]
            .map(|path| root.join(path));
    for directory in [&slice, &inside, &outside] {
        fs::create_dir(directory).expect("a cgroup");
    }
    assert_short(profiler(), &slice, &slice.file_name().expect("a name").to_string_lossy(), &[]);
    let arg = |name: &str, path: &Path| format!("{name}={}", path.display());
    let args = [arg("inside", &inside), arg("outside", &outside)];
    let args = ["migrated", "rounds=3", "threads=2", "calls=20", &args[0], &args[1]];
    let (mut report, stated) = profiler().args(["--by", "unit,process,syscall"]).workload(&args);
    report.rows.retain(|row| row.unit.as_ref().is_some_and(|found| found["name"] == *unit));
    report.has_exactly_by_process(&stated);
    let by = ["--by", "process,syscall", "--unit", &unit];
    let (report, stated) = profiler().args(by).workload(&args);
    report.has_exactly_by_process(&stated);
    for directory in [outside, inside, slice] {
        // The last process has ended, and may not have left yet.
        wait_until("the cgroup is empty", || fs::remove_dir(&directory).is_ok());
    }
    let own = fs::read_to_string("/proc/self/cgroup").expect("cgroups");
    let own = own.lines().find_map(|line| line.split_once(":pids:")).expect("a hierarchy").1;
    let (report, _) =
        profiler().args(["--by", "cgroup,process,syscall"]).command(workload_args(&["end"]));
    assert!(report.rows.iter().all(|row| row.cgroup.as_deref() == Some(own)), "{own}");
    let mut command = without_version_2(profiler_command());
    command.arg("stat").args(mode.flags()).args(["--all", "--cgroup", "system.slice"]);
    let refused = command.output().expect("the profiler");
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(4), "{said}");
    assert!(said.contains("not mounted") && said.contains("--unit"), "{said}");
    Ok(())
}

fn assert_short(stat: Stat, directory: &Path, path: &str, more: &[&str]) {
    let directory = format!("directory={}", directory.display());
    let args = ["short-cgroups", "processes=20", "calls=10", &directory];
    let args = [&args[..], more].concat();
    let by = ["--by", "cgroup,container,process,syscall"];
    let (report, statement) = stat.args(by).workload(&args);
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
