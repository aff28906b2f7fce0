//! Measures a runtime: all calls by container or unit and, at the same time, the calls that match
//! the filter.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::{
    libc,
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};

use super::{
    CALLS, PROCESSES, Setup, Verdict,
    part::{Part, wait_until},
};
use crate::report_json::{Report, Row};

/// The minimum number of programs that are attached before the last one.
const LINKS: usize = 10;

/// `profiler stat`, until it is interrupted.
struct Stat {
    child: Child,
    output: PathBuf,
}

impl Stat {
    fn start(setup: &Setup, name: &str, args: &[&str]) -> Result<Self> {
        let output = setup.path(name);
        let mut command = Command::new(&setup.profiler);
        command.args(["stat", "--all", "--format", "json", "--output"]).arg(&output).args(args);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let mut child = command.spawn().context("cannot run the profiler")?;
        let pid = child.id();
        let mut ended = None;
        wait_until("the profiler attaches", || {
            ended = child.try_wait().ok().flatten();
            ended.is_some() || is_attached(pid)
        })?;
        if let Some(status) = ended {
            bail!("the profiler ended early ({status})");
        }
        Ok(Self { child, output })
    }

    fn end(mut self) -> Result<Report> {
        kill(Pid::from_raw(i32::try_from(self.child.id())?), Signal::SIGINT)?;
        let status = self.child.wait()?;
        ensure!(status.success(), "the profiler failed ({status})");
        Report::parse(&fs::read_to_string(&self.output)?)
    }
}

/// Whether the profiler has attached its programs, and waits.
fn is_attached(pid: u32) -> bool {
    let infos = fs::read_dir(format!("/proc/{pid}/fdinfo")).into_iter().flatten().flatten();
    let is_link = |path: &Path| fs::read_to_string(path).is_ok_and(|text| text.contains("link_id"));
    let links = infos.filter(|entry| is_link(&entry.path())).count();
    let call = fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap_or_default();
    links >= LINKS && call.starts_with(&format!("{} ", libc::SYS_poll))
}

/// Runs the program with a runtime, and compares the figures.
pub(super) fn measure(part: Part, setup: &Setup) -> Result<Verdict> {
    let servers = part.prepare(setup)?;
    let result = measure_prepared(part, setup);
    drop(servers);
    result
}

fn measure_prepared(part: Part, setup: &Setup) -> Result<Verdict> {
    let (dimension, name) = part.place();
    let by = format!("{dimension},process,syscall");
    let all = Stat::start(setup, "all.json", &["--by", &by])?;
    let filter = format!("--{dimension}");
    let filtered = ["--by", "process,syscall", &filter, name, "--allow-missing"];
    let filtered = Stat::start(setup, "filtered.json", &filtered)?;
    // The same program outside of the runtime must be in neither result.
    let outside = || Command::new(setup.root.join("known")).args(Setup::arguments()).output();
    outside()?;
    let ran = part.command(setup)?.output()?;
    outside()?;
    let (all, filtered) = (all.end()?, filtered.end()?);
    ensure!(
        ran.status.success(),
        "it failed ({}): {}{}",
        ran.status,
        String::from_utf8_lossy(&ran.stdout),
        String::from_utf8_lossy(&ran.stderr)
    );
    let is_its = |row: &&Row| match dimension {
        "unit" => names(&row.unit, name),
        _ => names(&row.container, name),
    };
    check(all.rows.iter().filter(is_its)).with_context(|| format!("--by {by}"))?;
    check(filtered.rows.iter()).with_context(|| format!("--{dimension} {name}"))?;
    let shown = all.rows.iter().find(is_its).and_then(|row| match dimension {
        "unit" => row.unit.clone(),
        _ => row.container.clone(),
    });
    if let Some((slice, user)) = part.slice_and_user() {
        let unit = shown.as_ref().context("no unit")?;
        ensure!(unit["slice"] == slice, "the slice is {}, expected {slice}", unit["slice"]);
        ensure!(unit["user"] == json!(user), "the user is {}, expected {user:?}", unit["user"]);
    }
    Ok(Verdict::Passed(format!(
        "{PROCESSES} processes × {CALLS} calls, failures and denials, by {dimension} {} and by \
         --{dimension}",
        shown.unwrap_or_default()
    )))
}

/// Whether an object names this unit or container.
fn names(object: &Option<Value>, name: &str) -> bool {
    let is_it = |key: &str| object.as_ref().is_some_and(|object| object[key] == *name);
    is_it("name") || is_it("id")
}

/// Checks that these rows have exactly the calls of the program.
fn check<'a>(rows: impl Iterator<Item = &'a Row>) -> Result<()> {
    let mut sums: BTreeMap<&str, Sum> = BTreeMap::new();
    for row in rows {
        let sum = sums.entry(&row.syscall).or_default();
        sum.figures.0 += row.figures.calls;
        sum.figures.1 += row.figures.errors;
        sum.figures.2 += row.figures.denied;
        sum.processes.insert(row.pid);
    }
    let all = CALLS * PROCESSES;
    for (call, expected) in [
        ("sched_get_priority_min", (all, 0, 0)),
        ("timer_getoverrun", (all, all, 0)),
        ("sched_get_priority_max", (0, 0, all)),
    ] {
        let Some(Sum { figures, processes }) = sums.get(call) else {
            bail!("no {call}; there are {:?}", sums.keys());
        };
        ensure!(
            *figures == expected,
            "{call}: calls, errors, denials are {figures:?}, expected {expected:?}"
        );
        ensure!(processes.len() as u64 == PROCESSES, "{call}: {} processes", processes.len());
    }
    Ok(())
}

/// The calls of one syscall.
#[derive(Default)]
struct Sum {
    /// Calls, errors and denials.
    figures: (u64, u64, u64),
    processes: BTreeSet<Option<u32>>,
}
