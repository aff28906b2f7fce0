//! The results: samples, or the reason why there are none. They can be written as JSON and read
//! again, so that several runs can be merged into one report.

use std::fs;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::figures::{CallFigures, WorkFigures};

/// The results of a run, or of several merged runs.
#[derive(Serialize, Deserialize, Clone, Debug)]
pub(crate) struct Results {
    pub(super) machine: Machine,
    /// The other tools.
    pub(super) tools: Vec<Tool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) hot_path: Option<HotPath>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) contention: Option<Contention>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) work: Option<Work>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) growth: Option<Growth>,
}

/// The machine and the time of the measurement.
#[derive(Serialize, Deserialize, Clone, Debug)]
pub(super) struct Machine {
    pub(super) kernel: String,
    pub(super) cpu_model: String,
    pub(super) cpus: usize,
    pub(super) date: String,
}

/// Another tool.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub(super) struct Tool {
    pub(super) program: String,
    /// Its Debian package.
    pub(super) package: String,
    /// Its version; null if it is not installed.
    pub(super) version: Option<String>,
}

/// How quiet the machine was. A measurement is disturbed if other processes used the CPUs, or
/// loaded programs that can run at tracepoints.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Quiet {
    pub(super) turns: u32,
    /// Number of disturbed measurements that were repeated.
    pub(super) repeated: u32,
    /// Number of measurements that were disturbed each time, and kept.
    pub(super) disturbed: u32,
    /// Number of programs of other processes that were loaded all the time, and can run at
    /// tracepoints.
    pub(super) residents: u32,
}

/// Nanoseconds per call in loops of cheap calls.
#[derive(Serialize, Deserialize, Clone, Debug)]
pub(super) struct HotPath {
    /// Number of calls in each measurement; fewer for expensive subjects.
    pub(super) calls: u64,
    pub(super) cpu: usize,
    #[serde(default)]
    pub(super) quiet: Quiet,
    pub(super) sections: Vec<Section>,
}

/// A workload, with a row for each subject.
#[derive(Serialize, Deserialize, Clone, Debug)]
pub(super) struct Section {
    pub(super) workload: String,
    pub(super) rows: Vec<Row>,
}

/// The measurements with a subject attached.
#[derive(Serialize, Deserialize, Clone, Debug, Default)]
pub(super) struct Row {
    /// The key of the subject.
    pub(super) key: String,
    pub(super) title: String,
    /// One sample per round.
    pub(super) samples: Vec<f64>,
    /// Why it was not measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) absent: Option<String>,
    /// Recomputed from the samples for each report.
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub(super) figures: Option<CallFigures>,
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub(super) slow_down: Option<WorkFigures>,
}

/// The same loop on each of two cores, and on both at the same time by two threads of a process.
#[derive(Serialize, Deserialize, Clone, Debug)]
pub(super) struct Contention {
    pub(super) calls: u64,
    pub(super) cpus: [usize; 2],
    pub(super) first_alone: Vec<Row>,
    pub(super) second_alone: Vec<Row>,
    pub(super) both: Vec<Row>,
}

/// Seconds per unit of real work.
#[derive(Serialize, Deserialize, Clone, Debug)]
pub(super) struct Work {
    #[serde(default)]
    pub(super) quiet: Quiet,
    pub(super) loads: Vec<Load>,
}

/// A real program under load.
#[derive(Serialize, Deserialize, Clone, Debug)]
pub(super) struct Load {
    pub(super) name: String,
    pub(super) about: String,
    pub(super) unit: String,
    pub(super) rows: Vec<Row>,
}

/// How the cost grows.
#[derive(Serialize, Deserialize, Clone, Debug)]
pub(super) struct Growth {
    #[serde(default)]
    pub(super) quiet: Quiet,
    pub(super) kernel: Vec<Dimension>,
    pub(super) drain: Vec<Drain>,
}

/// Nanoseconds per call, by a number such as that of threads.
#[derive(Serialize, Deserialize, Clone, Debug)]
pub(super) struct Dimension {
    pub(super) of: String,
    pub(super) points: Vec<Point>,
}

#[derive(Serialize, Deserialize, Clone, Debug)]
pub(super) struct Point {
    pub(super) count: u64,
    pub(super) rows: Vec<Row>,
}

/// The duration of drains, seconds.
#[derive(Serialize, Deserialize, Clone, Debug)]
pub(super) struct Drain {
    pub(super) processes: u64,
    pub(super) threads: u64,
    /// No task has made a call since the previous drain.
    pub(super) idle: Vec<f64>,
    /// All tasks have made calls since the previous drain.
    pub(super) active: Vec<f64>,
    /// Why it was not measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) absent: Option<String>,
}

impl Row {
    /// The row of this subject.
    pub(super) fn of<'a>(rows: &'a [Self], key: &str) -> Option<&'a Self> {
        rows.iter().find(|row| row.key == key && row.absent.is_none())
    }

    /// Adds the rounds of another run. If a subject failed in one run, it has failed in the merged
    /// results.
    fn extend(&mut self, other: Self) {
        self.absent = self.absent.take().or(other.absent);
        self.samples.extend(other.samples);
        if self.absent.is_some() {
            self.samples.clear();
        }
    }
}

fn extend(rows: &mut Vec<Row>, others: Vec<Row>) {
    for other in others {
        match rows.iter_mut().find(|row| row.key == other.key) {
            Some(row) => row.extend(other),
            None => rows.push(other),
        }
    }
}

/// Merges each of `others` into the entry with the same name, or appends it.
fn join<T>(all: &mut Vec<T>, others: Vec<T>, same: fn(&T, &T) -> bool, merge: fn(&mut T, T)) {
    for other in others {
        match all.iter_mut().find(|one| same(one, &other)) {
            Some(one) => merge(one, other),
            None => all.push(other),
        }
    }
}

fn join_option<T>(one: &mut Option<T>, other: Option<T>, merge: impl FnOnce(&mut T, T)) {
    match (one.as_mut(), other) {
        (Some(one), Some(other)) => merge(one, other),
        (None, other) => *one = other,
        (Some(_), None) => {}
    }
}

impl Results {
    /// Reads a file that `--json` wrote.
    pub(super) fn read(path: &std::path::Path) -> Result<Self> {
        let text = fs::read_to_string(path);
        text.map_err(anyhow::Error::from)
            .and_then(|text| Ok(serde_json::from_str(&text)?))
            .with_context(|| format!("cannot read {}", path.display()))
    }

    /// Merges another run: adds its parts, and for common parts its rounds.
    pub(super) fn merge(&mut self, other: Self) {
        join(&mut self.tools, other.tools, |a, b| a.program == b.program, |_, _| ());
        join_option(&mut self.hot_path, other.hot_path, |one, other| {
            one.quiet.add(other.quiet);
            join(
                &mut one.sections,
                other.sections,
                |a, b| a.workload == b.workload,
                |one, other| extend(&mut one.rows, other.rows),
            );
        });
        join_option(&mut self.contention, other.contention, |one, other| {
            extend(&mut one.first_alone, other.first_alone);
            extend(&mut one.second_alone, other.second_alone);
            extend(&mut one.both, other.both);
        });
        join_option(&mut self.work, other.work, |one, other| {
            one.quiet.add(other.quiet);
            join(
                &mut one.loads,
                other.loads,
                |a, b| a.name == b.name,
                |one, other| extend(&mut one.rows, other.rows),
            );
        });
        join_option(&mut self.growth, other.growth, Growth::merge);
    }
}

impl Quiet {
    fn add(&mut self, other: Self) {
        self.turns += other.turns;
        self.repeated += other.repeated;
        self.disturbed += other.disturbed;
        self.residents = self.residents.max(other.residents);
    }
}

impl Growth {
    fn merge(&mut self, other: Self) {
        self.quiet.add(other.quiet);
        join(
            &mut self.kernel,
            other.kernel,
            |a, b| a.of == b.of,
            |one, other| {
                join(
                    &mut one.points,
                    other.points,
                    |a, b| a.count == b.count,
                    |one, other| extend(&mut one.rows, other.rows),
                );
            },
        );
        join(
            &mut self.drain,
            other.drain,
            |a, b| (a.processes, a.threads) == (b.processes, b.threads),
            |one, other| {
                one.absent = one.absent.take().or(other.absent);
                one.idle.extend(other.idle);
                one.active.extend(other.active);
            },
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The results of a run that measured only the hot path, with these rows.
    fn run(rows: Vec<Row>) -> Results {
        Results {
            machine: Machine {
                kernel: "6.18.0".into(),
                cpu_model: "A CPU".into(),
                cpus: 2,
                date: "2026-01-02".into(),
            },
            tools: vec![Tool {
                program: "perf".into(),
                package: "linux-perf".into(),
                version: None,
            }],
            hot_path: Some(HotPath {
                calls: 1000,
                cpu: 1,
                quiet: Quiet::default(),
                sections: vec![Section { workload: "getppid".into(), rows }],
            }),
            contention: None,
            work: None,
            growth: None,
        }
    }

    fn row(key: &str, samples: &[f64]) -> Row {
        Row { key: key.into(), title: key.into(), samples: samples.into(), ..Row::default() }
    }

    fn rows(results: &Results) -> &[Row] {
        &results.hot_path.as_ref().expect("a hot path").sections[0].rows
    }

    #[test]
    fn rounds_of_two_runs_make_one() {
        let mut one = run(vec![row("nothing", &[1.0]), row("profiler", &[2.0])]);
        one.merge(run(vec![
            row("nothing", &[1.5]),
            row("profiler", &[2.5]),
            row("strace", &[9.0]),
        ]));
        let samples: Vec<_> = rows(&one).iter().map(|row| row.samples.clone()).collect();
        assert_eq!(samples, [vec![1.0, 1.5], vec![2.0, 2.5], vec![9.0]]);
        assert_eq!(one.tools.len(), 1);
    }

    #[test]
    fn what_failed_in_one_run_has_failed() {
        let failed = || Row { absent: Some("no".into()), ..row("perf", &[]) };
        let measured = || row("perf", &[5.0]);
        for (first, second) in [(failed(), measured()), (measured(), failed())] {
            let mut one = run(vec![first]);
            one.merge(run(vec![second]));
            assert_eq!(rows(&one)[0].absent.as_deref(), Some("no"));
            assert!(rows(&one)[0].samples.is_empty());
        }
    }

    #[test]
    fn parts_of_several_runs_come_together() {
        let mut one = Results { hot_path: None, ..run(Vec::new()) };
        one.merge(run(vec![row("nothing", &[1.0])]));
        assert_eq!(rows(&one).len(), 1);
    }

    #[test]
    fn what_is_written_is_read_again() {
        let before = run(vec![row("nothing", &[1.0]), row("profiler", &[2.0])]).with_figures();
        let text = serde_json::to_string(&before).expect("it is written");
        let file = tempfile::NamedTempFile::new().expect("a file");
        fs::write(file.path(), &text).expect("it is kept");
        let after = Results::read(file.path()).expect("it is read").with_figures();
        assert_eq!(serde_json::to_string(&after).expect("it is written"), text);
    }
}
