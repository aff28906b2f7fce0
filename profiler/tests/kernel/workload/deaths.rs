//! Threads and processes that end in the middle of a call.

use std::{os::fd::AsRawFd as _, thread};

use libc::c_long;

use super::{
    Calls, Made, Params, Statement, fork, own_pid, raw, reap,
    statement::{add, calls},
    wait, wait_until_in_call,
};

/// Kills a child with `threads` threads, all in `pause`. The exit tracepoint of such a call reports
/// -ERESTARTNOHAND (kernel/signal.c, `sys_pause`); the thread ends later, when the signal is
/// handled. The call never returns to the program.
pub(super) fn killed(params: &Params) -> Statement {
    let threads = params.number("threads");
    let (mut ready, to) = std::io::pipe().expect("a pipe");
    let child = fork(move || {
        use std::io::Write as _;
        let mut tids = vec![own_pid()];
        for _ in 0..threads {
            let (tell, told) = std::sync::mpsc::channel();
            thread::spawn(move || {
                tell.send(super::own_tid()).expect("a receiver");
                raw::syscall(libc::SYS_pause, [0; 4])
            });
            tids.push(told.recv().expect("a thread"));
        }
        let text = serde_json::to_vec(&tids).expect("numbers");
        (&to).write_all(&text).expect("a reader");
        drop(to);
        raw::syscall(libc::SYS_pause, [0; 4]) == 0
    });
    let mut text = String::new();
    std::io::Read::read_to_string(&mut ready, &mut text).expect("the child's threads");
    let tids: Vec<u32> = serde_json::from_str(&text).expect("what the child wrote");
    for &tid in &tids {
        wait_until_in_call(child, tid, libc::SYS_pause);
    }
    // SAFETY: a child of ours that has not been waited for.
    unsafe { libc::kill(child.cast_signed(), libc::SIGKILL) };
    assert!(libc::WIFSIGNALED(wait(child)));
    let mut calls = Calls::new();
    add(&mut calls, "pause", &Made::never_returned(threads + 1));
    Statement::of(child, calls)
}
/// A call that waits forever, and its outcome when the process ends.
struct Wait {
    name: &'static str,
    number: c_long,
    ended: fn(u64) -> Made,
}

/// The outcome depends on the result that the exit tracepoint reports when a fatal signal is
/// pending. The first four report a restart code, and so never return (`sys_pause`,
/// kernel/signal.c; `pipe_read`, fs/pipe.c; `hrtimer_nanosleep`, kernel/time/hrtimer.c; `sys_poll`,
/// fs/select.c). The others report -EINTR (`ep_poll`, fs/eventpoll.c; `do_sigtimedwait`,
/// kernel/signal.c).
const WAITS: [Wait; 6] = [
    Wait { name: "pause", number: libc::SYS_pause, ended: Made::never_returned },
    Wait { name: "readv", number: libc::SYS_readv, ended: Made::never_returned },
    Wait { name: "nanosleep", number: libc::SYS_nanosleep, ended: Made::never_returned },
    Wait { name: "poll", number: libc::SYS_poll, ended: Made::never_returned },
    Wait { name: "epoll_wait", number: libc::SYS_epoll_wait, ended: interrupted },
    Wait { name: "rt_sigtimedwait", number: libc::SYS_rt_sigtimedwait, ended: interrupted },
];

fn interrupted(calls: u64) -> Made {
    Made::failed(calls, "EINTR")
}

/// A child with `threads` threads, each in one of [`WAITS`] when the leader calls `exit_group`.
pub(super) fn exit_group(params: &Params) -> Statement {
    let threads = params.number("threads");
    let child = fork(|| {
        let (empty, _writer) = std::io::pipe().expect("a pipe");
        let descriptor = empty.as_raw_fd();
        let started: Vec<_> = (0..threads as usize)
            .map(|i| {
                let (tell, told) = std::sync::mpsc::channel();
                thread::spawn(move || {
                    tell.send(super::own_tid()).expect("a receiver");
                    wait_for_ever(WAITS[i % WAITS.len()].number, descriptor)
                });
                (i, told.recv().expect("a thread"))
            })
            .collect();
        for (i, tid) in started {
            wait_until_in_call(own_pid(), tid, WAITS[i % WAITS.len()].number);
        }
        // End here, while the write end of the pipe is still open.
        raw::end(0)
    });
    reap(child);
    let mut made = calls([("exit_group", Made::never_returned(1)), ("exit", Made::default())]);
    for i in 0..threads as usize {
        let Wait { name, ended, .. } = WAITS[i % WAITS.len()];
        add(&mut made, name, &ended(1));
    }
    Statement::of(child, made)
}

fn wait_for_ever(number: c_long, descriptor: i32) {
    let mut byte = 0_u8;
    let room = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    let an_age = libc::timespec { tv_sec: 1_000_000, tv_nsec: 0 };
    let mut file = libc::pollfd { fd: descriptor, events: libc::POLLIN, revents: 0 };
    let mut event = libc::epoll_event { events: 0, u64: 0 };
    // The empty set of signals.
    let set = 0_u64;
    let args = match number {
        libc::SYS_readv => [descriptor.into(), &raw const room as c_long, 1, 0],
        libc::SYS_nanosleep => [&raw const an_age as c_long, 0, 0, 0],
        libc::SYS_poll => [&raw mut file as c_long, 1, -1, 0],
        libc::SYS_epoll_wait => {
            let queue = raw::syscall(libc::SYS_epoll_create1, [0]);
            [queue, &raw mut event as c_long, 1, -1]
        }
        libc::SYS_rt_sigtimedwait => [&raw const set as c_long, 0, &raw const an_age as c_long, 8],
        _ => [0; 4],
    };
    raw::syscall(number, args);
}
