//! Flags of `profiler stat`.

use std::path::PathBuf;

use clap::Args;

use super::{
    BudgetArgs, FilterArgs, Format, KernelArgs, List, PathsArgs, ShownArgs, UserArgs, candidates,
    lists,
};
use crate::{
    duration::{Interval, RunTime},
    model::{Grouping, SortKey},
};

/// `profiler stat`.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
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
    /// The flag that names the user of the command.
    #[command(flatten)]
    pub user: UserArgs,
    /// Flags that choose which figures are shown.
    #[command(flatten)]
    pub shown: ShownArgs,
    /// The flag that has targets of calls that fail noted.
    #[command(flatten)]
    pub paths: PathsArgs,
    /// Flags that limit the run.
    #[command(flatten)]
    pub budget: BudgetArgs,
    /// Flags that choose which processes and syscalls are counted.
    #[command(flatten)]
    pub filters: FilterArgs,
    /// Flags that say how the kernel side records calls.
    #[command(flatten)]
    pub kernel: KernelArgs,
    /// The command to run and watch, with its children
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<std::ffi::OsString>,
}

const AFTER_HELP: &str = "\
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
  profiler stat --show-paths -- ls /x  on which paths calls failed, and why
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
