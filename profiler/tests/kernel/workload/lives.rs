//! Births and deaths: forks, an exec by a thread, threads killed within a call.

use std::{ffi::CString, os::unix::ffi::OsStrExt as _, thread};

use super::{
    Calls, Made, Params, Process, Statement, fork, own_pid, raw, statement::add, wait,
    wait_until_in_call,
};

/// `calls` children by each of `fork`, `vfork` and `clone`. Each of these returns
/// twice, and is one call.
pub(super) fn forks(params: &Params) -> Statement {
    let times = params.number("calls");
    let mut calls = Calls::new();
    let mut processes = Vec::new();
    let mut child = |pid: libc::c_long| {
        let pid = u32::try_from(pid).expect("a child");
        assert_eq!(wait(pid), 0);
        let mut calls = Calls::new();
        add(&mut calls, "exit_group", &Made::never_returned(1));
        processes.push(Process { pid, calls });
    };
    for _ in 0..times {
        child(raw::fork_and_end(libc::SYS_fork));
        child(raw::vfork_and_end());
        child(raw::fork_and_end(libc::SYS_clone));
    }
    for name in ["fork", "vfork", "clone"] {
        add(&mut calls, name, &Made::succeeded(times));
    }
    add(&mut calls, "exit_group", &Made::never_returned(1));
    processes.push(Process { pid: own_pid(), calls });
    Statement { processes, timings: Vec::new() }
}

/// A thread that is not the leader execs into the workload `counts`, which states
/// what follows; the leader, within `pause`, is killed by that.
pub(super) fn exec_by_thread(params: &Params) -> Statement {
    let program = std::env::current_exe().expect("an executable");
    let program = CString::new(program.as_os_str().as_bytes()).expect("no NUL");
    let calls = CString::new(format!("calls={}", params.number("calls"))).expect("no NUL");
    let pid = own_pid();
    thread::spawn(move || {
        wait_until_in_call(pid, pid, libc::SYS_pause);
        let args = [program.as_ptr(), c"workload".as_ptr(), c"counts".as_ptr(), calls.as_ptr()];
        let argv = [args[0], args[1], args[2], args[3], std::ptr::null()];
        // SAFETY: strings and an array that live until the exec.
        unsafe { libc::execv(argv[0], argv.as_ptr()) };
        panic!("no exec");
    });
    loop {
        raw::syscall(libc::SYS_pause, [0; 4]);
    }
}

/// A child with `threads` threads, all within `pause` when they are killed. Such a
/// call does leave, with -ERESTARTNOHAND (kernel/signal.c, `sys_pause`); it is the
/// signal's handling after it that ends the thread.
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
    add(&mut calls, "pause", &Made::restarted(threads + 1));
    Statement::of(child, calls)
}
