//! Flags that say how the kernel side records calls.

use clap::Args;

use crate::{commands::timed, engine::kernel::Request, model::Timed};

/// How the kernel side records calls. All commands that attach have these flags.
#[derive(Args, Debug, Clone, Default)]
pub struct KernelArgs {
    /// Most threads that have a record at one time [default: 32768]
    ///
    /// Calls of further threads are still counted and timed, but without their process. The limit
    /// applies to one user's threads, and to all users' threads together. A quarter more records
    /// exist, so that one user's threads cannot take the records of other users.
    #[arg(long, value_name = "N", help_heading = "Kernel side")]
    pub max_threads: Option<u32>,
    /// Kernel memory for figures, in MiB [default: 40]
    ///
    /// If the memory is used up, further calls are still counted and timed, but per syscall
    /// only, without their process. One user's threads can use at most four fifths of the memory.
    #[arg(long, value_name = "MIB", help_heading = "Kernel side")]
    pub max_memory: Option<u32>,
    /// Count calls and outcomes, but do not time calls, which costs least
    #[arg(long, conflicts_with = "sample", help_heading = "Kernel side")]
    pub no_latency: bool,
    /// Time one call in N of each thread and syscall, or with `auto` at most 10,000 per second
    ///
    /// Counts and outcomes stay exact. The timed calls are chosen at random. With `auto`, every call
    /// is timed while a thread makes at most 10,000 calls of a syscall per second. Above that, a
    /// sample is timed that keeps to this limit. `auto:N` sets another limit, from 1,000 to 1,000,000.
    /// `~` marks the totals that are estimates.
    #[arg(long, value_name = "N|auto[:N]", value_parser = timed::flag, help_heading = "Kernel side")]
    pub sample: Option<Timed>,
    /// Split the time of calls: on a CPU, waiting (blocked), or runnable (waiting for a CPU)
    ///
    /// The three parts of each row add up to its total time. For this, two more programs run at
    /// each context switch and wake-up of the host. A call in which its thread never leaves the CPU
    /// costs no more than without the flag.
    #[arg(long = "where", conflicts_with = "no_latency", help_heading = "Kernel side")]
    pub off_cpu: bool,
    /// Count the profiler's own syscalls too
    #[arg(long, help_heading = "Kernel side")]
    pub include_self: bool,
    /// Use the fallback for kernels without task storage, even if this kernel has it
    #[arg(long, hide = true)]
    pub force_fallback: bool,
    /// Use arrays instead of an arena, even if this kernel has arenas
    #[arg(long, hide = true)]
    pub force_arrays: bool,
}

impl KernelArgs {
    /// The request that these flags make to the kernel side.
    pub fn request(&self) -> Request {
        Request {
            timed: match self.sample {
                _ if self.no_latency => Timed::None,
                timed => timed.unwrap_or_default(),
            },
            max_threads: self.max_threads,
            max_memory_mib: self.max_memory,
            off_cpu: self.off_cpu,
            include_self: self.include_self,
            force_fallback: self.force_fallback,
            force_arrays: self.force_arrays,
        }
    }
}
