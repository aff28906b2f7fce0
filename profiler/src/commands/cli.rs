//! The command line.

mod budget;
mod candidates;
mod completions;
mod durations;
mod lists;
mod metrics;
mod shown;
mod syscalls;
mod top_by;
mod values;

use std::path::PathBuf;

pub use budget::BudgetArgs;
use clap::{Args, Parser, Subcommand, ValueEnum};
pub use completions::{CompletionsArgs, Shell};
pub use lists::List;
pub use metrics::MetricsArgs;
pub use shown::ShownArgs;
pub use syscalls::SyscallsArgs;
pub use top_by::{CallsBy, ListsBy, OwnersBy};

use super::{places, timed};
use crate::{
    address::Listen,
    duration::{Interval, RunTime},
    engine::kernel::Request,
    filter::{CallPattern, Comm, ContainerName, Filter, FilterError, Places, PodName, UnitName},
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
  profiler stat -- make -j4    every syscall of a command and its children
  profiler syscalls openat     what a syscall is: arguments, classes, errnos

All commands require root, or CAP_BPF and CAP_PERFMON, except doctor, syscalls,
metrics, completions and help.

Exit codes: 0 success, 1 failure, 2 usage, 3 missing privilege or memory, 4 missing kernel
feature, 5 the kernel's verifier refused a program, 6 no such process, 7 bad configuration,
8 cannot listen, 9 cannot write the output, 10 budget exceeded, 126 command cannot be run,
127 command not found. If none of these applies, `stat -- COMMAND` exits as the command did.

If a signal arrives before the profiler's programs are attached, `daemon` exits with 0, and
the other commands end by that signal. A shell shows 130 after Ctrl-C. One exception:
`daemon` treats HUP as a reload.

If the reader of the output closes its end, as `head` does, the profiler detaches, waits for
the command if there is one, and exits as after a complete run. With a budget, the exit code
is then 10. If the output cannot be written, the exit code is 9.";

/// What `profiler` can do.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Count and time syscalls, then print a table
    Stat(StatArgs),
    /// Show syscalls live, as htop shows processes
    Top(TopArgs),
    /// Run as a service and export metrics
    Daemon(DaemonArgs),
    /// Check what this host offers and lacks, and say what to do
    Doctor(DoctorArgs),
    /// Explain syscalls: numbers, arguments, classes, and who allows them
    Syscalls(SyscallsArgs),
    /// Explain how many series `/metrics` can have
    Metrics(MetricsArgs),
    /// Print the script that completes this command line in a shell
    Completions(CompletionsArgs),
}

/// How the kernel side records calls; common to all commands that attach.
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
    /// What these flags ask of the kernel side.
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

/// Filters: which processes and syscalls are counted. Different filters are ANDed; several values
/// of one filter are ORed.
#[derive(Args, Debug, Clone, Default)]
pub struct FilterArgs {
    /// Count only processes in this cgroup (version 2) or below it
    ///
    /// A path from the root of the hierarchy, such as system.slice/nginx.service, or a directory
    /// below its mount point. A process that moves is counted while it is in the cgroup.
    ///
    /// Several paths are separated by commas. Write a comma within a path as `\,`.
    #[arg(long, value_name = "PATH", value_parser = lists::cgroups, help_heading = "Filters")]
    pub cgroup: Vec<List<PathBuf>>,
    /// Count only processes in this systemd unit
    ///
    /// nginx is nginx.service; other units have their suffix, such as session-3.scope. Cgroups below
    /// that of the unit are included. A unit that is restarted is counted from its first syscall.
    /// Several names are separated by commas.
    #[arg(long, value_name = "NAME", value_delimiter = ',', add = candidates::units(), help_heading = "Filters")]
    pub unit: Vec<UnitName>,
    /// Count only processes in this container
    ///
    /// The name of the container, its id, or at least the first 12 digits of its id. Containers
    /// within the container are included. A container that is restarted is counted from its first
    /// syscall. Several names are separated by commas.
    #[arg(long, value_name = "NAME|ID", value_delimiter = ',', add = candidates::containers(), help_heading = "Filters")]
    pub container: Vec<ContainerName>,
    /// Count only processes in this Kubernetes pod
    ///
    /// NAMESPACE/NAME, the UID of the pod, or at least the first 8 digits of its UID. Containers
    /// that start later are counted from their first syscall. Several pods are separated by commas.
    #[arg(long, value_name = "NAMESPACE/NAME|UID", value_delimiter = ',', add = candidates::pods(), help_heading = "Filters")]
    pub pod: Vec<PodName>,
    /// Accept units, containers and pods that do not exist yet
    ///
    /// They are counted from their first syscall. Without this flag, `stat` and `top` refuse a name
    /// that nothing has. The daemon accepts such a name, and logs a warning.
    #[arg(long, help_heading = "Filters")]
    pub allow_missing: bool,
    /// Count only processes with this name, as in /proc/PID/comm
    ///
    /// The name of a process is that of its first thread, and has at most 15 bytes. Several names
    /// are separated by commas. Write a comma within a name as `\,`.
    #[arg(long, value_name = "NAME", value_parser = lists::comms, help_heading = "Filters")]
    pub comm: Vec<List<Comm>>,
    /// Count only this syscall, by name, number or %CLASS; `!NAME` excludes it
    ///
    /// A name such as open matches the syscalls of all ABIs, and i386:open that of one ABI. A
    /// number such as 2 is one of x86_64, and i386:5 one of another ABI. `unknown` matches all
    /// numbers without a name. A class of strace such as %file, or a category such as
    /// %file-management, matches all its syscalls: `profiler syscalls %file` lists them. Several
    /// are separated by commas.
    #[arg(long, value_name = "CALL", value_delimiter = ',', add = candidates::patterns(), help_heading = "Filters")]
    pub syscall: Vec<CallPattern>,
    /// Exclude this syscall, or a %CLASS. Same as --syscall '!NAME'
    #[arg(long, value_name = "CALL", value_delimiter = ',', add = candidates::patterns(), help_heading = "Filters")]
    pub exclude_syscall: Vec<CallPattern>,
}

impl FilterArgs {
    /// The filter that these flags describe. The cgroups, units, containers and pods are looked up
    /// now.
    ///
    /// # Errors
    /// See [`FilterError`].
    pub fn filter(&self) -> Result<Filter, FilterError> {
        let filter = Filter::new(&self.cgroup.concat(), self.comm.concat(), &self.patterns())?;
        let filter = filter.in_places(self.places())?;
        let unknown = places::unknown(&filter.places)?;
        match unknown.into_iter().next() {
            Some(error) if !self.allow_missing => Err(error.into()),
            _ => Ok(filter),
        }
    }

    /// The units, containers and pods of these flags.
    pub fn places(&self) -> Places {
        let (units, containers) = (self.unit.clone(), self.container.clone());
        Places { units, containers, pods: self.pod.clone() }
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
    /// Watch the whole host; the default if there is neither -p nor a command
    #[arg(short, long, conflicts_with_all = ["pid", "command"])]
    pub all: bool,
    /// Watch these processes, and the children that they start
    #[arg(short, long, value_name = "PID", value_parser = lists::pids, conflicts_with = "command")]
    pub pid: Vec<List<u32>>,
    /// Stop after this time, for example 500ms, 10s or 2m
    ///
    /// Without a duration, counting stops at Ctrl-C, or when the command or the last process has
    /// ended.
    ///
    /// A number and a unit (ms, s, m, h), or a bare number of seconds: 10ms to 8760h.
    #[arg(short, long, value_name = "TIME")]
    pub duration: Option<RunTime>,
    /// Print a report for each interval
    ///
    /// A number and a unit (ms, s, m, h), or a bare number of seconds: 10ms to 1h.
    #[arg(short, long, value_name = "TIME")]
    pub interval: Option<Interval>,
    /// Sort by this column [default: total, and syscalls that wait by nature last]
    ///
    /// Programs wait for work in syscalls such as futex, nanosleep and epoll_wait: these syscalls
    /// wait by nature. On most hosts, they take over 90 % of the time. By default, their rows
    /// therefore follow all other rows, below a heading. With -s, the order is strictly by the
    /// column.
    #[arg(short, long, value_enum)]
    pub sort: Option<SortKey>,
    /// Group calls into rows by syscall, abi, category, class, process, comm, user, cgroup, unit,
    /// container, pod, thread, or a list
    ///
    /// For example, with `--by process,syscall` each process has a row for each of its syscalls.
    /// `comm` is the name of a process: `--by comm` adds up all processes of one name. `user` is the
    /// real user of the process. `thread` adds the process, and shows each thread under its own
    /// name. `category` and `class` are those of `profiler syscalls`. If a syscall is in several
    /// classes of strace, as openat is, its row lists all of them (`%file %desc`): no call is in two
    /// rows.
    #[arg(short, long, value_name = "LIST", value_parser = lists::grouping, add = candidates::dimensions(), default_value = "syscall")]
    pub by: Grouping,
    /// Format of the report
    ///
    /// With --interval, json prints one object per line.
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
    /// Print to this file; `-` is standard output
    ///
    /// Without -o, the report goes to standard output. With a command, the report goes to standard
    /// error, because the command uses standard output. So with `--format json -- ls | jq`, jq
    /// reads the output of ls. To get the JSON, write it to a file: `-o out.json`.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Print what the profiler itself cost: its programs in the kernel and its process
    ///
    /// For this, the kernel times every BPF program of the host, which adds to the cost of each
    /// call. The timing requires CAP_SYS_ADMIN, or sysctl kernel.bpf_stats_enabled=1.
    #[arg(long = "self")]
    pub own_cost: bool,
    /// Run the command as this user, by name or number
    ///
    /// The command gets the user's groups, and HOME, USER, LOGNAME and SHELL. Unless the user is
    /// root, the command has no capabilities. -u requires CAP_SETUID and CAP_SETGID, and a command.
    #[arg(short, long, value_name = "USER")]
    pub user: Option<String>,
    /// What is shown.
    #[command(flatten)]
    pub shown: ShownArgs,
    /// Limits for the run.
    #[command(flatten)]
    pub budget: BudgetArgs,
    /// What counts.
    #[command(flatten)]
    pub filters: FilterArgs,
    /// What the kernel side is to do.
    #[command(flatten)]
    pub kernel: KernelArgs,
    /// The command to run and watch, with its children
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
  profiler stat --where -- make        is it working or waiting?
  profiler stat -u nobody -- id        a command that runs as another user
  profiler stat --write-budget limits.toml -- make check
  profiler stat --budget limits.toml -- make check   exits with 10 if the run does more

If the profiler gets HUP, INT, QUIT, TERM, USR1 or USR2, the command gets that signal once. A
second Ctrl-C within one second ends the profiler: the profiler prints the report so far, and the
command continues.

Latency is wall time in the kernel, from the entry tracepoint of a call to its exit tracepoint.
Latency includes time asleep, waiting and preempted, but not time while the host is suspended.
The clock is CLOCK_MONOTONIC. The tracepoints themselves add some tens of nanoseconds to each
latency, and more than a hundred with return mitigations. Totals are exact. Minimum and maximum
are exact over a whole run. The error of quantiles is at most 6.25 %, and below 64 ns at most 4 ns.";

/// Formats of a report.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Format {
    /// For people to read
    #[default]
    Table,
    /// For programs
    Json,
}

/// `profiler top`.
#[derive(Args, Debug)]
#[command(after_help = TOP_AFTER_HELP)]
pub struct TopArgs {
    /// Watch only these processes, and the children that they start
    #[arg(short, long, value_name = "PID", value_parser = lists::pids)]
    pub pid: Vec<List<u32>>,
    /// Time between two refreshes
    ///
    /// A number and a unit (ms, s, m, h), or a bare number of seconds: 10ms to 1h.
    ///
    /// -d means the same, as in top(1).
    #[arg(short, long, visible_short_alias = 'd', value_name = "TIME", default_value = "1s")]
    pub interval: Interval,
    /// Print plain text instead of taking over the terminal
    #[arg(short, long)]
    pub batch: bool,
    /// Stop after this many refreshes
    #[arg(short = 'n', long, value_name = "N")]
    pub iterations: Option<u64>,
    /// Sort by this column at the start
    #[arg(short, long, value_enum, default_value_t = SortKey::Total)]
    pub sort: SortKey,
    /// Show only rows whose name or id contains this text, at the start
    #[arg(short, long, value_name = "TEXT")]
    pub filter: Option<String>,
    /// Include calls that wait by nature, as the key w does
    ///
    /// Calls such as futex, epoll_wait and nanosleep take nearly all of the time on most hosts.
    /// They would hide a slow fsync, so `top` hides these calls by default. The header counts them.
    #[arg(long)]
    pub waits: bool,
    /// List threads instead of processes, as the key H does
    ///
    /// A row has the thread id, the thread's own name, and the id, user and name of its process. In
    /// top(1), -H means the same.
    #[arg(short = 'H', long)]
    pub threads: bool,
    /// Group processes by container, pod, unit or cgroup, and syscalls by category or class
    ///
    /// A row of the first list is a process, thread, container, pod, unit or cgroup, as with the keys
    /// B and H. A row of the list of syscalls is a syscall, category or class, as with the key C.
    ///
    /// With `--by container`, a row has the calls of all processes of a container. Opening a row
    /// lists its processes. The row `-` has the calls that are made in no container.
    ///
    /// With `--by class`, a row has all syscalls that are in the same classes of strace, such as
    /// `%file %desc`. So each syscall is in one row. Opening a row lists its syscalls.
    ///
    /// `--by container,class` groups both lists.
    #[arg(long, value_name = "LIST", value_parser = top_by::parse, add = candidates::of_top(), default_value = "process,syscall")]
    pub by: ListsBy,
    /// Show what the profiler's programs cost, as the key c does
    ///
    /// For this, the kernel times every BPF program of the host, which adds to the cost of each
    /// call. The timing requires CAP_SYS_ADMIN, or sysctl kernel.bpf_stats_enabled=1.
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
  profiler top -H -p 1234              the threads of a process
  profiler top --where                 a bar in each row: on a CPU, runnable or waiting
  profiler top --by container          which container makes the calls
  profiler top --by category           calls by what they act on: files, processes, ...
  profiler top -b -n 1                 one interval as plain text

The key ? lists all keys, and explains every word on the screen.";

/// `profiler daemon`. A flag overrides the configuration file.
#[derive(Args, Clone, Debug)]
pub struct DaemonArgs {
    /// Configuration file [default: /etc/profiler/profiler.toml, if the file exists]
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Address and port to serve metrics on [default: 127.0.0.1:9494]
    ///
    /// Or a Unix socket, for example unix:/run/profiler/metrics.sock. If systemd passes sockets
    /// (profiler.socket), the daemon listens on these sockets instead.
    #[arg(short, long, value_name = "ADDR:PORT")]
    pub listen: Option<Listen>,
    /// Web configuration file: TLS, client certificates and passwords
    ///
    /// The file has the keys of Prometheus's exporter-toolkit, in YAML. Without such a file, the
    /// daemon serves plain HTTP, and requires no password.
    #[arg(long, value_name = "FILE")]
    pub web_config: Option<PathBuf>,
    /// Longest time between two readings of the kernel's maps [default: 1s]
    ///
    /// Each scrape reads the maps too.
    ///
    /// A number and a unit (ms, s, m, h), or a bare number of seconds: 10ms to 1h.
    #[arg(short, long, value_name = "TIME")]
    pub interval: Option<Interval>,
    /// Export how often the profiler's programs run, and for how long
    ///
    /// For this, the kernel times every BPF program of the host, which adds to the cost of each
    /// call. The timing requires CAP_SYS_ADMIN at the start. Without this flag, these metrics are exported
    /// while sysctl kernel.bpf_stats_enabled is 1.
    #[arg(long)]
    pub bpf_stats: bool,
    /// Check the configuration, print the settings in effect, and exit
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
    /// Format of the report
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
}
