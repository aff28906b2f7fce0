//! The command line.

mod durations;
mod lists;
mod shown;
mod values;

use std::{net::SocketAddr, num::NonZeroU32, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};
pub use lists::List;
pub use shown::ShownArgs;

use crate::{
    address::parse_listen,
    duration::{Interval, RunTime},
    engine::kernel::Request,
    filter::{CallPattern, Comm, Filter, FilterError},
    model::{Grouping, SortKey, Timed},
};

/// Counts and times every system call of a Linux host.
#[derive(Parser, Debug)]
#[command(name = "profiler", version, about, after_help = AFTER_HELP, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const AFTER_HELP: &str = "\
Start with:
  profiler doctor              what this host offers, and what is missing
  profiler top                 live view of the whole host
  profiler stat -- make -j4    every system call of a command and its children

Everything but --help, --version and doctor needs root, or CAP_BPF and CAP_PERFMON.

Exit codes: 0 success, 1 failure, 2 usage, 3 missing privilege or memory, 4 missing kernel
feature, 5 kernel refused the program, 6 no such process, 7 bad configuration,
8 cannot listen, 9 cannot write the output, 126 command cannot be run, 127 command
not found. `stat -- COMMAND` otherwise exits as the command did.

A signal ends the profiler at once if its programs are not attached yet: `daemon` with 0,
and other commands by that signal, so that a shell shows 130 after Ctrl-C.

If the reader of the output goes away, as `head` does, that is success: the profiler
detaches and ends, after the command if there is one. If the output cannot be written, it
ends in the same way, with 9.";

/// What `profiler` can do.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Count and time system calls, then print a table
    Stat(StatArgs),
    /// Show system calls live, as htop shows processes
    Top(TopArgs),
    /// Run as a service and export metrics
    Daemon(DaemonArgs),
    /// Say what this host offers, what is missing, and what to do
    Doctor(DoctorArgs),
}

/// What the kernel side is to do; common to all that load it.
#[derive(Args, Debug, Clone, Default)]
pub struct KernelArgs {
    /// Threads that can be recorded apart at one time [default: 32768]
    ///
    /// That many threads of one user, or of all users together, each get a record. A quarter
    /// more records are kept, so that one user's threads cannot take those of other users.
    #[arg(long, value_name = "N", help_heading = "Kernel side")]
    pub max_threads: Option<u32>,
    /// Kernel memory for figures, in MiB [default: 40]
    ///
    /// When it is used up, further calls are still counted and timed, in one
    /// bucket per system call, without their process. One user's threads can use at most four
    /// fifths of it.
    #[arg(long, value_name = "MIB", help_heading = "Kernel side")]
    pub max_memory: Option<u32>,
    /// Count calls and outcomes only, and time none: the least cost
    #[arg(long, conflicts_with = "sample", help_heading = "Kernel side")]
    pub no_latency: bool,
    /// Time one call in N, of each thread and system call; counts stay exact
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..), help_heading = "Kernel side")]
    pub sample: Option<u32>,
    /// Count the profiler's own system calls too
    #[arg(long, help_heading = "Kernel side")]
    pub include_self: bool,
    /// Use the fallback for kernels without task storage, even where there is one
    #[arg(long, hide = true)]
    pub force_fallback: bool,
    /// Use arrays for what would be in an arena, even where there is one
    #[arg(long, hide = true)]
    pub force_arrays: bool,
}

impl KernelArgs {
    /// What these flags ask of the kernel side.
    pub fn request(&self) -> Request {
        Request {
            timed: match self.sample.and_then(NonZeroU32::new) {
                _ if self.no_latency => Timed::None,
                Some(calls) => Timed::OneIn(calls),
                None => Timed::All,
            },
            max_threads: self.max_threads,
            max_memory_mib: self.max_memory,
            include_self: self.include_self,
            force_fallback: self.force_fallback,
            force_arrays: self.force_arrays,
        }
    }
}

/// What counts, of all that could; common to all that load the kernel side. Of one kind
/// any has to be met, and all kinds that are given.
#[derive(Args, Debug, Clone, Default)]
pub struct FilterArgs {
    /// Only processes in this cgroup (version 2) or below it, as system.slice/nginx.service
    ///
    /// A path from the root of the hierarchy, or a directory below where it is mounted. A
    /// process that is moved into it or out of it counts from then on, or no more.
    ///
    /// Several are separated by commas; `\,` is a comma within a path.
    #[arg(long, value_name = "PATH", value_parser = lists::cgroups, help_heading = "Filters")]
    pub cgroup: Vec<List<PathBuf>>,
    /// Only processes of this name, as /proc/PID/comm has it
    ///
    /// The name is that of a process's first thread. It is cut off after 15 bytes.
    /// Several are separated by commas; `\,` is a comma within a name.
    #[arg(long, value_name = "NAME", value_parser = lists::comms, help_heading = "Filters")]
    pub comm: Vec<List<Comm>>,
    /// Only this system call, by name or number; all others with ! before it
    ///
    /// A name is that of every ABI which has it; i386:open is that of one. A number is one
    /// of x86_64, and i386:5 one of another. `unknown` is all that no table has.
    #[arg(long, value_name = "CALL", value_delimiter = ',', help_heading = "Filters")]
    pub syscall: Vec<CallPattern>,
    /// Not this system call; as --syscall with ! before it, which shells want quoted
    #[arg(long, value_name = "CALL", value_delimiter = ',', help_heading = "Filters")]
    pub exclude_syscall: Vec<CallPattern>,
}

impl FilterArgs {
    /// The filter that these flags describe. The cgroups are looked up now.
    ///
    /// # Errors
    /// See [`FilterError`].
    pub fn filter(&self) -> Result<Filter, FilterError> {
        Filter::new(&self.cgroup.concat(), self.comm.concat(), &self.patterns())
    }

    /// The patterns of both flags that name syscalls.
    pub fn patterns(&self) -> Vec<CallPattern> {
        let excluded = self.exclude_syscall.iter().cloned().map(CallPattern::excluded);
        self.syscall.iter().cloned().chain(excluded).collect()
    }
}

/// `profiler stat`.
#[derive(Args, Debug)]
#[command(after_help = STAT_AFTER_HELP)]
pub struct StatArgs {
    /// The whole host; the default without a process or a command
    #[arg(short, long, conflicts_with_all = ["pid", "command"])]
    pub all: bool,
    /// These processes, and the children that they start
    #[arg(short, long, value_name = "PID", value_parser = lists::pids, conflicts_with = "command")]
    pub pid: Vec<List<u32>>,
    /// Stop after this time, as 500ms, 10s or 2m; without it, at Ctrl-C or when
    /// the command or the last process has ended
    ///
    /// A number and a unit (ms, s, m, h), or a bare number of seconds: 10ms to 8760h.
    #[arg(short, long, value_name = "TIME")]
    pub duration: Option<RunTime>,
    /// Print what each interval brought, as it passes
    ///
    /// A number and a unit (ms, s, m, h), or a bare number of seconds: 10ms to 1h.
    #[arg(short, long, value_name = "TIME")]
    pub interval: Option<Interval>,
    /// Sort by this column [default: total, and syscalls that wait by nature last]
    ///
    /// On most hosts, calls such as futex, nanosleep and epoll_wait hold over nine tenths of the
    /// time, because programs wait in them for work. By default their rows therefore follow all
    /// others, below a line that says so. With a key, the order is strictly by that column.
    #[arg(short, long, value_enum)]
    pub sort: Option<SortKey>,
    /// What makes a row
    #[arg(short, long, value_enum, value_name = "WHAT", default_value = "syscall")]
    pub by: Grouping,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
    /// Print to this file; without it, to standard output, or beside a command to
    /// standard error
    ///
    /// Beside a command, standard output is the command's. So `--format json -- ls | jq` gives
    /// jq the output of ls: write the JSON to a file instead, with -o.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Print what the profiler itself cost: its programs in the kernel and its process
    ///
    /// For that the kernel times every BPF program of the host, which makes each call
    /// dearer; it needs CAP_SYS_ADMIN, or sysctl kernel.bpf_stats_enabled=1.
    #[arg(long = "self")]
    pub own_cost: bool,
    /// Run the command as this user, by name or number
    ///
    /// The command gets the user's groups, and HOME, USER, LOGNAME and SHELL. A user other than
    /// root has no capabilities. This requires CAP_SETUID and CAP_SETGID. Without a command, -u is
    /// refused.
    #[arg(short, long, value_name = "USER")]
    pub user: Option<String>,
    /// What is shown.
    #[command(flatten)]
    pub shown: ShownArgs,
    /// What counts.
    #[command(flatten)]
    pub filters: FilterArgs,
    /// What the kernel side is to do.
    #[command(flatten)]
    pub kernel: KernelArgs,
    /// A command to run and to follow
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<std::ffi::OsString>,
}

const STAT_AFTER_HELP: &str = "\
Examples:
  profiler stat -- ls -l               a command, from its first call to its end
  profiler stat -a -d 10s              the whole host for ten seconds
  profiler stat -p 1234 -i 1s          a process and its children, every second
  profiler stat --by process -a -d 5s  which process makes the calls
  profiler stat --self -a -d 10s       what the profiler itself costs meanwhile
  profiler stat --cgroup system.slice/nginx.service --syscall fsync,fdatasync -d 1m
  profiler stat --format json -o out.json -- make
  profiler stat --buckets -f json -o out.json -- make
  profiler stat --show-errno -- ls /x  the errors of each syscall by name
  profiler stat --failed -a -d 10s     only syscalls that failed or were denied
  profiler stat --errno ENOENT,EACCES --by process -a -d 10s
  profiler stat --no-waits -a -d 10s   without futex, epoll_wait and the like
  profiler stat -u nobody -- id        a command that runs as another user

A command gets every signal that the profiler gets (HUP, INT, QUIT, TERM, USR1, USR2), once.
Ctrl-C twice within one second ends the profiler, with the report so far; the command goes on.

Latency is wall time in the kernel, by CLOCK_MONOTONIC, from the call's entry tracepoint
to its exit tracepoint: asleep, waiting and preempted, but not while the host was
suspended. Some tens of nanoseconds of each are the tracepoints', or, where the kernel
guards returns, more than a hundred. Totals and, over a whole run, the least and the greatest
are exact; quantiles are within 6.25 %, and below 64 ns within 4 ns.";

/// How to print.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Format {
    /// For people
    #[default]
    Table,
    /// For programs: one object, or with --interval one object a line
    Json,
}

/// `profiler top`.
#[derive(Args, Debug)]
#[command(after_help = TOP_AFTER_HELP)]
pub struct TopArgs {
    /// Only these processes, and the children that they start
    #[arg(short, long, value_name = "PID", value_parser = lists::pids)]
    pub pid: Vec<List<u32>>,
    /// Time between two refreshes
    ///
    /// A number and a unit (ms, s, m, h), or a bare number of seconds: 10ms to 1h.
    ///
    /// -d is the same, as in top(1).
    #[arg(short, long, visible_short_alias = 'd', value_name = "TIME", default_value = "1s")]
    pub interval: Interval,
    /// Print plain text rather than take the terminal over
    #[arg(short, long)]
    pub batch: bool,
    /// Stop after this many refreshes
    #[arg(short = 'n', long, value_name = "N")]
    pub iterations: Option<u64>,
    /// Sort by this column at first
    #[arg(short, long, value_enum, default_value_t = SortKey::Total)]
    pub sort: SortKey,
    /// Show only what contains this text, at first
    #[arg(short, long, value_name = "TEXT")]
    pub filter: Option<String>,
    /// Include calls that wait by nature, as the key w does
    ///
    /// Calls such as futex, epoll_wait and nanosleep take nearly all of the time on most hosts.
    /// They would hide a slow fsync, so `top` leaves them out. The header counts them.
    #[arg(long)]
    pub waits: bool,
    /// Show what the profiler's programs cost, as the key c does
    ///
    /// For that the kernel times every BPF program of the host, which makes each call
    /// dearer; it needs CAP_SYS_ADMIN, or sysctl kernel.bpf_stats_enabled=1.
    #[arg(long = "self")]
    pub own_cost: bool,
    /// What counts.
    #[command(flatten)]
    pub filters: FilterArgs,
    /// What the kernel side is to do.
    #[command(flatten)]
    pub kernel: KernelArgs,
}

const TOP_AFTER_HELP: &str = "\
Examples:
  profiler top                         the whole host
  profiler top -p 1234                 a process and its children
  profiler top -d 5 -s errors          every five seconds, most errors first
  profiler top --waits                 with futex, epoll_wait and the like
  profiler top -b -n 1                 one interval as plain text

The key ? lists all keys, and explains every word on the screen.";

/// `profiler daemon`. A flag wins over the configuration file.
#[derive(Args, Clone, Debug)]
pub struct DaemonArgs {
    /// Configuration file [default: /etc/profiler/profiler.toml, if it is there]
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Address and port to serve metrics on [default: 127.0.0.1:9494]
    #[arg(short, long, value_name = "ADDR:PORT", value_parser = parse_listen)]
    pub listen: Option<SocketAddr>,
    /// Time between two drains of the kernel's maps [default: 1s]
    ///
    /// A number and a unit (ms, s, m, h), or a bare number of seconds: 10ms to 1h.
    #[arg(short, long, value_name = "TIME")]
    pub interval: Option<Interval>,
    /// Export how often the profiler's programs ran and for how long
    ///
    /// For that the kernel times every BPF program of the host, which makes each call
    /// dearer; it needs CAP_SYS_ADMIN at the start. Without this flag they are exported
    /// while sysctl kernel.bpf_stats_enabled is 1.
    #[arg(long)]
    pub bpf_stats: bool,
    /// Check the configuration, say what it comes to, and end
    #[arg(long)]
    pub check_config: bool,
    /// What counts.
    #[command(flatten)]
    pub filters: FilterArgs,
    /// What the kernel side is to do.
    #[command(flatten)]
    pub kernel: KernelArgs,
}

/// `profiler doctor`.
#[derive(Args, Debug)]
pub struct DoctorArgs {
    /// How to print
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
}
