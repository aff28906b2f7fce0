//! Flags of `profiler explain`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::duration::RunTime;

/// `profiler explain`.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct ExplainProcessArgs {
    /// Id of a process or of a thread
    ///
    /// With the id of a thread, the page is of its process, and that thread comes first.
    #[arg(value_name = "PID|TID", value_parser = clap::value_parser!(u32).range(1..))]
    pub id: u32,
    /// Watch the process for this time, for example 500ms or 10s
    ///
    /// A number and a unit (ms, s, m, h), or a bare number of seconds: 10ms to 8760h. Ctrl-C ends
    /// the time early.
    #[arg(short, long, value_name = "TIME", default_value = "2s")]
    pub duration: RunTime,
    /// Do not watch the process: print at once what /proc says
    #[arg(long, conflicts_with = "duration")]
    pub no_watch: bool,
    /// Format of the page
    #[arg(short, long, value_enum, default_value_t = PageFormat::Text)]
    pub format: PageFormat,
    /// Print to this file; `-` is standard output
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// Formats of a page.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageFormat {
    /// For people to read
    Text,
    /// One JSON object
    Json,
}

const AFTER_HELP: &str = "\
Examples:
  profiler explain 1234                   what process 1234 is doing
  profiler explain 1234 -d 10s            with a longer look at its syscalls
  profiler explain 1234 --no-watch        at once, without eBPF
  profiler explain -f json 1234 | jq -r .verdict

The first line is the answer. Threads that wait in the same way are one group, and the longest wait
is first. For each group, the page has the call with its arguments, how long it has lasted, and what
it waits for: a file, the process at the other end of a pipe or socket, the owner of a lock, a child,
a time or a signal.

How long a call has lasted is exact if the call entered while the profiler watched. For other calls,
it is a minimum.

The command works without privilege for your own processes, if the kernel lets you trace them. The
figures of the last seconds require root, or CAP_BPF and CAP_PERFMON. Kernel stacks require
CAP_SYS_ADMIN. Other users' processes require root or CAP_SYS_PTRACE. What is missing is listed at
the end of the page.";
