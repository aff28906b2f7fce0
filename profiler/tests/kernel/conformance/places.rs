//! Filters by unit, container and pod: cgroups that exist, and cgroups that are created later.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use super::{Skip, filters::Cgroups};
use crate::{
    run::{Held, Mode, Stat},
    workload::{Statement, container_id},
};

/// A slice for a test.
struct Slice {
    path: PathBuf,
    name: String,
}

impl Slice {
    fn new(mode: Mode) -> Result<Self, Skip> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("profilertest{}{mode:?}{number}", std::process::id());
        let path = Cgroups::mount()?.join(format!("{name}.slice"));
        fs::create_dir(&path).expect("a cgroup");
        Ok(Self { path, name })
    }

    /// The number of the first container, so that no other test has a container of the same id.
    fn first(&self) -> u64 {
        let hash = |sum: u64, byte: u8| sum.wrapping_mul(31).wrapping_add(byte.into());
        self.name.bytes().fold(7, hash) % (1 << 40) * 100
    }

    /// The id of container number `n`.
    fn id(&self, n: u64) -> String {
        container_id(self.first() + n)
    }

    /// A unit name that no other test uses.
    fn unit(&self, suffix: &str) -> String {
        format!("{}{suffix}", self.name)
    }

    /// Creates a cgroup.
    fn make(&self, path: &str) -> PathBuf {
        let path = self.path.join(path);
        fs::create_dir_all(&path).expect("a cgroup");
        path
    }
}

impl Drop for Slice {
    fn drop(&mut self) {
        // The last process has ended, and may not have left yet.
        for _ in 0..500 {
            if remove_all(&self.path) {
                break;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Removes a cgroup and those below it.
fn remove_all(path: &Path) -> bool {
    let below = fs::read_dir(path).into_iter().flatten().flatten();
    let below = below.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    for entry in below {
        remove_all(&entry.path());
    }
    fs::remove_dir(path).is_ok()
}

fn arg(name: &str, path: &Path) -> String {
    format!("{name}={}", path.display())
}

/// Reduces a statement to the processes for which `wanted` returns true.
fn only(mut statement: Statement, wanted: impl Fn(u64) -> bool) -> Statement {
    let mut number = 0;
    statement.processes.retain(|_| {
        number += 1;
        wanted(number - 1)
    });
    statement
}

/// Calls alternate between the unit or a child cgroup, and a unit with the same prefix in its name.
pub(super) fn unit(mode: Mode) -> Result<(), Skip> {
    let slice = Slice::new(mode)?;
    let outside = slice.make(&slice.unit("-not.service"));
    for below in ["", "/deep"] {
        let inside = slice.make(&format!("{}{below}", slice.unit(".service")));
        let (inside, outside) = (arg("inside", &inside), arg("outside", &outside));
        let args = ["migrated", "rounds=3", "threads=3", "calls=20", &inside, &outside];
        for name in [slice.unit(""), slice.unit(".service")] {
            let (report, statement) =
                Stat::new(mode).by_process_and_call().args(["--unit", &name]).workload(&args);
            report.has_exactly_by_process(&statement);
            report.has_exactly(&statement);
        }
    }
    Ok(())
}

/// Runs the workload of short cgroups with this filter, on the whole host.
fn short(
    slice: &Slice,
    mode: Mode,
    filter: &[&str],
    arguments: &[&str],
    wanted: impl Fn(u64) -> bool,
) {
    let running = Stat::new(mode)
        .by_process_and_call()
        .args(["--all", "--allow-missing"])
        .args(filter)
        .start()
        .attached();
    let first = format!("first={}", slice.first());
    let arguments = [&["short-cgroups", "processes=20", "calls=10", &first], arguments].concat();
    let held = Held::start(&arguments);
    let statement = only(held.go(), wanted);
    let report = running.interrupt();
    if statement.processes.is_empty() {
        assert!(report.rows.is_empty(), "{:?}", report.rows);
        return;
    }
    report.has_exactly_by_process(&statement);
    let children: Vec<_> = statement.processes.iter().map(|process| process.pid).collect();
    for row in &report.rows {
        assert!(row.pid.is_some_and(|pid| children.contains(&pid)), "{row:?}");
    }
}

/// The unit exists at the start, and is then removed and created several times.
pub(super) fn unit_that_restarts(mode: Mode) -> Result<(), Skip> {
    let slice = Slice::new(mode)?;
    let (directory, name) =
        (arg("directory", &slice.path), format!("path={}", slice.unit(".service")));
    short(&slice, mode, &["--unit", &slice.unit("")], &[&directory, &name], |_| true);
    let other = slice.unit("-not.service");
    short(&slice, mode, &["--unit", &other], &[&directory, &name], |_| false);
    Ok(())
}

pub(super) fn containers_that_start_later(mode: Mode) -> Result<(), Skip> {
    let slice = Slice::new(mode)?;
    let directory = arg("directory", &slice.path);
    let ids = format!("{},{}", slice.id(3), slice.id(8));
    short(&slice, mode, &["--container", &ids], &[&directory], |n| n == 3 || n == 8);
    Ok(())
}

/// The state files of a container that containerd would run, for a test.
struct State(PathBuf);

impl State {
    const DIRECTORY: &str = "/run/containerd/io.containerd.runtime.v2.task";

    fn new(test: &str) -> Self {
        Self(Path::new(Self::DIRECTORY).join(test))
    }

    fn add(&self, id: &str, annotations: &serde_json::Value) {
        let bundle = self.0.join(id);
        fs::create_dir_all(&bundle).expect("a directory");
        let config = serde_json::json!({ "annotations": annotations });
        fs::write(bundle.join("config.json"), config.to_string()).expect("a file");
    }
}

impl Drop for State {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
        // Unless they existed before, or another test uses them.
        for directory in Path::new(Self::DIRECTORY).ancestors().take(2) {
            let _ = fs::remove_dir(directory);
        }
    }
}

pub(super) fn containers_by_name(mode: Mode) -> Result<(), Skip> {
    let slice = Slice::new(mode)?;
    let state = State::new(&slice.name);
    let uid = format!("{:08x}-4b5a-6978-8796-a5b4c3d2e1f0", slice.first() as u32);
    for n in 0..20 {
        let name = if n % 2 == 0 { "app" } else { "sidecar" };
        state.add(
            &slice.id(n),
            &serde_json::json!({
                "io.kubernetes.cri.container-name": format!("{name}-{}", slice.name),
                "io.kubernetes.cri.sandbox-name": slice.name,
                "io.kubernetes.cri.sandbox-namespace": "shop",
            }),
        );
    }
    slice.make("kubepods/burstable");
    let directory = arg("directory", &slice.path.join("kubepods/burstable"));
    let name = format!("path=pod{uid}/cri-containerd-ID.scope");
    let arguments = [&*directory, &*name];
    let app = format!("app-{}", slice.name);
    let pod = format!("shop/{}", slice.name);
    short(&slice, mode, &["--container", &app], &arguments, |n| n % 2 == 0);
    short(&slice, mode, &["--pod", &pod], &arguments, |_| true);
    short(&slice, mode, &["--pod", &uid], &arguments, |_| true);
    short(&slice, mode, &["--pod", &uid, "--container", &app], &arguments, |n| n % 2 == 0);
    Ok(())
}

pub(super) fn places_together(mode: Mode) -> Result<(), Skip> {
    let slice = Slice::new(mode)?;
    let (unit, other) = (slice.unit(".service"), slice.unit("-not.service"));
    let id = slice.id(3);
    for (at, counts) in [(&unit, true), (&other, false)] {
        let directory = arg("directory", &slice.make(at));
        let filter = ["--unit", &unit, "--container", &id];
        short(&slice, mode, &filter, &[&directory], |n| counts && n == 3);
        // The filter by cgroup has to match too.
        let cgroup = slice.make(&other);
        let filter = [&filter[..], &["--cgroup", cgroup.to_str().expect("a path")]].concat();
        short(&slice, mode, &filter, &[&directory], |_| false);
    }
    Ok(())
}

/// The accounting checks of processes that move to units that were just created.
pub(super) fn units_under_load(mode: Mode) -> Result<(), Skip> {
    let slice = Slice::new(mode)?;
    let burning = Held::start(&["burn", "threads=2"]);
    let outside = slice.make(&slice.unit("-not.service")).join("cgroup.procs");
    let unit = slice.unit(".service");
    let running =
        Stat::new(mode).args(["--all", "--allow-missing", "--unit", &unit]).start().attached();
    for _ in 0..60 {
        let inside = slice.make(&unit);
        fs::write(inside.join("cgroup.procs"), burning.pid().to_string()).expect("a move");
        std::thread::sleep(Duration::from_millis(3));
        fs::write(&outside, burning.pid().to_string()).expect("a move");
        while fs::remove_dir(&inside).is_err() {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    // Every report passes the accounting checks, and this one has calls.
    let report = running.interrupt();
    burning.stop();
    assert!(report.row("x86_64", "getppid").calls > 0);
    Ok(())
}
