//! Flags of `profiler flame`.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};

use super::{FilterArgs, FollowArgs, UserArgs, target};

/// `profiler flame`.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct FlameArgs {
    /// Flags that say what is followed.
    #[command(flatten)]
    pub followed: FollowArgs,
    /// What each call adds to the sums
    #[arg(long, value_enum, default_value_t = FlameWeight::Calls, help_heading = "Shown")]
    pub weight: FlameWeight,
    /// Add only calls that lasted at least this time, for example 10ms or 50us
    ///
    /// A number and a unit (ns, us, ms, s, m, h), or a bare number of seconds.
    #[arg(long, value_name = "TIME", value_parser = target::slower, help_heading = "Shown")]
    pub slower: Option<Duration>,
    /// Format of the report
    ///
    /// Without this flag, the suffix of the file of -o decides: .svg, .json, .txt or .folded.
    /// Without such a suffix, the format is `text` on a terminal, and `folded` otherwise.
    #[arg(long, value_enum, help_heading = "Shown")]
    pub format: Option<FlameFormat>,
    /// Print to this file; `-` is standard output
    ///
    /// Without -o, the report goes to standard output. With a command, it goes to standard error,
    /// because the command uses standard output.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Take the stack of every call
    ///
    /// Without this flag, stacks are sampled, so that the cost stays small. A stack costs 2 to 3 us.
    #[arg(long, help_heading = "Kernel side")]
    pub every: bool,
    /// Stacks to take per second and CPU, about
    ///
    /// A higher rate makes shares more exact, and costs more. With --every, this is the rate of
    /// stacks that are unwound.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1_000,
        value_parser = clap::value_parser!(u32).range(1..=100_000),
        help_heading = "Kernel side"
    )]
    pub rate: u32,
    /// Also take the stack in the kernel where a call waited last
    ///
    /// This adds cost to each switch to another thread.
    #[arg(long, help_heading = "Kernel side")]
    pub kernel: bool,
    /// Follow frame pointers only, and copy no memory of stacks
    ///
    /// This is cheaper. Functions that were compiled without frame pointers are missing or wrong.
    #[arg(long, help_heading = "Kernel side")]
    pub frame_pointers: bool,
    /// Different stacks for which the kernel side has space
    ///
    /// Each takes 1 KiB of kernel memory. If the space is full, calls are shown without a stack.
    #[arg(
        long,
        value_name = "N",
        default_value_t = 16_384,
        value_parser = clap::value_parser!(u32).range(64..=1 << 20),
        help_heading = "Kernel side"
    )]
    pub max_stacks: u32,
    /// The flag that names the user of the command.
    #[command(flatten)]
    pub user: UserArgs,
    /// Flags that choose which processes and syscalls are followed.
    #[command(flatten)]
    pub filters: FilterArgs,
    /// The command to run and follow, with its children
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<std::ffi::OsString>,
}

/// What each call adds to the sums.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlameWeight {
    /// 1
    Calls,
    /// Its latency
    Time,
    /// 1 if it failed
    Errors,
}

/// Formats of the report.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlameFormat {
    /// Each syscall, and below it who calls it
    Text,
    /// A line per stack, as other tools read it
    Folded,
    /// A flame graph, for a browser
    Svg,
    /// For programs
    Json,
}

const AFTER_HELP: &str = "\
Examples:
  profiler flame -d 10s                            who calls what, on the whole host
  profiler flame -p 1234 -d 10s --syscall futex    who calls futex in a process
  profiler flame --weight time -o out.svg -- make  where a command spends time in syscalls
  profiler flame --weight errors --syscall openat -a -d 10s
  profiler flame --format folded -o out.folded -a -d 10s

The report says how the stacks were obtained, how many are truncated or have functions without
names, and the standard error of shares.

--unit, --container and --pod are not supported yet: use --cgroup.";
