//! What is attached while the calls are timed.

use anyhow::{Context, Result};
use aya::{Btf, Ebpf, include_bytes_aligned, programs::BtfTracePoint};
use profiler::{
    aggregate::KeepEnded,
    cli::{FilterArgs, KernelArgs},
    drain::Profiler,
    filter::Filter,
    kernel::{Options, Scope},
};

/// Pairs that any probe can be measured against.
static FLOOR: &[u8] =
    include_bytes_aligned!("../../../profiler/src/kernel/objects/profiler-floor.bpf.o");

/// A pair of programs, at entry and exit of every system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Probe {
    Nothing,
    Empty,
    Clock,
    Profiler,
    Counts,
    Sampled,
    Arrays,
    Fallback,
    Timed,
    /// The profiler, of whose filter the loop is no part.
    Outside,
}

/// Holds the programs; without it they are detached.
#[expect(dead_code, reason = "held for what dropping them does")]
pub(super) enum Attached {
    Nothing,
    Floor(Ebpf),
    Profiler(Box<Profiler>),
}

impl Probe {
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Empty => "empty pair",
            Self::Clock => "clock pair: the floor",
            Self::Profiler => "profiler",
            Self::Counts => "profiler --no-latency",
            Self::Sampled => "profiler --sample 16",
            Self::Arrays => "profiler, arrays (before Linux 6.9)",
            Self::Fallback => "profiler, fallback",
            Self::Timed => "profiler, timed by the kernel",
            Self::Outside => "profiler, out of its filter",
        }
    }

    pub(super) fn attach(self) -> Result<Attached> {
        let attached = match self {
            Self::Nothing => Ok(Attached::Nothing),
            Self::Empty => floor_pair("empty").map(Attached::Floor),
            Self::Clock => floor_pair("clock").map(Attached::Floor),
            Self::Profiler => profiler(KernelArgs::default(), false),
            Self::Counts => {
                profiler(KernelArgs { no_latency: true, ..KernelArgs::default() }, false)
            }
            Self::Sampled => {
                profiler(KernelArgs { sample: Some(16), ..KernelArgs::default() }, false)
            }
            Self::Arrays => {
                profiler(KernelArgs { force_arrays: true, ..KernelArgs::default() }, false)
            }
            Self::Fallback => {
                profiler(KernelArgs { force_fallback: true, ..KernelArgs::default() }, false)
            }
            Self::Timed => profiler(KernelArgs::default(), true),
            Self::Outside => {
                let args = KernelArgs::default();
                nobody().and_then(|filter| filtered(args, false, filter))
            }
        };
        attached.with_context(|| format!("cannot attach: {}", self.title()))
    }
}

fn floor_pair(name: &str) -> Result<Ebpf> {
    let btf = Btf::from_sys_fs()?;
    let mut ebpf = Ebpf::load(FLOOR)?;
    for hook in ["enter", "exit"] {
        let program = format!("{name}_{hook}");
        let program: &mut BtfTracePoint = ebpf
            .program_mut(&program)
            .with_context(|| format!("no program {program}"))?
            .try_into()?;
        program.load(&format!("sys_{hook}"), &btf)?;
        program.attach()?;
    }
    Ok(ebpf)
}

/// A filter that no process is in.
fn nobody() -> Result<Filter> {
    let args = FilterArgs { comm: vec!["nobody".parse()?], ..FilterArgs::default() };
    Ok(Filter::new(&args)?)
}

fn profiler(args: KernelArgs, time_programs: bool) -> Result<Attached> {
    filtered(args, time_programs, Filter::default())
}

fn filtered(args: KernelArgs, time_programs: bool, filter: Filter) -> Result<Attached> {
    let options = Options::new(Scope::Host, &args)?.filtered(filter);
    let options = Options { time_programs, ..options };
    Ok(Attached::Profiler(Box::new(Profiler::attach(&options, KeepEnded::Always)?)))
}
