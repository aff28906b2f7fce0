//! Figures of [`Health`](super::Health) that only one kind of engine has.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// Figures that only one kind of engine has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum EngineDetail {
    /// The engine has no figures of its own.
    #[default]
    None,
    /// The figures of the kernel engine.
    Kernel(KernelDetail),
}

/// Figures of the kernel engine, which counts with eBPF programs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelDetail {
    /// What the programs are built on, for people: `tp_btf, task storage` or the fallback.
    pub mode: Cow<'static, str>,
    /// How many copies of each program are attached.
    pub copies: usize,
    /// Kernel memory of all maps, bytes.
    pub memory_bytes: u64,
    /// For each program, how often the kernel skipped the program (`recursion_misses`). For a
    /// program with several copies, an upper bound of how often the kernel skipped all of them.
    pub program_misses: Vec<(Cow<'static, str>, u64)>,
    /// Entries that a further copy of the program counted, because the kernel skipped the first
    /// copy.
    pub entries_taken_over: u64,
    /// Exits that a further copy of the program counted, because the kernel skipped the first copy.
    pub exits_taken_over: u64,
    /// Exits of calls that were in flight when the profiler attached.
    pub in_flight_at_attach: u64,
    /// Second returns of `fork`, `vfork` and `clone`, in the child.
    pub births: u64,
    /// Calls that were denied before they entered, of threads without a record.
    pub denied_unrecorded: u64,
    /// Calls counted as denied that may have been in flight when the profiler attached: at most one
    /// per thread.
    pub denied_presumed: u64,
    /// Times that a thread returned to a CPU in a timed call, and the kernel did not report it. The
    /// time off the CPU then counts as time on a CPU.
    pub unreported_returns: u64,
    /// Upper bound of that time, nanoseconds.
    pub unreported_ns: u64,
    /// Threads that the profiler found gone, because the kernel had not reported their end.
    pub ends_noticed: u64,
}

impl KernelDetail {
    /// How often the kernel skipped a program. `None` if the kernel does not count that for a
    /// program of this name.
    pub fn misses_of(&self, name: &str) -> Option<u64> {
        self.program_misses.iter().find(|(program, _)| program == name).map(|&(_, misses)| misses)
    }
}
