//! Nanoseconds a call, in loops of cheap calls; and what it costs that both cores make
//! the same call at once.

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
        results::{Contention, HotPath, Section},
        workload::Workload,
    },
    workspace::output,
};

/// The loops that the table is of.
const WORKLOADS: [Workload; 3] = [Workload::Getppid, Workload::Alternating, Workload::Failing];

/// A loop in a process of its own.
pub(super) struct Loop {
    pub(super) workload: Workload,
    pub(super) calls: u64,
    pub(super) cpus: Vec<usize>,
    pub(super) tasks: u32,
    pub(super) kind: Kind,
    pub(super) turn: Option<u64>,
}

impl Loop {
    /// By one process, which keeps its CPU.
    pub(super) fn simple(workload: Workload, calls: u64, cpu: usize) -> Self {
        Self { workload, calls, cpus: vec![cpu], tasks: 1, kind: Kind::Processes, turn: None }
    }

    /// Nanoseconds a call, in a process of its own, so that the profiler sees it as
    /// it sees any other.
    pub(super) fn timed(&self, attached: &Attached) -> Result<f64> {
        let name = |value: Option<clap::builder::PossibleValue>| {
            value.map(|value| value.get_name().to_owned()).context("a value without a name")
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

/// The table of nanoseconds a call, with the peers or without.
pub(super) fn run(args: &Measure, with_peers: bool) -> Result<(HotPath, Option<Contention>)> {
    let cpu = args.cpu.map_or_else(super::last_cpu, Ok)?;
    let other = super::another_cpu(cpu)?;
    let is_wanted = |subject: &&Subject| args.fallback || subject.key != "fallback";
    let mut subjects: Vec<_> = OURS.iter().filter(is_wanted).collect();
    if with_peers {
        subjects.extend(&PEERS);
    }
    let mut turns = Turns::new(subjects.clone())?;
    let mut samples = vec![turns.lists(); WORKLOADS.len()];
    // The one core, the other, and both at once.
    let mut contended = vec![turns.lists(); 3];
    let busy = turns.rounds(args.rounds(), |index, subject, attached| {
        let calls = (args.calls / subject.fewer).max(1);
        for (workload, samples) in WORKLOADS.iter().zip(&mut samples) {
            samples[index].push(Loop::simple(*workload, calls, cpu).timed(attached)?);
        }
        if let Some(other) = other.filter(|_| subject.contended) {
            for (samples, cpus) in
                contended.iter_mut().zip([vec![cpu], vec![other], vec![cpu, other]])
            {
                let tasks = cpus.len() as u32;
                let calls = calls * u64::from(tasks);
                let simple = Loop::simple(Workload::Getppid, calls, cpu);
                let both = Loop { cpus, tasks, kind: Kind::Threads, ..simple };
                samples[index].push(both.timed(attached)?);
            }
        }
        Ok(())
    })?;

    let sections = WORKLOADS.iter().zip(samples).map(|(workload, samples)| Section {
        workload: workload.title().to_owned(),
        rows: turns.rows(samples),
    });
    let hot_path = HotPath { calls: args.calls, cpu, busy, sections: sections.collect() };
    let contention = other.map(|other| {
        let mut rows = contended.into_iter().map(|samples| {
            let rows = turns.rows(samples).into_iter().zip(&subjects);
            rows.filter(|(_, subject)| subject.contended).map(|(row, _)| row).collect()
        });
        let mut next = || rows.next().unwrap_or_default();
        let (first_alone, second_alone, both) = (next(), next(), next());
        Contention { calls: args.calls, cpus: [cpu, other], first_alone, second_alone, both }
    });
    Ok((hot_path, contention))
}
