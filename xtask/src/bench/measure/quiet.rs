//! Checks whether other processes use the CPUs or watch syscalls during a measurement.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, process, thread,
    time::Duration,
    time::Instant,
};

use anyhow::{Context as _, Result};
use aya::programs::loaded_programs;

/// How long to wait for other processes.
const PATIENCE: Duration = Duration::from_secs(6);

/// How long the kernel may take to free programs.
const FREED: Duration = Duration::from_secs(2);

/// How long to observe the machine before a measurement.
const LOOK: Duration = Duration::from_millis(100);

/// Maximum share of the time of all CPUs that other processes may use, percent.
const QUIET: f64 = 10.0;

/// Maximum difference between the kernel's times of processes and of CPUs, ticks.
const SLACK: u64 = 4;

/// The used CPU time, the CPU time of this process and its descendants, and the number of new
/// programs that may be attached to syscalls.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Census {
    all: u64,
    used: u64,
    ours: u64,
    watched: bool,
}

/// The ids of programs of other processes that may be attached to syscalls, and that stay loaded.
#[derive(Default)]
pub(super) struct Residents(BTreeSet<u32>);

impl Residents {
    /// Finds the programs that stay loaded. Our own programs must not be attached.
    pub(super) fn found() -> Result<Self> {
        awaited(&Self::default())?;
        Ok(Self(watchers().collect()))
    }

    pub(super) fn count(&self) -> u32 {
        self.0.len() as u32
    }
}

/// Waits, for a limited time, until no other process uses the CPUs or watches syscalls. Our own
/// programs must not be attached.
pub(super) fn awaited(residents: &Residents) -> Result<Census> {
    let deadline = Instant::now() + PATIENCE;
    let mut before = Census::now(residents)?;
    loop {
        super::child::check()?;
        thread::sleep(LOOK);
        let now = Census::now(residents)?;
        if !now.disturbed_since(before) || Instant::now() > deadline {
            return Ok(now);
        }
        before = now;
    }
}

/// Waits until the kernel has freed our own programs, which it does some time after they are
/// detached. Otherwise, they would count as programs of others.
pub(super) fn after(residents: &Residents) -> Result<Census> {
    let deadline = Instant::now() + FREED;
    loop {
        let now = Census::now(residents)?;
        if !now.watched || Instant::now() > deadline {
            return Ok(now);
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// The ids of loaded programs of types that can run at tracepoints.
fn watchers() -> impl Iterator<Item = u32> {
    /// BPF_PROG_TYPE_TRACEPOINT, _RAW_TRACEPOINT and _TRACING.
    const KINDS: [u32; 3] = [5, 17, 26];
    // A program that was unloaded meanwhile cannot be read.
    let programs = loaded_programs().flatten();
    programs.filter(|program| KINDS.contains(&(program.program_type() as u32))).map(|it| it.id())
}

impl Census {
    pub(super) fn now(residents: &Residents) -> Result<Self> {
        let (all, used) =
            of_cpus(&fs::read_to_string("/proc/stat")?).context("/proc/stat has no CPU times")?;
        let stats = fs::read_dir("/proc")?.flatten().filter_map(|process| {
            Task::parse(&fs::read_to_string(process.path().join("stat")).ok()?)
        });
        Ok(Self {
            all,
            used,
            ours: of_descendants(&stats.collect::<Vec<_>>(), process::id()),
            watched: watchers().any(|id| !residents.0.contains(&id)),
        })
    }

    /// Share of the time of all CPUs that other processes used since `before`, percent.
    pub(super) fn others_since(self, before: Self) -> f64 {
        let all = self.all.saturating_sub(before.all);
        let used = self.used.saturating_sub(before.used);
        let ours = self.ours.saturating_sub(before.ours) + SLACK;
        if all == 0 { 0.0 } else { 100.0 * used.saturating_sub(ours) as f64 / all as f64 }
    }

    /// Whether other processes disturbed the measurement since `before`. Our own programs must not
    /// be attached at either time.
    pub(super) fn disturbed_since(self, before: Self) -> bool {
        self.watched || before.watched || self.others_since(before) > QUIET
    }
}

/// Ticks since boot, and ticks that processes used or that the hypervisor took.
fn of_cpus(stat: &str) -> Option<(u64, u64)> {
    // user nice system idle iowait irq softirq steal. The fields that follow are included in user.
    let times = stat.lines().next()?.strip_prefix("cpu ")?;
    let times: Vec<u64> =
        times.split_whitespace().take(8).map_while(|time| time.parse().ok()).collect();
    (times.len() == 8).then(|| (times.iter().sum(), times[0] + times[1] + times[2] + times[7]))
}

/// A process, and the ticks that it and its reaped children used.
struct Task {
    id: u32,
    parent: u32,
    used: u64,
}

impl Task {
    fn parse(stat: &str) -> Option<Self> {
        let id = stat.split_whitespace().next()?.parse().ok()?;
        // The name is in parentheses, and can contain any character.
        let (_, rest) = stat.rsplit_once(')')?;
        let fields: Vec<_> = rest.split_whitespace().collect();
        let times = fields.get(11..15)?.iter().map_while(|time| time.parse::<u64>().ok());
        Some(Self { id, parent: fields.get(1)?.parse().ok()?, used: times.sum() })
    }
}

/// Ticks that `root` and its descendants used.
fn of_descendants(tasks: &[Task], root: u32) -> u64 {
    let parents: BTreeMap<_, _> = tasks.iter().map(|task| (task.id, task.parent)).collect();
    let descends = |mut id: u32| {
        // The processes are read in succession, so the parents can form a loop.
        for _ in 0..64 {
            match parents.get(&id) {
                _ if id == root => return true,
                Some(&parent) => id = parent,
                None => return false,
            }
        }
        false
    };
    tasks.iter().filter(|task| descends(task.id)).map(|task| task.used).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stolen_is_used_and_what_waits_for_a_disk_is_not() {
        let stat = "cpu  100 1 50 800 40 3 2 4 9 9\ncpu0 1 2";
        assert_eq!(of_cpus(stat), Some((1000, 155)));
        assert_eq!(of_cpus("intr 1 2 3"), None);
    }

    #[test]
    fn what_descendants_used_is_ours() {
        let stat = |id: u32, name: &str, parent: u32, used: u64| {
            let line = format!("{id} ({name}) S {parent} 1 1 0 -1 0 1 2 3 4 {used} 1 0 0 20 0 1 0");
            Task::parse(&line).expect("a process")
        };
        let tasks = [
            stat(1, "init", 0, 1000),
            stat(10, "bench", 1, 100),
            stat(11, "a) S 1 (b", 10, 10),
            stat(12, "child's child", 11, 1),
            stat(20, "other", 1, 500),
        ];
        assert_eq!(of_descendants(&tasks, 10), 100 + 10 + 1 + 3);
    }

    #[test]
    fn others_are_who_uses_more_than_we_do() {
        let before = Census { all: 1000, used: 500, ours: 100, watched: false };
        let alone = Census { all: 1200, used: 600, ours: 199, watched: false };
        assert_eq!(alone.others_since(before), 0.0);
        assert!(!alone.disturbed_since(before));
        let not_alone = Census { used: 650, ..alone };
        assert_eq!(not_alone.others_since(before), 23.5);
        assert!(not_alone.disturbed_since(before));
        assert!(Census { watched: true, ..alone }.disturbed_since(before));
    }
}
