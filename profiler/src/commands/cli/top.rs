//! Flags of `profiler top`.

use clap::Args;

use super::{FilterArgs, KernelArgs, List, ListsBy, PathsArgs, candidates, lists, top_by};
use crate::{duration::Interval, model::SortKey};

/// `profiler top`.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
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
    /// The flag that has targets of calls that fail noted.
    #[command(flatten)]
    pub paths: PathsArgs,
    /// Flags that choose which processes and syscalls are counted.
    #[command(flatten)]
    pub filters: FilterArgs,
    /// Flags that say how the kernel side records calls.
    #[command(flatten)]
    pub kernel: KernelArgs,
}

const AFTER_HELP: &str = "\
Examples:
  profiler top                         the whole host
  profiler top -p 1234                 a process and its children
  profiler top -d 5 -s errors          every five seconds, most errors first
  profiler top --waits                 with futex, epoll_wait and the like
  profiler top -H -p 1234              the threads of a process
  profiler top --where                 a bar in each row: on a CPU, runnable or waiting
  profiler top --show-paths            E shows on which paths the calls of a row failed
  profiler top --by container          which container makes the calls
  profiler top --by category           calls by what they act on: files, processes, ...
  profiler top -b -n 1                 one interval as plain text

The key ? lists all keys, and explains every word on the screen.";
