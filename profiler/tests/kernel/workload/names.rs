//! Processes and threads that change their names.

use std::{ffi::CStr, sync::mpsc, thread};

use super::{Calls, Made, Params, Statement, own_pid, raw, statement::add};

/// Calls under each name.
const CALLS: u64 = 10;

/// What [`rename`] is called at its end.
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

/// Two threads with names of their own make all the calls; with `hold=1` from when
/// they are released, so that a thread, not the leader, is what is seen first.
pub(super) fn threads(params: &Params) -> Statement {
    let (go, wait): (mpsc::Sender<()>, _) = mpsc::channel();
    let worker = thread::spawn(move || {
        let _ = wait.recv();
        set_own_name(c"worker-1");
        call();
        // One that is born with its parent's name, and renamed from inside.
        let second = thread::Builder::new().name("worker-2".to_owned()).spawn(call);
        second.expect("a thread").join().expect("no panic");
    });
    params.hold();
    drop(go);
    worker.join().expect("no panic");
    made(2)
}

/// A thread renames the leader, through /proc.
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
