//! The measurements. They require root, and most of them the profiler as a library.

mod attached;
mod child;
pub(super) mod code;
mod growth;
mod hot_path;
mod machine;
mod peers;
mod pilot;
mod quiet;
mod rows;
mod subjects;
mod work;

use std::time::Duration;

use anyhow::{Result, ensure};

use self::machine::{another_cpu, last_cpu};
use super::{
    Measure, Part,
    results::{Machine, Results},
};
use crate::privilege;

/// A pause after attaching or detaching, so that the kernel's remaining work does not disturb a
/// measurement.
const SETTLE: Duration = Duration::from_millis(20);

/// Measures one part, or all.
pub(super) fn run(part: Option<Part>, args: &Measure) -> Result<Results> {
    ensure!(privilege::is_root(), "attaching to the kernel needs root");
    if args.install {
        machine::install()?;
    }
    child::catch_signals()?;
    let wants = |one: Part| part.is_none_or(|part| part == one);
    let with_peers = wants(Part::Peers);
    if with_peers || wants(Part::Work) {
        machine::show_tracefs()?;
    }
    let mut results = Results {
        machine: Machine::this()?,
        tools: machine::tools(with_peers, wants(Part::Work)),
        hot_path: None,
        contention: None,
        work: None,
        growth: None,
    };
    if wants(Part::HotPath) || with_peers {
        let (hot_path, contention) = hot_path::run(args, with_peers)?;
        results.hot_path = Some(hot_path);
        results.contention = contention;
    }
    if wants(Part::Work) {
        results.work = Some(work::run(args)?);
    }
    if wants(Part::Growth) {
        results.growth = Some(growth::run(args)?);
    }
    Ok(results)
}
