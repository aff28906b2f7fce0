//! Calls that signals break, stop and end, and calls that seccomp refuses.

use std::{
    os::fd::AsRawFd as _,
    sync::{
        atomic::{AtomicU64, Ordering::SeqCst},
        mpsc,
    },
    thread,
};

use super::{
    Calls, Made, Params, Statement, fork, own_pid, own_tid, raw, reap, statement::add,
    wait_until_in_call,
};

static HANDLED: AtomicU64 = AtomicU64::new(0);

extern "C" fn on_signal(_: libc::c_int) {
    HANDLED.fetch_add(1, SeqCst);
}

fn install_handler(flags: i32) {
    // SAFETY: zeros are an action without mask; the handler only adds to a number.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_signal as *const () as usize;
        action.sa_flags = flags;
        assert_eq!(libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut()), 0);
    }
}

/// `calls` signals that are pending when `rt_sigsuspend` lets them in. When a handler
/// returns, the interrupted call's -EINTR is in the register that holds a result, and
/// is no result of `rt_sigreturn`.
pub(super) fn handled(params: &Params) -> Statement {
    let times = params.number("calls");
    install_handler(0);
    // SAFETY: sets of signals on this stack.
    unsafe {
        let mut blocked: libc::sigset_t = std::mem::zeroed();
        libc::sigaddset(&raw mut blocked, libc::SIGUSR1);
        libc::sigprocmask(libc::SIG_BLOCK, &raw const blocked, std::ptr::null_mut());
        let none: libc::sigset_t = std::mem::zeroed();
        for _ in 0..times {
            libc::raise(libc::SIGUSR1);
            // 8 bytes are the kernel's set of signals.
            let args = [&raw const none as libc::c_long, 8, 0, 0];
            assert_eq!(
                raw::syscall(libc::SYS_rt_sigsuspend, args),
                -libc::c_long::from(libc::EINTR)
            );
        }
    }
    assert_eq!(HANDLED.load(SeqCst), times);
    let mut calls = Calls::new();
    // It leaves with -ERESTARTNOHAND, which becomes EINTR once the handler has run.
    add(&mut calls, "rt_sigsuspend", &Made::restarted(times));
    add(&mut calls, "rt_sigreturn", &Made::succeeded(times));
    Statement::of(own_pid(), calls)
}

/// A `readv` that `calls` signals break under SA_RESTART, and that reads in the end.
pub(super) fn restarted(params: &Params) -> Statement {
    let times = params.number("calls");
    install_handler(libc::SA_RESTART);
    let (reader, writer) = std::io::pipe().expect("a pipe");
    let (tell, told) = mpsc::channel();
    let thread = thread::spawn(move || {
        tell.send(own_tid()).expect("a receiver");
        let mut byte = 0_u8;
        let room = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
        let args = [reader.as_raw_fd().into(), &raw const room as libc::c_long, 1, 0];
        raw::syscall(libc::SYS_readv, args)
    });
    let tid = told.recv().expect("a thread");
    for broken in 0..times {
        wait_until_in_call(own_pid(), tid, libc::SYS_readv);
        // SAFETY: a thread of ours, which lives while it reads.
        unsafe { libc::tgkill(own_pid().cast_signed(), tid.cast_signed(), libc::SIGUSR1) };
        while HANDLED.load(SeqCst) == broken {
            thread::yield_now();
        }
    }
    wait_until_in_call(own_pid(), tid, libc::SYS_readv);
    std::io::Write::write_all(&mut &writer, b"x").expect("a reader");
    assert_eq!(thread.join().expect("no panic"), 1);
    let mut calls = Calls::new();
    // Each time it enters again.
    add(&mut calls, "readv", &Made::restarted(times));
    add(&mut calls, "readv", &Made::succeeded(1));
    add(&mut calls, "rt_sigreturn", &Made::succeeded(times));
    Statement::of(own_pid(), calls)
}

/// A child that is stopped and continued within `nanosleep`, which leaves with
/// -ERESTART_RESTARTBLOCK and comes back as `restart_syscall`.
pub(super) fn stopped() -> Statement {
    let child = fork(|| {
        let request = libc::timespec { tv_sec: 1, tv_nsec: 0 };
        raw::syscall(libc::SYS_nanosleep, [&raw const request as libc::c_long, 0, 0, 0]) == 0
    });
    wait_until_in_call(child, child, libc::SYS_nanosleep);
    let pid = child.cast_signed();
    // SAFETY: a child of ours; writes one integer.
    unsafe {
        libc::kill(pid, libc::SIGSTOP);
        let mut status = 0;
        assert_eq!(libc::waitpid(pid, &raw mut status, libc::WUNTRACED), pid);
        assert!(libc::WIFSTOPPED(status), "it slept too short a time");
        libc::kill(pid, libc::SIGCONT);
    }
    reap(child);
    let mut calls = Calls::new();
    add(&mut calls, "nanosleep", &Made::restarted(1));
    add(&mut calls, "restart_syscall", &Made::succeeded(1));
    Statement::of(child, calls)
}

/// `calls` attempts at a call that seccomp answers with EPERM before it enters, half
/// of them before the thread has made any other call.
pub(super) fn denied(params: &Params) -> Statement {
    let times = params.number("calls");
    let filter = [
        // The number, at the beginning of struct seccomp_data.
        op(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        op(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, libc::SYS_getsid as u32, 0, 1),
        op(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32, 0, 0),
        op(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW, 0, 0),
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_ptr().cast_mut() };
    // SAFETY: a program that the kernel copies.
    unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        let mode = libc::SECCOMP_MODE_FILTER;
        assert_eq!(libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const program), 0, "a filter");
    }
    let attempts = move || {
        (0..times)
            .all(|_| raw::syscall(libc::SYS_getsid, [0; 4]) == -libc::c_long::from(libc::EPERM))
    };
    assert!(attempts());
    // In a process that does it as its very first.
    let child = fork(attempts);
    reap(child);
    let mut calls = Calls::new();
    add(&mut calls, "getsid", &Made::denied(times));
    let mut statement = Statement::of(own_pid(), calls.clone());
    statement.processes.push(super::Process { pid: child, calls });
    statement
}

fn op(code: u32, k: u32, jump_true: u8, jump_false: u8) -> libc::sock_filter {
    libc::sock_filter { code: code as u16, jt: jump_true, jf: jump_false, k }
}
