//! Groups of metrics by cgroup and container: sums are exact at each scrape, while members change,
//! and across reloads.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use super::{Skip, filters::Cgroups};
use crate::{
    confinement::assert_confined,
    run::{Held, Mode, capabilities_are_bounded},
    service::{Daemon, Series},
    workload::{Statement, container_id},
};

/// A configuration that the daemon can read as another user.
struct Config(tempfile::TempDir);

impl Config {
    fn new() -> Self {
        let this = Self(tempfile::tempdir().expect("a directory"));
        let all = fs::Permissions::from_mode(0o755);
        fs::set_permissions(this.0.path(), all).expect("own directory");
        this
    }

    /// Starts a daemon with groups of up to 1,000 members.
    fn start_daemon(&self, mode: Mode) -> Daemon {
        self.write(1_000);
        let path = self.path();
        let flags = ["--config", path.to_str().expect("text")];
        let daemon = Daemon::start_with(mode, "200ms", &flags);
        assert_confined(daemon.pid(), 65534);
        daemon
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("profiler.toml")
    }

    /// Writes groups by cgroup and by container with this many members.
    fn write(&self, top: u32) {
        let group = |name, by| {
            format!("[[metrics.groups]]\nname = \"{name}\"\nby = [\"{by}\"]\ntop = {top}\n")
        };
        let text = group("cgroups", "cgroup") + &group("containers", "container");
        fs::write(self.path(), text).expect("a file");
    }
}

/// The state file of a container of Docker, as only root can read it. Removed when dropped.
struct StateFile(PathBuf);

impl StateFile {
    fn new(id: &str, name: &str) -> Self {
        let directory = PathBuf::from("/var/lib/docker/containers").join(id);
        fs::create_dir_all(&directory).expect("root's directory");
        let file = directory.join("config.v2.json");
        let state = format!(r#"{{"ID":"{id}","Name":"/{name}","Config":{{"Image":"busybox"}}}}"#);
        fs::write(&file, state).expect("written");
        for (path, mode) in [(&file, 0o600), (&directory, 0o710)] {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("root's file");
        }
        Self(directory)
    }
}

impl Drop for StateFile {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A container of Docker that starts later than the daemon, which is nobody by then, has its name.
/// The process that reads it may do nothing else, and ends with the daemon.
pub(super) fn names_of_later_containers(mode: Mode) -> Result<(), Skip> {
    let cgroups = Cgroups::new(mode)?;
    let config = Config::new();
    let daemon = config.start_daemon(mode);
    let pid = daemon.pid();
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let children = children.expect("a running process");
    if !capabilities_are_bounded() {
        let helper = children.trim();
        let status = fs::read_to_string(format!("/proc/{helper}/status")).expect("one helper");
        let read_search = "\t0000000000000004\n";
        for field in ["CapPrm", "CapEff"] {
            assert!(status.contains(&format!("{field}:{read_search}")), "{status}");
        }
        for field in ["CapInh", "CapAmb"] {
            assert!(status.contains(&format!("{field}:\t0000000000000000\n")), "{status}");
        }
        let seccomp = ["Uid:\t65534\t65534\t65534\t65534\n", "NoNewPrivs:\t1\n", "Seccomp:\t2\n"];
        assert!(seccomp.iter().all(|line| status.contains(line)), "{status}");
        let open = fs::read_dir(format!("/proc/{helper}/fd")).expect("a running process").count();
        assert!(open <= 2, "{open} descriptors");
    }
    // No other test has these ids.
    let number = u64::from(std::process::id()) << 8 | mode as u64;
    let id = format!("{number:064x}");
    let _state = StateFile::new(&id, "later");
    let directory = PathBuf::from(cgroups.path("in")).join("docker");
    let container = directory.join(&id);
    fs::create_dir_all(&container).expect("a cgroup");
    // Calls that are read before the name have the id.
    std::thread::sleep(std::time::Duration::from_secs(2));
    let workload = Held::start(&["counts", "threads=1", "calls=10"]);
    fs::write(container.join("cgroup.procs"), workload.pid().to_string()).expect("a move");
    let statement = workload.go();
    let stated = statement.total()["x86_64/truncate"].calls as f64;
    let labels = "group=\"containers\",container=\"later\",abi=\"x86_64\",syscall=\"truncate\"";
    let named = format!("profiler_group_syscalls_total{{{labels}}}");
    let metrics = daemon.metrics();
    let removed = [container, directory].map(|path| remove(&path));
    assert_eq!(removed, [true, true]);
    // Without CAP_SETUID, the daemon stays root, who owns the file, and needs no helper.
    assert_eq!(metrics.get(&named), Some(&stated), "{labels}");
    daemon.end();
    for helper in children.split_whitespace() {
        // Whoever its parent is then may not have waited for it yet.
        let gone = || {
            let status = fs::read_to_string(format!("/proc/{helper}/status"));
            status.map_or(true, |status| status.contains("State:\tZ"))
        };
        crate::run::wait_until("the helper ends with the daemon", gone);
    }
    Ok(())
}

/// Removes a cgroup, whose last process may not have left it yet.
fn remove(path: &Path) -> bool {
    let mut attempts = (0..500).map(|_| {
        std::thread::sleep(std::time::Duration::from_millis(2));
        fs::remove_dir(path).is_ok()
    });
    attempts.any(|removed| removed)
}

/// A sample: its name and its labels.
type Sample = (String, BTreeMap<String, String>);

fn sample(series: &str) -> Sample {
    let Some((name, labels)) = series.split_once('{') else {
        return (series.to_owned(), BTreeMap::new());
    };
    let labels = labels.trim_end_matches('}').split("\",").map(|label| {
        let (name, value) = label.split_once("=\"").expect("a label");
        (name.to_owned(), value.trim_end_matches('"').to_owned())
    });
    (name.to_owned(), labels.collect())
}

/// Sums by ABI and syscall of the samples that `counts`, with the name of their sum.
fn sums(
    metrics: &Series,
    counts: impl Fn(&Sample) -> Option<String>,
) -> BTreeMap<[String; 3], f64> {
    let mut sums = BTreeMap::new();
    for (series, value) in metrics {
        let sample = sample(series);
        if let Some(sum) = counts(&sample) {
            let label = |name: &str| sample.1[name].clone();
            *sums.entry([sum, label("abi"), label("syscall")]).or_default() += value;
        }
    }
    sums.retain(|_, sum| *sum > 0.0);
    sums
}

/// The metrics without groups, and what the sum over a group is called.
const UNGROUPED: [(&str, &str); 6] = [
    ("profiler_syscalls_total", "calls"),
    ("profiler_syscall_errors_total", "error"),
    ("profiler_syscall_denials_total", "denied"),
    ("profiler_syscall_restarts_total", "restarted"),
    ("profiler_syscall_never_returned_total", "never_returned"),
    ("profiler_syscall_missed_exits_total", "missed_exit"),
];

/// For each syscall and outcome of the whole host, the sum over each group is the counter without
/// it, and no counter of a group is below that of an earlier scrape.
#[track_caller]
fn assert_exact(metrics: &Series, before: Option<&Series>) {
    let all = sums(metrics, |(name, _)| {
        UNGROUPED.iter().find(|(of, _)| of == name).map(|(_, sum)| (*sum).to_owned())
    });
    for group in ["cgroups", "containers"] {
        let of_group = sums(metrics, |(name, labels)| {
            let is_of_group = labels.get("group").is_some_and(|name| name == group);
            match name.as_str() {
                _ if !is_of_group => None,
                "profiler_group_syscalls_total" => Some("calls".to_owned()),
                "profiler_group_syscall_outcomes_total" => Some(labels["outcome"].clone()),
                _ => None,
            }
        });
        assert_eq!(of_group, all, "{group}");
    }
    for (series, value) in metrics.iter().filter(|(name, _)| name.starts_with("profiler_group_")) {
        let earlier = before.and_then(|before| before.get(series));
        let is_counter = series.contains("_total{");
        assert!(!is_counter || earlier.is_none_or(|earlier| earlier <= value), "{series}");
    }
}

fn of_cgroup(metrics: &Series, path: &str, abi: &str, syscall: &str) -> f64 {
    let labels =
        format!("group=\"cgroups\",cgroup=\"/{path}\",abi=\"{abi}\",syscall=\"{syscall}\"");
    let calls = metrics.get(&format!("profiler_group_syscalls_total{{{labels}}}"));
    calls.copied().unwrap_or(0.0)
}

fn getppid(statement: &Statement) -> impl Iterator<Item = f64> {
    statement.processes.iter().map(|process| process.calls["x86_64/getppid"].calls as f64)
}

/// Processes that live for a millisecond, each in a cgroup of its own that is removed at once, and
/// processes whose calls seccomp refuses.
pub(super) fn groups_of_metrics(mode: Mode) -> Result<(), Skip> {
    let cgroups = Cgroups::new(mode)?;
    let config = Config::new();
    let daemon = config.start_daemon(mode);
    let first = daemon.metrics();
    assert_exact(&first, None);

    let directory = format!("directory={}", cgroups.path("in"));
    let short = Held::start(&["short-cgroups", "processes=20", "calls=10", &directory]).go();
    let refused = Held::start(&["denied", "calls=20"]);
    fs::write(cgroups.path("in-not/cgroup.procs"), refused.pid().to_string()).expect("a move");
    let refused = refused.go();
    let second = daemon.metrics();
    assert_exact(&second, Some(&first));
    for (n, calls) in (0..).zip(getppid(&short)) {
        let path = cgroups.relative(&format!("in/docker/{}", container_id(n)));
        assert_eq!(of_cgroup(&second, &path, "x86_64", "getppid"), calls, "{path}");
    }
    // The ids of these containers have the same first digits, so they share their series.
    let container = "group=\"containers\",container=\"000000000000\"";
    let container = format!("{container},abi=\"x86_64\",syscall=\"getppid\"");
    let container = second[&format!("profiler_group_syscalls_total{{{container}}}")];
    assert_eq!(container, getppid(&short).sum::<f64>());
    for (abi, syscall) in [("x86_64", "getsid"), ("i386", "adjtimex")] {
        let stated = refused.total()[&format!("{abi}/{syscall}")].denied as f64;
        let place = cgroups.relative("in-not");
        let labels = format!("group=\"cgroups\",cgroup=\"/{place}\",abi=\"{abi}\"");
        let labels = format!("{labels},syscall=\"{syscall}\",outcome=\"denied\"");
        let denied = &format!("profiler_group_syscall_outcomes_total{{{labels}}}");
        assert_eq!(second.get(denied), Some(&stated), "{denied}");
    }

    // One member is left, and everything else is folded.
    config.write(1);
    daemon.reload();
    let mut last = second;
    let members = "profiler_group_members{group=\"cgroups\"}";
    crate::run::wait_until("the reload", || {
        let metrics = daemon.metrics();
        assert_exact(&metrics, Some(&last));
        last = metrics;
        last[members] == 1.0
    });
    assert!(last["profiler_group_folded_members_total{group=\"cgroups\"}"] >= 20.0);
    daemon.end();
    Ok(())
}
