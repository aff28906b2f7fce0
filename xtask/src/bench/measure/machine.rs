//! The machine of the measurement, and the versions of the measured tools.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result};
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, CpuSet, sched_getaffinity, unshare},
    unistd::Pid,
};

use super::{
    peers::tool,
    subjects::{How, PEERS},
    work,
};
use crate::{
    bench::results::{Machine, Tool},
    debian,
    workspace::output,
};

impl Machine {
    pub(super) fn this() -> Result<Self> {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo")?;
        let model = cpuinfo.lines().find(|line| line.starts_with("model name"));
        let model = model.and_then(|line| line.split_once(": ")).map_or("unknown", |(_, m)| m);
        Ok(Self {
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?.trim_end().to_owned(),
            cpu_model: model.to_owned(),
            cpus: std::thread::available_parallelism()?.get(),
            date: output(Command::new("date").arg("+%F"))?,
        })
    }
}

/// Programs and packages of the other tools, without duplicates.
fn peers() -> Vec<(&'static str, &'static str)> {
    let mut programs: Vec<_> = PEERS
        .iter()
        .map(|subject| match &subject.how {
            How::Peer(peer) => (peer.program, peer.package),
            _ => ("strace", "strace"),
        })
        .collect();
    programs.sort_unstable();
    programs.dedup();
    programs
}

/// Installs missing tools.
pub(super) fn install() -> Result<()> {
    let needed = peers().into_iter().chain(work::needs());
    let mut missing: Vec<_> = needed
        .filter(|(program, _)| work::program_of(program).is_none())
        .map(|(_, package)| package)
        .collect();
    missing.sort_unstable();
    missing.dedup();
    debian::install(&missing)
}

/// The versions of the measured tools, and which tools are missing.
pub(super) fn tools(with_peers: bool, with_work: bool) -> Vec<Tool> {
    let mut tools = Vec::new();
    if with_peers || with_work {
        tools.extend(peers().into_iter().map(|(program, package)| tool(program, package)));
    }
    if with_work {
        tools.extend(work::needs().map(|(program, package)| tool(program, package)));
    }
    tools
}

/// Mounts tracefs in a private mount namespace, if it is not mounted. Only this process and its
/// children see the mount.
pub(super) fn show_tracefs() -> Result<()> {
    let place = "/sys/kernel/tracing";
    if ["/sys/kernel/tracing/events", "/sys/kernel/debug/tracing/events"]
        .iter()
        .any(|events| Path::new(events).is_dir())
    {
        return Ok(());
    }
    let none = None::<&str>;
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
    mount(Some("tracefs"), place, Some("tracefs"), MsFlags::empty(), none)
        .with_context(|| format!("cannot mount tracefs on {place}"))
}

/// The CPU for measurements: the last one, because the first CPU often serves interrupts.
pub(super) fn last_cpu() -> Result<usize> {
    cpus()?.last().copied().context("no CPU to run on")
}

/// The last CPU other than `cpu`, if there is one.
pub(super) fn another_cpu(cpu: usize) -> Result<Option<usize>> {
    Ok(cpus()?.into_iter().rfind(|other| *other != cpu))
}

fn cpus() -> Result<Vec<usize>> {
    let cpus = sched_getaffinity(Pid::from_raw(0))?;
    Ok((0..CpuSet::count()).filter(|cpu| cpus.is_set(*cpu).unwrap_or(false)).collect())
}
