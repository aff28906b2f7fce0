//! `cargo xtask bench hot-path`: attaches each pair in turn, over rounds, so that
//! what the machine does meanwhile falls on all of them alike.

use std::{
    env, fs,
    process::{Command, ExitCode},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use clap::ValueEnum as _;
use nix::{
    sched::{CpuSet, sched_getaffinity},
    unistd::Pid,
};

use super::{
    HotPath,
    attached::Probe,
    report::{Machine, Report, Section},
    workload::Workload,
};
use crate::{privilege, workspace::output};

/// What the kernel still does after programs were attached or detached falls into
/// this time rather than into a measurement.
const SETTLE: Duration = Duration::from_millis(20);

pub(super) fn run(args: &HotPath) -> Result<ExitCode> {
    ensure!(privilege::is_root(), "attaching to the kernel needs root");
    let cpu = args.cpu.map_or_else(last_cpu, Ok)?;
    let mut probes = vec![
        Probe::Nothing,
        Probe::Empty,
        Probe::Clock,
        Probe::Profiler,
        Probe::Counts,
        Probe::Sampled,
        Probe::Outside,
    ];
    if args.fallback {
        probes.extend([Probe::Arrays, Probe::Fallback]);
    }
    if args.timed {
        probes.push(Probe::Timed);
    }
    let workloads = Workload::value_variants();
    let mut samples = vec![vec![Vec::new(); probes.len()]; workloads.len()];
    for round in 0..args.rounds as usize {
        eprint!("\rround {} of {} ", round + 1, args.rounds);
        for turn in 0..probes.len() {
            // Another one comes first each time.
            let index = (round + turn) % probes.len();
            let attached = probes[index].attach()?;
            thread::sleep(SETTLE);
            for (workload, samples) in workloads.iter().zip(&mut samples) {
                samples[index].push(timed(*workload, args.calls, cpu)?);
            }
            drop(attached);
        }
    }
    eprintln!();

    let report = Report {
        machine: Machine::this()?,
        calls: args.calls,
        rounds: args.rounds,
        cpu,
        sections: workloads
            .iter()
            .zip(samples)
            .map(|(workload, samples)| {
                let titled = probes.iter().map(|probe| probe.title()).zip(samples).collect();
                Section::new(workload.title(), titled)
            })
            .collect(),
    };
    print!("{report}");
    if let Some(file) = &args.json {
        fs::write(file, serde_json::to_string_pretty(&report)? + "\n")
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Nanoseconds a call, in a process of its own, so that the profiler sees it as
/// it sees any other.
fn timed(workload: Workload, calls: u64, cpu: usize) -> Result<f64> {
    let name = workload.to_possible_value().context("a workload without a name")?;
    let printed = output(
        Command::new(env::current_exe()?)
            .args(["bench-loop", "--workload", name.get_name()])
            .args(["--calls", &calls.to_string(), "--cpu", &cpu.to_string()]),
    )?;
    printed.parse().context("the loop printed no number")
}

/// The first CPU often serves the interrupts.
fn last_cpu() -> Result<usize> {
    let cpus = sched_getaffinity(Pid::from_raw(0))?;
    (0..CpuSet::count())
        .rev()
        .find(|cpu| cpus.is_set(*cpu).unwrap_or(false))
        .context("no CPU to run on")
}
