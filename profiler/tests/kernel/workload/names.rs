//! Processes and threads that change their names.

use std::{ffi::CStr, sync::mpsc, thread};

use super::{
    Calls, Made, Params, Statement, fork, own_pid, raw, reap, statement::add, wait_until_in_call,
};

/// The number of calls under each name.
const CALLS: u64 = 10;

/// The name of [`rename`] at its end.
pub(crate) const RENAMED: &CStr = c"renamed";

pub(super) fn set_own_name(name: &CStr) {
    // SAFETY: a string that the kernel copies.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
}

fn call() {
    for _ in 0..CALLS {
        raw::syscall(libc::SYS_getppid, [0; 4]);
    }
}

fn made(times: u64) -> Statement {
    let mut calls = Calls::new();
    add(&mut calls, "getppid", &Made::succeeded(times * CALLS));
    Statement::of(own_pid(), calls)
}

/// The main thread renames itself between calls.
pub(super) fn rename() -> Statement {
    call();
    set_own_name(RENAMED);
    call();
    made(2)
}

/// Two threads with names of their own make all the calls. With `hold=1`, they start after the
/// release, so that the profiler sees a thread before it sees the leader.
pub(super) fn threads(params: &Params) -> Statement {
    let (go, wait): (mpsc::Sender<()>, _) = mpsc::channel();
    let worker = thread::spawn(move || {
        let _ = wait.recv();
        set_own_name(c"worker-1");
        call();
        // A thread that starts with its parent's name and renames itself.
        let second = thread::Builder::new().name("worker-2".to_owned()).spawn(call);
        second.expect("a thread").join().expect("no panic");
    });
    params.hold();
    drop(go);
    worker.join().expect("no panic");
    made(2)
}

/// In a child, a thread renames the leader before the release. The leader sleeps or, with
/// `zombie=1`, has ended. That thread and one that starts later make the calls.
pub(super) fn renamed_by_a_thread_alone(params: &Params) -> Statement {
    let (mut told, tell) = std::io::pipe().expect("a pipe");
    let zombie = params.has("zombie");
    let child = fork(|| {
        thread::spawn(move || {
            std::io::Read::read_exact(&mut told, &mut [0]).expect("a word");
            std::fs::write("/proc/self/comm", RENAMED.to_bytes()).expect("a name");
            call();
            thread::spawn(call).join().expect("no panic");
            raw::end(0);
        });
        if zombie {
            raw::syscall(libc::SYS_exit, [0]);
        }
        raw::syscall(libc::SYS_pause, [0; 0]);
        false
    });
    if zombie {
        wait_until_zombie(child);
    } else {
        wait_until_in_call(child, child, libc::SYS_pause);
    }
    params.hold();
    std::io::Write::write_all(&mut &tell, b"x").expect("a reader");
    reap(child);
    let mut calls = Calls::new();
    add(&mut calls, "getppid", &Made::succeeded(2 * CALLS));
    Statement::of(child, calls)
}

/// Waits until the leader of a process has ended.
pub(super) fn wait_until_zombie(pid: u32) {
    let path = format!("/proc/{pid}/task/{pid}/stat");
    while !std::fs::read_to_string(&path).expect("a process of ours").contains(") Z ") {
        thread::yield_now();
    }
}

/// A thread renames the leader by /proc.
pub(super) fn renamed_by_thread() -> Statement {
    call();
    let worker = thread::spawn(|| {
        let own = format!("/proc/{0}/task/{0}/comm", own_pid());
        std::fs::write(own, RENAMED.to_bytes()).expect("a name");
        call();
    });
    worker.join().expect("no panic");
    made(2)
}
