//! Calls of a known length, each timed around it by the caller.

use std::thread;

use super::{
    Made, Params, Statement, Timing, in_a_process, own_pid, raw, statement::calls as made,
};

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
    let mut timings = vec![in_a_process(|| time("getppid", &vec![0; EMPTY_CALLS as usize], empty))];
    for (length, times) in SLEEPS {
        timings
            .push(in_a_process(|| time("clock_nanosleep", &vec![length; times as usize], sleep)));
    }
    Statement { timings, ..Statement::default() }
}

/// Threads that sleep side by side, since the calls together take that long.
const SLEEPERS: u64 = 8;

/// `calls` of each of three kinds, a process each: sleeps of lengths spread over a
/// decade, `getrandom` of sizes spread likewise, and calls that do next to nothing.
pub(super) fn spread(params: &Params) -> Statement {
    let calls = params.number("calls");
    // Log-uniform, a place each in [0, 1).
    let place = |index: u64| index as f64 / calls as f64;
    let sleeps = in_a_process(move || {
        let of_thread = |thread: u64| {
            let own = (thread..calls).step_by(SLEEPERS as usize);
            own.map(|index| (2e6 * 10_f64.powf(place(index))) as u64).collect::<Vec<_>>()
        };
        let threads: Vec<_> = (0..SLEEPERS)
            .map(|thread| {
                let lengths = of_thread(thread);
                thread::spawn(move || {
                    go_first();
                    time("clock_nanosleep", &lengths, sleep)
                })
            })
            .collect();
        let timings = threads.into_iter().map(|thread| thread.join().expect("no panic"));
        timings.reduce(together).expect("a thread")
    });
    let work = in_a_process(move || {
        go_first();
        let mut room = vec![0_u8; 1 << 17];
        let mut index = 0;
        time("getrandom", &vec![0; calls as usize], |_| {
            // In an order that has long and short ones follow one another.
            index = (index + 617) % calls;
            let size = (1000.0 * 100_f64.powf(place(index))) as libc::c_long;
            let args = [room.as_mut_ptr() as libc::c_long, size, 0, 0];
            raw::syscall(libc::SYS_getrandom, args) == size
        })
    });
    let nothing = in_a_process(move || {
        go_first();
        time("getppid", &vec![0; calls as usize], empty)
    });
    Statement { timings: vec![sleeps, work, nothing], ..Statement::default() }
}

/// A loop of `period` calls, of which the last takes hundreds of times as long as the others. In a
/// process of its own, which makes no other such call.
pub(super) fn periodic(params: &Params) -> Statement {
    let (period, rounds) = (params.number("period"), params.number("calls"));
    let mut sizes = vec![1; period as usize];
    sizes[period as usize - 1] = 1 << 16;
    let timing = in_a_process(|| {
        let mut room = vec![0_u8; 1 << 16];
        time("getrandom", &sizes.repeat(rounds as usize), |size| {
            let args = [room.as_mut_ptr() as libc::c_long, size.cast_signed(), 0, 0];
            raw::syscall(libc::SYS_getrandom, args) == size.cast_signed()
        })
    });
    Statement { timings: vec![timing], ..Statement::default() }
}

/// Calls as fast as they go for a second, then 100 per second for three, then fast for a second.
pub(super) fn paces(params: &Params) -> Statement {
    params.hold();
    let mut calls = 0;
    let mut call_for = |seconds: u64, pause_ns: u64| {
        let end = now() + seconds * 1_000_000_000;
        while now() < end {
            assert!(empty(0), "getppid failed");
            calls += 1;
            if pause_ns > 0 {
                assert!(sleep(pause_ns), "clock_nanosleep failed");
            }
        }
    };
    call_for(1, 0);
    call_for(3, 10_000_000);
    call_for(1, 0);
    Statement::of(own_pid(), made([("getppid", Made::succeeded(calls))]))
}

/// Has this thread run before all others, where it may: others' work would come between
/// the clocks. What is measured is true without it too, and proves less.
fn go_first() {
    let priority = libc::sched_param { sched_priority: 1 };
    // SAFETY: reads one structure.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const priority) };
}

fn together(mut all: Timing, more: Timing) -> Timing {
    all.asked_ns.extend(more.asked_ns);
    all.took_ns.extend(more.took_ns);
    all.asked_ns.sort_unstable();
    all.took_ns.sort_unstable();
    all
}

fn empty(_: u64) -> bool {
    raw::syscall(libc::SYS_getppid, [0; 4]) > 0
}

fn sleep(length_ns: u64) -> bool {
    let second = 1_000_000_000;
    let request = libc::timespec {
        tv_sec: (length_ns / second).cast_signed(),
        tv_nsec: (length_ns % second).cast_signed(),
    };
    let clock = libc::CLOCK_MONOTONIC.into();
    let args = [clock, 0, &raw const request as libc::c_long, 0];
    raw::syscall(libc::SYS_clock_nanosleep, args) == 0
}

/// Makes a call for each length asked.
fn time(syscall: &str, asked_ns: &[u64], mut call: impl FnMut(u64) -> bool) -> Timing {
    let mut took_ns = Vec::with_capacity(asked_ns.len());
    for &length in asked_ns {
        let before = now();
        let as_expected = call(length);
        took_ns.push(now() - before);
        assert!(as_expected, "{syscall} failed");
    }
    took_ns.sort_unstable();
    let mut asked_ns = asked_ns.to_vec();
    asked_ns.sort_unstable();
    Timing { pid: own_pid(), syscall: syscall.to_owned(), asked_ns, took_ns }
}

/// The profiler's clock, which user space reads without a syscall.
pub(crate) fn now() -> u64 {
    read_clock(libc::CLOCK_MONOTONIC)
}

pub(super) fn read_clock(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes one timespec.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned()
}
