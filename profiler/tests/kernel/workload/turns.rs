//! Two threads that alternate: each call of one wakes the other, and then waits for it.

use std::{
    os::fd::{AsRawFd as _, OwnedFd},
    thread,
};

use super::{
    Busy, Params, Statement, in_a_process, own_pid, raw,
    sleeps::{now, read_clock},
};

/// Calls `write` and `read` `calls` times in each of two threads. With `one=1`, both run on one
/// CPU.
pub(super) fn run(params: &Params) -> Statement {
    let (calls, is_on_one_cpu) = (params.number("calls"), params.has("one"));
    let busy = in_a_process(move || {
        if is_on_one_cpu {
            super::preempted::on_one_cpu();
        }
        let (there, back) = (pipe(), pipe());
        let before = now();
        let cpu_ns: u64 = thread::scope(|scope| {
            let first = scope.spawn(|| {
                timed(|| {
                    for _ in 0..calls {
                        pass(&there.1);
                        take(&back.0);
                    }
                })
            });
            let second = scope.spawn(|| {
                timed(|| {
                    for _ in 0..calls {
                        take(&there.0);
                        pass(&back.1);
                    }
                })
            });
            [first, second].into_iter().map(|it| it.join().expect("no panic")).sum()
        });
        Busy { pid: own_pid(), calls: 2 * calls, took_ns: now() - before, cpu_ns }
    });
    Statement { busy: vec![busy], ..Statement::default() }
}

fn pipe() -> (OwnedFd, OwnedFd) {
    nix::unistd::pipe().expect("a pipe")
}

/// The CPU time that this thread uses in `work`.
fn timed(work: impl FnOnce()) -> u64 {
    let before = read_clock(libc::CLOCK_THREAD_CPUTIME_ID);
    work();
    read_clock(libc::CLOCK_THREAD_CPUTIME_ID) - before
}

fn pass(to: &OwnedFd) {
    let byte = 0_u8;
    let args = [to.as_raw_fd().into(), &raw const byte as libc::c_long, 1, 0];
    assert_eq!(raw::syscall(libc::SYS_write, args), 1, "a byte");
}

fn take(from: &OwnedFd) {
    let mut byte = 0_u8;
    let args = [from.as_raw_fd().into(), &raw mut byte as libc::c_long, 1, 0];
    assert_eq!(raw::syscall(libc::SYS_read, args), 1, "a byte");
}
