//! Groups of metrics by cgroup and container: sums are exact at each scrape, while members change,
//! and across reloads.

use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt as _, path::PathBuf};

use super::{Skip, filters::Cgroups};
use crate::{
    confinement::assert_confined,
    run::{Held, Mode},
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
    config.write(1_000);
    let path = config.path();
    let flags = ["--config", path.to_str().expect("text")];
    let daemon = Daemon::start_with(mode, "200ms", &flags);
    assert_confined(daemon.pid(), 65534);
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
