//! Processes and threads whose ids are reused, are shared, or differ between pid namespaces.

use std::{
    ffi::CString,
    sync::atomic::{AtomicU32, Ordering::SeqCst},
};

use libc::c_long;

use super::{
    Calls, Made, Params, Process, Statement,
    births::{calls_of, make_calls, thread_that_tells, wait_until_ended},
    fork,
    names::set_own_name,
    own_pid, raw,
    raw::CloneArgs,
    reap,
    statement::{add, calls},
    wait,
};

/// The id of a process that has just ended.
fn used_id() -> u32 {
    let child = fork(|| true);
    reap(child);
    child
}

/// Gives a child this id (clone3(2), `set_tid`).
fn with_id(args: CloneArgs, id: &i32) -> CloneArgs {
    CloneArgs { set_tid: std::ptr::from_ref(id) as u64, set_tid_size: 1, ..args }
}

/// The name of the `i`th process with an id, which distinguishes it from the others.
fn name_of(i: u64) -> CString {
    CString::new(format!("life-{i}")).expect("no NUL")
}

fn process_of(id: u32, i: u64) -> Process {
    let made =
        calls([("getppid", Made::succeeded(calls_of(i))), ("exit_group", Made::never_returned(1))]);
    let comm = name_of(i).into_string().expect("ASCII");
    Process { comm: Some(comm), ..Process::new(id, made) }
}

/// Starts `calls` processes, one after the other, with the same id: `pid`, or that of a child that
/// ended. With `children=1`, each has a child of its own, whose calls are not stated.
pub(super) fn reused_pid(params: &Params) -> Statement {
    params.hold();
    let id = if params.has("pid") { params.number("pid") as u32 } else { used_id() };
    let set_tid = id.cast_signed();
    let args = with_id(CloneArgs::fork(), &set_tid);
    let mut processes = Vec::new();
    for i in 0..params.number("calls") {
        let name = name_of(i);
        let pid = raw::clone3(&args, || {
            set_own_name(&name);
            make_calls(calls_of(i));
            if params.has("children") {
                reap(fork(|| {
                    make_calls(calls_of(i));
                    true
                }));
            }
        });
        assert_eq!(pid, c_long::from(id), "the id is free");
        reap(id);
        processes.push(process_of(id, i));
    }
    Statement::of_all(processes)
}

/// Starts `calls` threads and processes, alternately, with the same id.
pub(super) fn reused_tid(params: &Params) -> Statement {
    extern "C" fn life(calls: c_long) -> ! {
        make_calls(calls.cast_unsigned());
        raw::end_thread()
    }
    let id = used_id();
    let set_tid = id.cast_signed();
    let of_process = with_id(CloneArgs::fork(), &set_tid);
    let alive = AtomicU32::new(0);
    let of_thread = with_id(thread_that_tells(&alive), &set_tid);
    let stack = raw::new_stack();
    let mut own = calls([("exit_group", Made::never_returned(1))]);
    let mut processes = Vec::new();
    for i in 0..params.number("calls") {
        let name = name_of(i);
        let is_thread = i % 2 == 0;
        alive.store(is_thread.into(), SeqCst);
        loop {
            let born = if is_thread {
                raw::clone3_beside(&of_thread, stack, life, calls_of(i).cast_signed())
            } else {
                raw::clone3(&of_process, || {
                    set_own_name(&name);
                    make_calls(calls_of(i));
                })
            };
            if born == c_long::from(id) {
                break;
            }
            // A thread keeps its id for a little longer than its memory.
            assert_eq!(born, -c_long::from(libc::EEXIST));
            add(&mut own, "clone3", &Made::failed(1, "EEXIST"));
        }
        add(&mut own, "clone3", &Made::succeeded(1));
        if is_thread {
            wait_until_ended(&alive);
            add(&mut own, "getppid", &Made::succeeded(calls_of(i)));
            add(&mut own, "exit", &Made::never_returned(1));
        } else {
            reap(id);
            processes.push(process_of(id, i));
        }
    }
    processes.push(Process::new(own_pid(), own));
    Statement::of_all(processes)
}

/// Starts `calls` children by `clone` in each of four ways: with and without shared memory, and
/// with and without waiting for them as `vfork` does. All are processes of their own. Starts as
/// many threads, which are not.
pub(super) fn clone_vm(params: &Params) -> Statement {
    extern "C" fn as_process(calls: c_long) -> ! {
        make_calls(calls.cast_unsigned());
        raw::end(0)
    }
    extern "C" fn as_thread(calls: c_long) -> ! {
        make_calls(calls.cast_unsigned());
        raw::end_thread()
    }
    let stack = raw::new_stack();
    let mut own = calls([("exit_group", Made::never_returned(1))]);
    let mut processes = Vec::new();
    let bear = |flags: i32, life, i: u64| {
        let args = [(flags | libc::SIGCHLD).into(), 0, 0, 0, 0];
        raw::bear(libc::SYS_clone, args, stack, life, calls_of(i).cast_signed())
    };
    for i in 0..params.number("calls") {
        let (vm, vfork) = (libc::CLONE_VM, libc::CLONE_VFORK);
        for flags in [0, vm, vfork, vm | vfork] {
            let pid = u32::try_from(bear(flags, as_process, i)).expect("a child");
            assert_eq!(wait(pid), 0);
            let made = calls([
                ("getppid", Made::succeeded(calls_of(i))),
                ("exit_group", Made::never_returned(1)),
            ]);
            processes.push(Process::new(pid, made));
        }
        let alive = AtomicU32::new(1);
        let args = thread_that_tells(&alive);
        let argument = calls_of(i).cast_signed();
        let thread_args = [args.flags as c_long, 0, 0, alive.as_ptr() as c_long, 0];
        assert!(raw::bear(libc::SYS_clone, thread_args, stack, as_thread, argument) > 0);
        wait_until_ended(&alive);
        add(&mut own, "clone", &Made::succeeded(5));
        add(&mut own, "getppid", &Made::succeeded(calls_of(i)));
        add(&mut own, "exit", &Made::never_returned(1));
    }
    processes.push(Process::new(own_pid(), own));
    Statement::of_all(processes)
}

/// A process with pid 1 in a pid namespace of its own, and three children there. The host's /proc
/// gives their ids on the host.
pub(super) fn pid_namespace() -> Statement {
    // SAFETY: takes a number. The next child is the first process of the namespace.
    assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWPID) }, 0);
    const CHILDREN: u64 = 3;
    let (wait_for, go) = std::io::pipe().expect("a pipe");
    let wait_until_told = || std::io::Read::read_exact(&mut &wait_for, &mut [0]).is_ok();
    let first = fork(|| {
        // SAFETY: always safe to call.
        let inside = unsafe { libc::getpid() };
        let children: Vec<_> = (0..CHILDREN)
            .map(|_| {
                fork(|| {
                    // SAFETY: as above.
                    let own = unsafe { libc::getpid() };
                    wait_until_told() && {
                        make_calls(own.cast_unsigned().into());
                        true
                    }
                })
            })
            .collect();
        children.into_iter().for_each(reap);
        inside == 1
    });
    let mut inside = Vec::new();
    while inside.len() < CHILDREN as usize {
        inside = children_of(first);
    }
    let told = vec![0; CHILDREN as usize];
    std::io::Write::write_all(&mut &go, &told).expect("readers");
    reap(first);
    let mut processes = vec![Process::new(first, ends())];
    for (pid, pid_inside) in inside {
        let mut made = ends();
        add(&mut made, "getppid", &Made::succeeded(pid_inside.into()));
        processes.push(Process::new(pid, made));
    }
    Statement::of_all(processes)
}

fn ends() -> Calls {
    calls([("exit_group", Made::never_returned(1))])
}

/// The children of a process: the id of each on the host, and in its own namespace.
fn children_of(parent: u32) -> Vec<(u32, u32)> {
    let all = procfs::process::all_processes().expect("/proc");
    all.filter_map(|process| {
        let status = process.ok()?.status().ok()?;
        let inside = *status.nspid?.last()?;
        let is_child = status.ppid == parent.cast_signed();
        is_child.then_some((status.pid.cast_unsigned(), inside.cast_unsigned()))
    })
    .collect()
}
