//! Calls of a known duration, each timed by the caller.

use std::thread;

use super::{
    Made, Params, Statement, Timing, in_a_process, own_pid, raw, statement::calls as made,
};

/// The duration of a sleep and the number of such sleeps.
const SLEEPS: [(u64, u64); 7] = [
    (1_000, 200),
    (10_000, 200),
    (100_000, 100),
    (1_000_000, 50),
    (10_000_000, 20),
    (100_000_000, 5),
    (1_000_000_000, 2),
];

/// The number of trivial calls, by which the cost of timing one is measured.
const EMPTY_CALLS: u64 = 10_000;

/// Runs one process for each duration, so that each row of the profiler's report has one duration.
pub(super) fn run() -> Statement {
    let mut timings = vec![in_a_process(|| time("getppid", &vec![0; EMPTY_CALLS as usize], empty))];
    for (length, times) in SLEEPS {
        timings
            .push(in_a_process(|| time("clock_nanosleep", &vec![length; times as usize], sleep)));
    }
    Statement { timings, ..Statement::default() }
}

/// The number of threads that sleep at the same time, since the sleeps together take long.
const SLEEPERS: u64 = 8;

/// Makes `calls` calls of each of three kinds, in a process each: sleeps with durations spread over
/// a decade, `getrandom` with sizes spread likewise, and trivial calls.
pub(super) fn spread(params: &Params) -> Statement {
    let calls = params.number("calls");
    // Positions in [0, 1), spread evenly.
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
            // In an order that mixes long and short calls.
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

/// Makes a loop of `period` calls, of which the last takes hundreds of times as long as the others,
/// in a process that makes no other such call.
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

/// Calls at full speed for a second, then at 100 per second for three seconds, then at full speed
/// for a second.
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

/// Gives this thread real-time priority if permitted: otherwise other threads may run between the
/// two clock readings. Without it, the test is less precise but still valid.
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

/// Makes and times a call for each requested duration.
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
