//! Threads that sleep in the kernel when the profiler starts, some of them within a call.

use std::{
    io::BufRead as _,
    sync::mpsc,
    thread::{self, JoinHandle},
};

use libc::c_long;

use super::{
    Calls, Made, Params, READY, Statement, fork, own_pid, own_tid,
    ptrace::{ptrace, stopped_after, tracee},
    raw,
    seccomp::{NEW_LISTENER, answer, attempt, receive, reply},
    statement::add,
    wait_for_end_of_input, wait_until_in_call,
};

/// Stops children: those within a call are named `in-fork` and `in-exit`, and those outside a call
/// `outside`.
pub(super) fn stopped(params: &Params) -> Statement {
    name(c"in-fork");
    let in_fork = tracee(|| raw::fork_and_end(libc::SYS_fork) > 0);
    event(in_fork, libc::PTRACE_O_TRACEFORK, libc::PTRACE_EVENT_FORK);
    name(c"in-exit");
    let in_exit = tracee(|| raw::end(0));
    event(in_exit, libc::PTRACE_O_TRACEEXIT, libc::PTRACE_EVENT_EXIT);
    name(c"outside");
    let before_seccomp = tracee(|| {
        answer(libc::SECCOMP_RET_TRACE, 0);
        attempt() == 0
    });
    event(before_seccomp, libc::PTRACE_O_TRACESECCOMP, libc::PTRACE_EVENT_SECCOMP);
    let at_entry = tracee(|| attempt() == 0);
    assert!(stopped_after(at_entry, libc::PTRACE_SYSCALL), "it made a call");
    let by_signal = tracee(|| raw::syscall(libc::SYS_pause, [0; 0]) == 0);
    ptrace(libc::PTRACE_CONT, by_signal, 0);
    stop_in_pause(by_signal);
    let by_job_control = fork(|| raw::syscall(libc::SYS_pause, [0; 0]) == 0);
    stop_in_pause(by_job_control);
    name(c"workload");
    params.hold();
    for child in [in_fork, in_exit, before_seccomp, at_entry, by_signal, by_job_control] {
        // SAFETY: a child of ours that has not been waited for.
        unsafe { libc::kill(child.cast_signed(), libc::SIGKILL) };
    }
    Statement::default()
}

/// Renames the process, and so its later children.
pub(super) fn name(name: &std::ffi::CStr) {
    let named = raw::syscall(libc::SYS_prctl, [libc::PR_SET_NAME.into(), name.as_ptr() as c_long]);
    assert_eq!(named, 0);
}

/// Continues a tracee until it reports `event`.
fn event(child: u32, option: libc::c_int, event: libc::c_int) {
    let options = libc::PTRACE_O_EXITKILL | option;
    ptrace(libc::PTRACE_SETOPTIONS, child, options.into());
    ptrace(libc::PTRACE_CONT, child, 0);
    let status = wait_for_stop(child);
    assert_eq!(status >> 8, libc::SIGTRAP | event << 8, "{status:#x}");
}

/// Stops a child that is about to sleep in `pause`.
fn stop_in_pause(child: u32) {
    wait_until_in_call(child, child, libc::SYS_pause);
    // SAFETY: a child of ours that has not been waited for.
    unsafe { libc::kill(child.cast_signed(), libc::SIGSTOP) };
    let status = wait_for_stop(child);
    assert_eq!(status >> 8, libc::SIGSTOP, "{status:#x}");
}

fn wait_for_stop(child: u32) -> i32 {
    let mut status = 0;
    // SAFETY: writes one integer.
    let waited = unsafe { libc::waitpid(child.cast_signed(), &raw mut status, libc::WUNTRACED) };
    assert_eq!(waited, child.cast_signed(), "a child of ours");
    status
}

/// When it reads a line, two threads each make a call for which seccomp asks a supervisor. Prints
/// that it is ready before and after that. At the end of input, the supervisor refuses one call,
/// and lets the other continue.
pub(super) fn supervised() -> Statement {
    let start = || {
        let (tell, told) = mpsc::channel();
        let (go, may_go) = mpsc::channel::<()>();
        let thread = thread::spawn(move || {
            let listener = answer(libc::SECCOMP_RET_USER_NOTIF, NEW_LISTENER);
            tell.send((listener, own_tid())).expect("a receiver");
            may_go.recv().expect("a sender");
            attempt()
        });
        let (listener, tid) = told.recv().expect("a thread");
        Supervised { thread, listener, tid, go }
    };
    let (refused, let_on) = (start(), start());
    println!("{READY}");
    std::io::stdin().lock().read_line(&mut String::new()).expect("an input");
    for held in [&refused, &let_on] {
        held.go.send(()).expect("a receiver");
        wait_until_in_call(own_pid(), held.tid, libc::SYS_getsid);
    }
    println!("{READY}");
    wait_for_end_of_input();
    reply(refused.listener, receive(refused.listener), 0, -libc::EACCES, 0);
    let go_on = libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32;
    reply(let_on.listener, receive(let_on.listener), 0, 0, go_on);
    assert_eq!(refused.thread.join().expect("no panic"), -c_long::from(libc::EACCES));
    assert!(let_on.thread.join().expect("no panic") >= 0);
    let mut made = Calls::new();
    add(&mut made, "getsid", &Made::denied(1));
    add(&mut made, "getsid", &Made::succeeded(1));
    Statement::of(own_pid(), made)
}

/// A thread whose call waits for its supervisor.
struct Supervised {
    thread: JoinHandle<c_long>,
    listener: c_long,
    tid: u32,
    go: mpsc::Sender<()>,
}
