//! Flags of `profiler trace`.

use std::{path::PathBuf, time::Duration};

use clap::{ArgAction, Args, ValueEnum};

use profiler_common::{recorder::MOST_CALLS, trace::MAX_TEXT};

use super::{FilterArgs, FollowArgs, UserArgs, candidates, target};
use crate::names::errnos::Errno;

/// `profiler trace`.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct TraceArgs {
    /// Flags that say what is followed.
    #[command(flatten)]
    pub followed: FollowArgs,
    /// Print nothing until something happens, and then the last N calls of each thread
    ///
    /// The kernel side keeps the last N calls of each thread in memory (1 to 10,000). They are printed
    /// if a process in scope is killed by a signal or exits with another code than 0, or at the
    /// events of --on, --failed, --errno and --slower. SIGUSR1 to the profiler, and the end of the
    /// trace, print the last calls of every thread that still runs. No call is printed twice.
    #[arg(
        long,
        value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..=MOST_CALLS as i64),
        help_heading = "Flight recorder"
    )]
    pub last: Option<u32>,
    /// With --last: the events at which calls are printed
    ///
    /// The default is `exit`. If --failed, --errno or --slower is there, the default is none: each
    /// of these flags is an event by itself.
    #[arg(
        long,
        value_name = "LIST",
        value_enum,
        value_delimiter = ',',
        requires = "last",
        help_heading = "Flight recorder"
    )]
    pub on: Vec<Occasion>,
    /// Print only calls that failed or were denied
    ///
    /// With --last: print the last calls when a call fails or is denied.
    #[arg(long, help_heading = "Shown")]
    pub failed: bool,
    /// Print only calls that failed with one of these errors
    ///
    /// Names or numbers, separated by commas. Example: --errno ENOENT,EACCES
    ///
    /// With --last: print the last calls when a call fails with one of these errors.
    #[arg(long, value_name = "ERRNO", value_delimiter = ',', add = candidates::errnos(), help_heading = "Shown")]
    pub errno: Vec<Errno>,
    /// Print only calls that lasted at least this time, for example 10ms or 50us
    ///
    /// A number and a unit (ns, us, ms, s, m, h), or a bare number of seconds.
    ///
    /// With --last: print the last calls when a call lasted at least this time.
    #[arg(long, value_name = "TIME", value_parser = target::slower, help_heading = "Shown")]
    pub slower: Option<Duration>,
    /// Columns of a line
    ///
    /// `pid` is the process, followed by /TID if the thread is not the first one. `tid` is the
    /// thread. `comm` is the name of the thread. `call` is the call with its arguments and its
    /// result. `duration` is the time between entry and exit, in seconds.
    #[arg(
        long,
        value_name = "LIST",
        value_enum,
        value_delimiter = ',',
        default_values_t = [Column::Time, Column::Pid, Column::Comm, Column::Call, Column::Duration],
        help_heading = "Shown"
    )]
    pub columns: Vec<Column>,
    /// Form of the column `time`
    #[arg(long, value_enum, default_value_t = Clock::Time, help_heading = "Shown")]
    pub clock: Clock,
    /// Bytes of a string or buffer to show at most
    #[arg(
        short,
        long,
        value_name = "N",
        default_value_t = 32,
        value_parser = clap::value_parser!(u32).range(0..=MAX_STRING as i64),
        help_heading = "Shown"
    )]
    pub string_limit: u32,
    /// Show structures and arrays without leaving anything out
    #[arg(short, long, help_heading = "Shown")]
    pub verbose: bool,
    /// Show file descriptors as numbers only, without the path or address of the open file
    #[arg(long, help_heading = "Shown")]
    pub no_paths: bool,
    /// Format of the lines
    #[arg(long, value_enum, default_value_t = TraceFormat::Text)]
    pub format: TraceFormat,
    /// Print to this file; `-` is standard output
    ///
    /// Without -o, the lines go to standard output. With a command, they go to standard error,
    /// because the command uses standard output.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// -ff with -o: write one file per thread, FILE.TID. -f alone has no effect: children are always
    /// followed
    #[arg(short, action = ArgAction::Count)]
    pub follow: u8,
    /// Kernel memory for calls that are not printed yet, in MiB [default: 16; with --last: 64]
    ///
    /// If the memory is full, whole calls are dropped. The traced process never waits for the profiler.
    /// With --last, the memory decides how many threads are recorded: 64 MiB are enough for 1,048
    /// threads with --last 100.
    #[arg(
        long,
        value_name = "MIB",
        value_parser = clap::value_parser!(u32).range(1..=1024),
        help_heading = "Kernel side"
    )]
    pub buffer: Option<u32>,
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

/// The most bytes of a string.
const MAX_STRING: u32 = MAX_TEXT;

/// An event at which a flight recorder prints.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occasion {
    /// A process is killed by a signal, or exits with another code than 0
    Exit,
    /// SIGUSR1 to the profiler, which always prints; without `exit`, only this
    Request,
}

/// A column of a line.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    /// When the call entered
    Time,
    /// Process
    Pid,
    /// Thread
    Tid,
    /// Name of the thread
    Comm,
    /// Call, arguments and result
    Call,
    /// Time between entry and exit, in seconds
    Duration,
}

/// What the column `time` shows.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// Time of day, in UTC
    Time,
    /// RFC 3339, in UTC
    Date,
    /// Seconds since 1970
    Unix,
    /// Seconds since the host started, without time suspended: CLOCK_MONOTONIC
    Monotonic,
    /// Seconds since the profiler started to follow
    Elapsed,
    /// Seconds since the line before
    Relative,
}

/// Formats of the lines.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum TraceFormat {
    /// As strace prints them
    Text,
    /// One JSON object per line
    Json,
}

const AFTER_HELP: &str = "\
Examples:
  profiler trace -- ls -l                  every call of a command and its children
  profiler trace -p 1234                   a running process
  profiler trace --failed -a -d 10s        every call of the host that fails
  profiler trace --slower 10ms -a          every call that takes 10 ms or longer
  profiler trace --syscall %file -- make   only calls that take a path
  profiler trace --errno EACCES,EPERM --cgroup /system.slice/nginx.service
  profiler trace -o out.txt -- make -j4    to a file
  profiler trace --last 100 -- ./server    the last 100 calls of each thread, if the server crashes
  profiler trace --last 50 --slower 1s -p 1234
  profiler trace --format json -o out.json -- ls

Lines are in the order in which calls entered. If a call takes longer than 100 ms and other lines
come first, it is split: `NAME(... <unfinished ...>` at its entry, and `<... NAME resumed>` at its
return. A call that seccomp refused has a line too.

Arguments are copied in the kernel while the call runs, so they are what the kernel saw. Memory
that could not be read is shown as its address.

If calls come faster than they can be printed, whole calls are dropped. Before the next line of the
thread, a line says how many. At the end, a message on standard error says how many in all.

With --last, --failed, --errno and --slower do not filter: each of them is an event at which the last
calls of the process are printed. --syscall and --exclude-syscall select the calls that are kept.

--unit, --container and --pod are not supported yet: use --cgroup.";
