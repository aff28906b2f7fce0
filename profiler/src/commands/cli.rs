//! The command line: its commands, and one module for the flags of each.

mod budget;
mod candidates;
mod completions;
mod daemon;
mod doctor;
mod durations;
mod explain;
mod filters;
mod flame;
mod kernel;
mod lists;
mod metrics;
mod paths;
mod seccomp;
mod shown;
mod stat;
mod syscalls;
mod target;
mod top;
mod top_by;
mod trace;
mod values;

pub use budget::BudgetArgs;
use clap::{Parser, Subcommand, ValueEnum};
pub use completions::{CompletionsArgs, Shell};
pub use daemon::DaemonArgs;
pub use doctor::DoctorArgs;
pub use explain::{ExplainProcessArgs, PageFormat};
pub use filters::FilterArgs;
pub use flame::{FlameArgs, FlameFormat, FlameWeight};
pub use kernel::KernelArgs;
pub use lists::List;
pub use metrics::MetricsArgs;
pub use paths::PathsArgs;
pub use seccomp::{
    CheckArgs, Deny, DiffArgs, ExplainArgs, GenerateArgs, MergeArgs, ProfileFormat, RunArgs,
    Runtime, SeccompArgs, SeccompCommand, WatchArgs,
};
pub use shown::ShownArgs;
pub use stat::StatArgs;
pub use syscalls::SyscallsArgs;
pub use target::{FollowArgs, UserArgs};
pub use top::TopArgs;
pub use top_by::{CallsBy, ListsBy, OwnersBy};
pub use trace::{Clock, Column, Occasion, TraceArgs, TraceFormat};

/// Counts and times every syscall of a Linux host.
#[derive(Parser, Debug)]
#[command(name = "profiler", version, about, after_help = AFTER_HELP, max_term_width = 100)]
pub struct Cli {
    /// The command to run.
    #[command(subcommand)]
    pub command: Command,
}

const AFTER_HELP: &str = "\
Start with:
  profiler doctor              what this host offers, and what is missing
  profiler top                 live view of the whole host
  profiler stat -- make -j4    every syscall of a command and its children
  profiler trace -- ls         each call of a command, with its arguments
  profiler explain 1234        what a process is doing, and what it waits for
  profiler flame -- make       who calls which syscall, by their stacks
  profiler syscalls openat     what a syscall is: arguments, classes, errnos

All commands require root, or CAP_BPF and CAP_PERFMON, except doctor, syscalls,
seccomp diff, explain and merge, metrics, completions and help. Without them,
explain says less.

Exit codes: 0 success, 1 failure, 2 usage, 3 missing privilege or memory, 4 missing kernel
feature, 5 the kernel's verifier refused a program, 6 no such process, 7 bad configuration,
8 cannot listen, 9 cannot write the output, 10 budget exceeded, 126 command cannot be run,
127 command not found. If none of these applies, `stat`, `trace` and `flame` with a command exit
as the command did.

If a signal arrives before the profiler's programs are attached, `daemon` exits with 0, and
the other commands end by that signal. A shell shows 130 after Ctrl-C. One exception:
`daemon` treats HUP as a reload.

If the reader of the output closes its end, as `head` does, the profiler detaches, waits for
the command if there is one, and exits as after a complete run. With a budget, the exit code
is then 10. If the output cannot be written, the exit code is 9.";

/// The commands of `profiler`.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Count and time syscalls, then print a table
    Stat(StatArgs),
    /// Show syscalls live, as htop shows processes
    Top(TopArgs),
    /// Print every call as it happens, with its arguments
    Trace(TraceArgs),
    /// Sum up who calls which syscall, by their stacks
    Flame(FlameArgs),
    /// Say what a process is doing now, and what it waits for
    Explain(ExplainProcessArgs),
    /// Run as a service and export metrics
    Daemon(DaemonArgs),
    /// Check what this host offers and lacks, and say what to do
    Doctor(DoctorArgs),
    /// Explain syscalls: numbers, arguments, classes, and who allows them
    Syscalls(SyscallsArgs),
    /// Write, check, compare and explain seccomp profiles
    Seccomp(SeccompArgs),
    /// Explain how many series `/metrics` can have
    Metrics(MetricsArgs),
    /// Print the script that completes this command line in a shell
    Completions(CompletionsArgs),
}

/// Formats of a report.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Format {
    /// For people to read
    #[default]
    Table,
    /// For programs
    Json,
}
