//! The table of subjects: the measured tools, and the measured configurations of the profiler.

use std::num::NonZeroU32;

use profiler::{
    decode::targets,
    engine::kernel::Options,
    model::{Scope, Timed},
};

use super::peers::{Holds, Peer};
use crate::bench::figures::{CLOCK, EMPTY, NOTHING, SYSCOUNT};

/// A measured tool, or a measured configuration of the profiler.
#[derive(Debug)]
pub(super) struct Subject {
    /// The name in results and in the goals of `figures.rs`.
    pub(super) key: &'static str,
    pub(super) title: &'static str,
    pub(super) how: How,
    /// The divisor of the number of calls, for subjects that make calls expensive.
    pub(super) fewer: u64,
    /// Whether to measure the subject also with both cores.
    pub(super) contended: bool,
}

#[derive(Debug)]
pub(super) enum How {
    Nothing,
    /// Two programs of `profiler-floor.bpf.o`, by the prefix of their names.
    Pair(&'static str),
    /// The profiler in this process, without drains.
    Ours(fn() -> Options),
    /// The profiler's executable, with these arguments.
    Program(&'static [&'static str]),
    Peer(Peer),
    /// strace, which starts the watched program or attaches to it.
    Strace,
}

const fn subject(key: &'static str, title: &'static str, how: How) -> Subject {
    Subject { key, title, how, fewer: 1, contended: false }
}

/// The subjects of the project itself.
pub(super) const OURS: [Subject; 17] = [
    Subject { contended: true, ..subject(NOTHING, "nothing", How::Nothing) },
    Subject { contended: true, ..subject(EMPTY, "empty pair", How::Pair("empty")) },
    Subject { contended: true, ..subject(CLOCK, "clock pair (floor)", How::Pair("clock")) },
    Subject { contended: true, ..subject("profiler", "**profiler**", How::Ours(Options::default)) },
    subject(
        "out-of-scope",
        "**profiler**, process out of scope",
        // The scope has only process 1 and its future descendants, so the loop is out of scope.
        How::Ours(|| Options { scope: Scope::Processes(vec![1]), ..Options::default() }),
    ),
    subject(
        "no-latency",
        "**profiler** --no-latency",
        How::Ours(|| Options { timed: Timed::None, ..Options::default() }),
    ),
    subject("sample-4", "**profiler** --sample 4", How::Ours(|| sampled(4))),
    subject("sample-64", "**profiler** --sample 64", How::Ours(|| sampled(64))),
    subject("sample-auto", "**profiler** --sample auto", How::Ours(adaptive)),
    subject(
        "where",
        "**profiler** --where",
        How::Ours(|| Options { off_cpu: true, ..Options::default() }),
    ),
    subject(
        "show-paths",
        "**profiler** --show-paths",
        How::Ours(|| Options { targets: Some(targets::plans()), ..Options::default() }),
    ),
    subject(
        "trace",
        "**profiler** trace, to /dev/null",
        How::Program(&["trace", "-a", "-o", "/dev/null"]),
    ),
    subject(
        "trace-filtered",
        "**profiler** trace, call filtered out",
        // Nothing else makes this call.
        How::Program(&["trace", "-a", "--syscall", "kexec_load", "-o", "/dev/null"]),
    ),
    subject(
        "trace-last",
        "**profiler** trace --last 100",
        How::Program(&["trace", "-a", "--last", "100", "-o", "/dev/null"]),
    ),
    subject(
        "timed",
        "**profiler** --self (programs timed)",
        How::Ours(|| Options { time_programs: true, ..Options::default() }),
    ),
    subject(
        "arrays",
        "**profiler** before Linux 6.9",
        How::Ours(|| Options { force_arrays: true, ..Options::default() }),
    ),
    subject(
        "fallback",
        "**profiler**, fallback for old kernels",
        How::Ours(|| Options { force_fallback: true, ..Options::default() }),
    ),
];

fn sampled(one_in: u32) -> Options {
    let timed = NonZeroU32::new(one_in).map_or(Timed::All, Timed::OneIn);
    Options { timed, ..Options::default() }
}

fn adaptive() -> Options {
    // The default of `--sample auto`.
    let timed = NonZeroU32::new(10_000).map_or(Timed::All, Timed::Adaptive);
    Options { timed, ..Options::default() }
}

const SYSCOUNT_LATENCY: Peer = Peer {
    program: "syscount",
    package: "libbpf-tools",
    args: &["-L", "-P"],
    if_known: None,
    holds: Holds { programs: 2, events: 2, events_per_cpu: 0 },
};

const BPFTRACE_HIST: Peer = Peer {
    program: "bpftrace",
    package: "bpftrace",
    args: &[
        "-e",
        "tracepoint:raw_syscalls:sys_enter { @start[tid] = nsecs; } \
         tracepoint:raw_syscalls:sys_exit /@start[tid]/ \
         { @ns[args->id] = hist(nsecs - @start[tid]); delete(@start[tid]); }",
    ],
    if_known: None,
    holds: Holds { programs: 2, events: 2, events_per_cpu: 0 },
};

const PERF_TRACE: Peer = Peer {
    program: "perf",
    package: "linux-perf",
    args: &["trace", "-a", "-s"],
    if_known: None,
    holds: Holds { programs: 0, events: 0, events_per_cpu: 2 },
};

/// Other tools, for loops of calls.
pub(super) const PEERS: [Subject; 8] = [
    subject(
        "perf-stat",
        "`perf stat -a`: two counters",
        How::Peer(Peer {
            program: "perf",
            package: "linux-perf",
            args: &["stat", "-a", "-e", "raw_syscalls:sys_enter,raw_syscalls:sys_exit"],
            if_known: None,
            holds: Holds { programs: 0, events: 0, events_per_cpu: 2 },
        }),
    ),
    subject(
        "syscount",
        "`syscount`: counts",
        How::Peer(Peer {
            program: "syscount",
            package: "libbpf-tools",
            args: &[],
            if_known: None,
            holds: Holds { programs: 1, events: 1, events_per_cpu: 0 },
        }),
    ),
    Subject {
        contended: true,
        ..subject(SYSCOUNT, "`syscount -L -P`: time by process", How::Peer(SYSCOUNT_LATENCY))
    },
    subject(
        "bpftrace-count",
        "`bpftrace`: counts by call",
        How::Peer(Peer {
            program: "bpftrace",
            package: "bpftrace",
            args: &["-e", "tracepoint:raw_syscalls:sys_enter { @[args->id] = count(); }"],
            if_known: None,
            holds: Holds { programs: 1, events: 1, events_per_cpu: 0 },
        }),
    ),
    subject("bpftrace-hist", "`bpftrace`: histograms by call", How::Peer(BPFTRACE_HIST)),
    Subject {
        fewer: 10,
        ..subject("perf-trace", "`perf trace -a -s`: table by thread", How::Peer(PERF_TRACE))
    },
    Subject {
        fewer: 10,
        ..subject(
            "sysdig",
            "`sysdig`: table by call",
            How::Peer(Peer {
                program: "sysdig",
                package: "sysdig",
                args: &["-c", "topscalls"],
                if_known: Some("--modern-bpf"),
                holds: Holds { programs: 2, events: 0, events_per_cpu: 0 },
            }),
        )
    },
    Subject { fewer: 50, ..subject("strace", "`strace -f -c`: one process tree", How::Strace) },
];

/// Subjects for real work, where the profiler runs as a separate process.
pub(super) const WORK: [Subject; 8] = [
    subject(NOTHING, "nothing", How::Nothing),
    subject(
        "profiler",
        "**profiler** daemon",
        How::Program(&["daemon", "--config", "/dev/null", "--listen", "127.0.0.1:0"]),
    ),
    subject(
        "daemon-auto",
        "**profiler** daemon --sample auto",
        How::Program(&[
            "daemon",
            "--config",
            "/dev/null",
            "--listen",
            "127.0.0.1:0",
            "--sample",
            "auto",
        ]),
    ),
    subject(
        "daemon-no-latency",
        "**profiler** daemon --no-latency",
        How::Program(&[
            "daemon",
            "--config",
            "/dev/null",
            "--listen",
            "127.0.0.1:0",
            "--no-latency",
        ]),
    ),
    subject(SYSCOUNT, "`syscount -L -P`", How::Peer(SYSCOUNT_LATENCY)),
    subject("bpftrace-hist", "`bpftrace`, histograms", How::Peer(BPFTRACE_HIST)),
    Subject { fewer: 10, ..subject("perf-trace", "`perf trace -a -s`", How::Peer(PERF_TRACE)) },
    Subject { fewer: 20, ..subject("strace", "`strace -f -c`, one process tree", How::Strace) },
];

/// The descriptors of the profiler's executable once it is attached.
pub(super) const OWN: Holds = Holds { programs: 2, events: 0, events_per_cpu: 0 };

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_subject_has_a_key_of_its_own() {
        let all = || OURS.iter().chain(&PEERS);
        for list in [all().collect::<Vec<_>>(), WORK.iter().collect()] {
            let keys: std::collections::BTreeSet<_> = list.iter().map(|s| s.key).collect();
            assert_eq!(keys.len(), list.len());
            assert_eq!(list[0].key, NOTHING);
        }
    }
}
