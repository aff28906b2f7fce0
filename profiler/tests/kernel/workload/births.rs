//! Births: `fork`, `vfork`, `clone` and `clone3`, of processes and of threads.

use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

use libc::c_long;

use super::{
    Calls, Made, Params, Process, READY, Statement,
    execs::Program,
    own_pid, raw,
    raw::CloneArgs,
    start_process,
    statement::{add, calls},
    wait,
};

/// Starts `calls` children by each of `fork`, `vfork` and `clone`. Each of these returns twice, and
/// counts as one call.
pub(super) fn forks(params: &Params) -> Statement {
    let times = params.number("calls");
    params.hold();
    let mut calls = Calls::new();
    let mut processes = Vec::new();
    let mut child = |pid: libc::c_long| {
        let pid = u32::try_from(pid).expect("a child");
        assert_eq!(wait(pid), 0);
        let mut calls = Calls::new();
        add(&mut calls, "exit_group", &Made::never_returned(1));
        processes.push(Process::new(pid, calls));
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
    processes.push(Process::new(own_pid(), calls));
    Statement::of_all(processes)
}

/// The greatest number of processes or threads that live at once: too few to reach a limit.
const AT_ONCE: usize = 8;

/// The number of calls that the `i`th child makes. It differs between neighbours.
pub(super) fn calls_of(i: u64) -> u64 {
    i % 5 + 1
}

pub(super) fn make_calls(times: u64) {
    for _ in 0..times {
        raw::syscall(libc::SYS_getppid, [0; 0]);
    }
}

/// Starts `processes` processes in parallel. Each of them starts `calls` children, by `fork` and
/// `clone3` in turn, and waits for a few of them at a time.
pub(super) fn process_storm(params: &Params) -> Statement {
    let children = params.number("calls");
    let mothers: Vec<_> = (0..params.number("processes"))
        .map(|_| start_process(|| bear_processes(children)))
        .collect();
    let processes = mothers.into_iter().flat_map(|mother| {
        let pid = mother.pid;
        let mut of_children: Vec<Process> = mother.found_out();
        let (forks, clones) = (children.div_ceil(2), children / 2);
        let made = calls([
            ("fork", Made::succeeded(forks)),
            ("clone3", Made::succeeded(clones)),
            ("exit_group", Made::never_returned(1)),
        ]);
        of_children.push(Process::new(pid, made));
        of_children
    });
    Statement::of_all(processes.collect())
}

fn bear_processes(children: u64) -> Vec<Process> {
    let args = CloneArgs::fork();
    let mut processes = Vec::new();
    let mut alive = Vec::new();
    for i in 0..children {
        let life = || make_calls(calls_of(i));
        let pid = if i % 2 == 0 {
            match raw::syscall(libc::SYS_fork, [0; 0]) {
                0 => {
                    life();
                    raw::end(0)
                }
                pid => pid,
            }
        } else {
            raw::clone3(&args, life)
        };
        let pid = u32::try_from(pid).expect("a child");
        let made = calls([
            ("getppid", Made::succeeded(calls_of(i))),
            ("exit_group", Made::never_returned(1)),
        ]);
        processes.push(Process::new(pid, made));
        alive.push(pid);
        if alive.len() == AT_ONCE || i + 1 == children {
            alive.drain(..).for_each(|pid| assert_eq!(wait(pid), 0));
        }
    }
    processes
}

/// Starts `calls` threads by `clone3`, a few at a time. Each of them makes a few calls.
pub(super) fn thread_storm(params: &Params) -> Statement {
    extern "C" fn life(calls: c_long) -> ! {
        make_calls(calls.cast_unsigned());
        raw::end_thread()
    }
    let threads = params.number("calls");
    let places: Vec<_> = (0..AT_ONCE).map(|_| (raw::new_stack(), AtomicU32::new(0))).collect();
    let mut getppid = 0;
    for i in 0..threads {
        let (stack, alive) = &places[i as usize % AT_ONCE];
        wait_until_ended(alive);
        alive.store(1, SeqCst);
        let args = thread_that_tells(alive);
        assert!(raw::clone3_beside(&args, *stack, life, calls_of(i).cast_signed()) > 0);
        getppid += calls_of(i);
    }
    places.iter().for_each(|(_, alive)| wait_until_ended(alive));
    let made = calls([
        ("clone3", Made::succeeded(threads)),
        ("getppid", Made::succeeded(getppid)),
        ("exit", Made::never_returned(threads)),
        ("exit_group", Made::never_returned(1)),
    ]);
    Statement::of(own_pid(), made)
}

/// A thread for which the kernel writes 0 to `alive` when the thread has ended and its stack is
/// free.
pub(super) fn thread_that_tells(alive: &AtomicU32) -> CloneArgs {
    let mut args = CloneArgs::thread();
    args.flags |= u64::from(libc::CLONE_CHILD_CLEARTID.cast_unsigned());
    args.child_tid = alive.as_ptr() as u64;
    args
}

pub(super) fn wait_until_ended(alive: &AtomicU32) {
    while alive.load(SeqCst) != 0 {
        std::thread::yield_now();
    }
}

/// A `vfork` whose child prints that it is ready, waits for the end of its input, and then execs.
pub(super) fn held_vfork() -> Statement {
    extern "C" fn life(program: c_long) -> ! {
        let ready = [READY.as_bytes(), b"\n"];
        for text in ready {
            raw::syscall(libc::SYS_write, [1, text.as_ptr() as c_long, text.len() as c_long]);
        }
        let mut byte = 0_u8;
        raw::syscall(libc::SYS_read, [0, &raw mut byte as c_long, 1]);
        // SAFETY: the parent owns the program, and waits until the child has called exec.
        unsafe { &*(program as *const Program) }.exec();
        raw::end(1)
    }
    let program = Program::that_ends();
    let argument = std::ptr::from_ref(&program) as c_long;
    let pid = raw::bear(libc::SYS_vfork, [0; 5], raw::new_stack(), life, argument);
    let pid = u32::try_from(pid).expect("a child");
    assert_eq!(wait(pid), 0);
    let own = calls([("vfork", Made::succeeded(1)), ("exit_group", Made::never_returned(1))]);
    let of_child = calls([("execve", Made::succeeded(1)), ("exit_group", Made::never_returned(1))]);
    Statement::of_all(vec![Process::new(own_pid(), own), Process::new(pid, of_child)])
}

/// Starts `calls` children by `vfork` that end at once. They do not start faster than a debug build
/// of the profiler frees their entries.
pub(super) fn many(params: &Params) -> Statement {
    let times = params.number("calls");
    for n in 0..times {
        if n % 256 == 255 {
            std::thread::sleep(std::time::Duration::from_millis(15));
        }
        let pid = u32::try_from(raw::vfork_and_end()).expect("a child");
        assert_eq!(wait(pid), 0);
    }
    let made = calls([("vfork", Made::succeeded(times)), ("exit_group", Made::never_returned(1))]);
    Statement::of(own_pid(), made)
}
