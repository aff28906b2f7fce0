//! Processes that make numbered calls, and then come to a known end.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Duration,
};

use libc::c_long;

use super::{Params, Statement, own_pid, raw, statement::calls, wait_until_in_call};

/// Makes the numbered call: `lseek` of the invalid descriptor -1 to `number`.
fn call(number: u64) {
    let result = raw::syscall(libc::SYS_lseek, [-1, number.cast_signed(), 0]);
    assert_eq!(result, -c_long::from(libc::EBADF));
}

/// Each of `threads` threads makes `calls` numbered calls, and then waits in `pause`. Then the main
/// thread makes `calls` numbered calls, and comes to the end that `end` names.
pub(super) fn run(params: &Params) -> Statement {
    // The runtime has a handler of its own, which makes calls.
    // SAFETY: the default action runs no handler.
    unsafe { libc::signal(libc::SIGSEGV, libc::SIG_DFL) };
    static PAUSED: AtomicU64 = AtomicU64::new(0);
    let (threads, times) = (params.number("threads"), params.number("calls"));
    for _ in 0..threads {
        let (tell, told) = std::sync::mpsc::channel();
        thread::spawn(move || {
            tell.send(super::own_tid()).expect("a receiver");
            drop(tell);
            (0..times).for_each(call);
            PAUSED.fetch_add(1, Ordering::SeqCst);
            raw::syscall(libc::SYS_pause, [0; 4])
        });
        let tid = told.recv().expect("a thread");
        wait_until_in_call(own_pid(), tid, libc::SYS_pause);
    }
    assert_eq!(PAUSED.load(Ordering::SeqCst), threads);
    // So that no earlier event is printed together with the end.
    thread::sleep(Duration::from_millis(100));
    (0..times).for_each(call);
    match params.0["end"].as_str() {
        // SAFETY: no memory is there, which is the purpose.
        "segv" => unsafe { std::ptr::without_provenance_mut::<u32>(16).write_volatile(1) },
        "code" => raw::end(3),
        "enoent" | "busy" => {
            let missing = c"/no/such/file".as_ptr() as c_long;
            let at = c_long::from(libc::AT_FDCWD);
            let result = raw::syscall(libc::SYS_openat, [at, missing, 0, 0]);
            assert_eq!(result, -c_long::from(libc::ENOENT));
        }
        "slow" => {
            let time = libc::timespec { tv_sec: 0, tv_nsec: 50_000_000 };
            let result = raw::syscall(libc::SYS_nanosleep, [(&raw const time) as c_long, 0]);
            assert_eq!(result, 0);
        }
        other => panic!("there is no end {other}"),
    }
    if params.0["end"] == "busy" {
        for _ in 0..200_000 {
            raw::syscall(libc::SYS_getppid, [0; 4]);
        }
    }
    // The profiler reads meanwhile.
    thread::sleep(Duration::from_millis(300));
    Statement::of(own_pid(), calls([]))
}
