//! Measures nanoseconds per call in loops of cheap calls, also with two cores that make the same
//! call at the same time.

use std::{env, process::Command};

use anyhow::{Context, Result};
use clap::ValueEnum as _;

use super::{
    attached::Attached,
    rows::Turns,
    subjects::{OURS, PEERS, Subject},
};
use crate::{
    bench::{
        Measure,
        crowd::Kind,
        results::{Contention, HotPath, Row, Section},
        workload::Workload,
    },
    workspace::output,
};

/// The loops in the table.
const WORKLOADS: [Workload; 3] = [Workload::Getppid, Workload::Alternating, Workload::Failing];

/// A loop in a separate process.
pub(super) struct Loop {
    pub(super) workload: Workload,
    pub(super) calls: u64,
    pub(super) cpus: Vec<usize>,
    pub(super) tasks: u32,
    pub(super) kind: Kind,
    pub(super) turn: Option<u64>,
}

impl Loop {
    /// A loop of one process, which stays on its CPU.
    pub(super) fn simple(workload: Workload, calls: u64, cpu: usize) -> Self {
        Self { workload, calls, cpus: vec![cpu], tasks: 1, kind: Kind::Processes, turn: None }
    }

    /// Measures nanoseconds per call in a separate process, which the profiler handles like any
    /// other process.
    pub(super) fn timed(&self, attached: &Attached) -> Result<f64> {
        let name = |value: Option<clap::builder::PossibleValue>| {
            value
                .map(|value| value.get_name().to_owned())
                .context("a command-line value has no name")
        };
        let mut command = match attached {
            Attached::Strace => {
                let mut command = Command::new("strace");
                command.args(["-f", "-c", "-o", "/dev/null", "--"]).arg(env::current_exe()?);
                command
            }
            _ => Command::new(env::current_exe()?),
        };
        let cpus: Vec<_> = self.cpus.iter().map(usize::to_string).collect();
        command.args(["bench-loop", "--workload", &name(self.workload.to_possible_value())?]);
        command.args(["--calls", &self.calls.to_string(), "--cpu", &cpus.join(",")]);
        command.args(["--tasks", &self.tasks.to_string()]);
        command.args(["--kind", &name(self.kind.to_possible_value())?]);
        command.args(self.turn.map(|turn| format!("--turn={turn}")));
        output(&mut command)?.parse().context("the loop printed no number")
    }
}

/// The table of nanoseconds per call, with or without other tools.
pub(super) fn run(args: &Measure, with_peers: bool) -> Result<(HotPath, Option<Contention>)> {
    let cpu = args.cpu.map_or_else(super::last_cpu, Ok)?;
    let other = super::another_cpu(cpu)?;
    let is_wanted = |subject: &&Subject| {
        args.fallback || !["timed", "arrays", "fallback"].contains(&subject.key)
    };
    let mut subjects: Vec<_> = OURS.iter().filter(is_wanted).collect();
    if with_peers {
        subjects.extend(&PEERS);
    }
    let mut turns = Turns::new(subjects.clone())?;
    turns.rounds(args.rounds, |subject, attached| {
        let calls = (args.calls / subject.fewer).max(1);
        let mut places = Vec::new();
        for workload in WORKLOADS {
            places.push(Some(Loop::simple(workload, calls, cpu).timed(attached)?));
        }
        // The first core, the second core, and both at the same time.
        for cpus in
            other.map(|other| [vec![cpu], vec![other], vec![cpu, other]]).into_iter().flatten()
        {
            let tasks = cpus.len() as u32;
            let simple = Loop::simple(Workload::Getppid, calls * u64::from(tasks), cpu);
            let both = Loop { cpus, tasks, kind: Kind::Threads, ..simple };
            places.push(subject.contended.then(|| both.timed(attached)).transpose()?);
        }
        Ok(places)
    })?;

    let sections = WORKLOADS.iter().enumerate().map(|(place, workload)| Section {
        workload: workload.title().to_owned(),
        rows: turns.rows(place),
    });
    let sections = sections.collect();
    let hot_path = HotPath { calls: args.calls, cpu, quiet: turns.quiet, sections };
    let contended = |place: usize| -> Vec<Row> {
        let rows = turns.rows(WORKLOADS.len() + place).into_iter().zip(&subjects);
        rows.filter(|(_, subject)| subject.contended).map(|(row, _)| row).collect()
    };
    let contention = other.map(|other| Contention {
        calls: args.calls,
        cpus: [cpu, other],
        first_alone: contended(0),
        second_alone: contended(1),
        both: contended(2),
    });
    Ok((hot_path, contention))
}
