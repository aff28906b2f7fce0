//! Threads with names of their own, and processes that change their user.

use std::{ffi::CString, io::Read as _, io::Write as _, sync::mpsc, thread, time::Duration};

use super::{
    Calls, Made, Params, Process, Statement, fork, names, own_pid, own_tid, raw, reap,
    statement::{Thread, add},
    wait_until_in_call,
};

fn make(times: u64) {
    for _ in 0..times {
        raw::syscall(libc::SYS_getppid, [0; 4]);
    }
}

fn calls(times: u64) -> Calls {
    let mut calls = Calls::new();
    add(&mut calls, "getppid", &Made::succeeded(times));
    calls
}

/// Starts `threads` threads that each make a different number of calls. Every second thread names
/// itself. The main thread names the others while they sleep between their calls.
pub(super) fn threads(params: &Params) -> Statement {
    let threads: Vec<Thread> = (1..=params.number("threads")).map(thread).collect();
    let all = (1..=params.number("threads")).map(times).sum();
    Statement { threads, ..Statement::of(own_pid(), calls(all)) }
}

fn times(nr: u64) -> u64 {
    nr * 10
}

fn thread(nr: u64) -> Thread {
    let comm = format!("worker-{nr}");
    let (mut told, mut tell) = std::io::pipe().expect("a pipe");
    let (tids, tid) = mpsc::channel();
    let own_name = (nr % 2 == 1).then(|| CString::new(comm.as_str()).expect("no NUL"));
    let is_named = own_name.is_some();
    let worker = thread::spawn(move || {
        if let Some(name) = own_name {
            names::set_own_name(&name);
        }
        make(times(nr) / 2);
        tids.send(own_tid()).expect("a receiver");
        told.read_exact(&mut [0]).expect("a word");
        make(times(nr) / 2);
    });
    let tid = tid.recv().expect("a thread");
    if !is_named {
        wait_until_in_call(own_pid(), tid, libc::SYS_read);
        std::fs::write(format!("/proc/self/task/{tid}/comm"), &comm).expect("a name");
    }
    tell.write_all(&[0]).expect("a reader");
    worker.join().expect("no panic");
    Thread { tid, comm, calls: calls(times(nr)) }
}

/// The user of each child of [`users`], and the number of its calls.
pub(crate) const USERS: [(u32, u64); 3] = [(65_534, 70), (12_345, 30), (0, 20)];

/// Starts children that each change their user and then make their calls. They live for a few
/// milliseconds, or with `sleep=1` for a few tenths of a second.
pub(super) fn users(params: &Params) -> Statement {
    params.hold();
    let child = |(uid, times)| {
        let child = fork(|| {
            let id = libc::c_long::from(uid);
            let changed = raw::syscall(libc::SYS_setresuid, [id, id, id]) == 0;
            make(times);
            if params.has("sleep") {
                thread::sleep(Duration::from_millis(300));
            }
            changed
        });
        reap(child);
        Process::new(child, calls(times))
    };
    Statement::of_all(USERS.map(child).into())
}
