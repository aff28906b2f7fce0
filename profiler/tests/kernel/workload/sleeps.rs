//! Calls of a known length, each timed around it by the caller.

use std::io::Read as _;

use super::{Statement, Timing, fork, own_pid, raw, reap};

/// What is slept, and how many times.
const SLEEPS: [(u64, u64); 7] = [
    (1_000, 200),
    (10_000, 200),
    (100_000, 100),
    (1_000_000, 50),
    (10_000_000, 20),
    (100_000_000, 5),
    (1_000_000_000, 2),
];

/// Calls that do next to nothing, for the cost of timing one.
const EMPTY_CALLS: u64 = 10_000;

/// One process for each length, so that a row of the profiler's is of one length.
pub(super) fn run() -> Statement {
    let mut timings = vec![in_a_process(|| {
        time("getppid", 0, EMPTY_CALLS, || raw::syscall(libc::SYS_getppid, [0; 4]) > 0)
    })];
    for (length, times) in SLEEPS {
        timings.push(in_a_process(|| {
            let second = 1_000_000_000;
            let request = libc::timespec {
                tv_sec: (length / second).cast_signed(),
                tv_nsec: (length % second).cast_signed(),
            };
            let clock = libc::CLOCK_MONOTONIC.into();
            let args = [clock, 0, &raw const request as libc::c_long, 0];
            time("clock_nanosleep", length, times, || {
                raw::syscall(libc::SYS_clock_nanosleep, args) == 0
            })
        }));
    }
    Statement { timings, ..Statement::default() }
}

/// What a child measured, through a pipe.
fn in_a_process(measure: impl FnOnce() -> Timing) -> Timing {
    let (mut results, to) = std::io::pipe().expect("a pipe");
    let pid = fork(|| serde_json::to_writer(&to, &measure()).is_ok());
    drop(to);
    let mut text = String::new();
    results.read_to_string(&mut text).expect("a child of ours");
    reap(pid);
    serde_json::from_str(&text).expect("what the child wrote")
}

fn time(syscall: &str, asked_ns: u64, calls: u64, call: impl Fn() -> bool) -> Timing {
    let (mut total_ns, mut min_ns, mut max_ns) = (0, u64::MAX, 0);
    for _ in 0..calls {
        let before = now();
        let as_expected = call();
        let took = now() - before;
        assert!(as_expected, "{syscall} failed");
        total_ns += took;
        min_ns = min_ns.min(took);
        max_ns = max_ns.max(took);
    }
    let syscall = syscall.to_owned();
    Timing { pid: own_pid(), syscall, asked_ns, calls, total_ns, min_ns, max_ns }
}

/// The profiler's clock, which user space reads without a system call.
fn now() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes one timespec.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned()
}
