//! Reads all facts about this host that the checks require, once.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use nix::sys::resource::{Resource, getrlimit};

use crate::{
    aggregate::KeepEnded,
    engine::{
        Engine as _,
        kernel::{
            Fit, KernelError, MemoryLimit, Options, Profiler, can_be_kept, features::Features,
            release_memory, return_large_blocks,
        },
    },
    filter,
    model::{Detail, Untimed},
    privilege::{NOBODY, User, try_confining},
    proc_fields,
};

/// All facts about this host that the checks require.
pub(super) struct Host {
    pub(super) features: Features,
    pub(super) architecture: &'static str,
    /// `net.core.bpf_jit_enable`.
    pub(super) jit: Option<u32>,
    /// The active mode in /sys/kernel/security/lockdown.
    pub(super) lockdown: Option<String>,
    /// `kernel.bpf_stats_enabled`.
    pub(super) bpf_stats: Option<u32>,
    /// Whether this process can switch on the kernel's statistics of programs, or why not.
    pub(super) can_time: Result<(), Untimed>,
    /// The clock source of the kernel, with which all times are measured.
    pub(super) clock_source: Option<String>,
    /// Soft RLIMIT_MEMLOCK in bytes.
    pub(super) memlock: Option<u64>,
    /// The mount point of cgroup version 2. Without one: a mount point of version 1, if any.
    pub(super) cgroups: Result<PathBuf, Option<PathBuf>>,
    /// The memory limit of this process, if it has one.
    pub(super) memory_limit: Option<MemoryLimit>,
    /// Whether the profiler's default tables fit into the memory limit, or why not.
    pub(super) memory_fit: Result<Fit, KernelError>,
    /// Available memory of the host, bytes.
    pub(super) available_bytes: Option<u64>,
    /// The remaining privileges of a daemon, and the problems with them.
    pub(super) confinement: Result<(String, Vec<String>), String>,
    /// The result of an attach with tables of the default sizes.
    pub(super) trial: Result<Trial, KernelError>,
}

/// A successful attach.
pub(super) struct Trial {
    pub(super) mode: String,
    pub(super) took: Duration,
    pub(super) kernel_memory_bytes: u64,
    /// Machine code of all programs, bytes.
    pub(super) jited_bytes: u64,
    /// The maximum number of instructions that the verifier processed for a program.
    pub(super) verified_instructions: Option<u32>,
}

fn read(path: impl AsRef<Path>) -> Option<String> {
    Some(fs::read_to_string(path).ok()?.trim().to_owned())
}

impl Host {
    pub(super) fn look() -> Self {
        return_large_blocks();
        let features = Features::probe();
        // The trial reads the kernel's types again.
        release_memory();
        let memory_limit = MemoryLimit::tightest();
        let memory_fit = Fit::new(&Options::default(), memory_limit.as_ref());
        let [available_bytes] = proc_fields::sizes("/proc/meminfo", ["MemAvailable"]);
        Self {
            features,
            architecture: std::env::consts::ARCH,
            jit: read("/proc/sys/net/core/bpf_jit_enable").and_then(|v| v.parse().ok()),
            lockdown: read("/sys/kernel/security/lockdown").and_then(|modes| {
                modes
                    .split_whitespace()
                    .find_map(|m| m.strip_prefix('[')?.strip_suffix(']').map(str::to_owned))
            }),
            bpf_stats: read("/proc/sys/kernel/bpf_stats_enabled").and_then(|v| v.parse().ok()),
            can_time: can_be_kept(),
            clock_source: read("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
            memlock: getrlimit(Resource::RLIMIT_MEMLOCK).ok().map(|(soft, _)| soft),
            cgroups: filter::cgroup_mount(),
            memory_limit,
            memory_fit,
            available_bytes,
            confinement: User::find(NOBODY)
                .map_err(|error| error.to_string())
                .and_then(|user| try_confining(&user)),
            trial: try_attach(),
        }
    }
}

fn try_attach() -> Result<Trial, KernelError> {
    let started = Instant::now();
    let profiler = Profiler::attach(&Options::default(), KeepEnded::Always)?;
    let took = started.elapsed();
    let health = profiler.finish(Detail::Calls).health;
    let kernel_memory_bytes = health.kernel_memory_bytes();
    let mode = health.kernel().map_or_else(String::new, |kernel| kernel.mode.to_string());
    let programs = &health.cost.programs;
    Ok(Trial {
        mode,
        took,
        kernel_memory_bytes,
        jited_bytes: programs.iter().map(|program| program.jited_bytes).sum(),
        verified_instructions: programs
            .iter()
            .filter_map(|program| program.verified_instructions)
            .max(),
    })
}
