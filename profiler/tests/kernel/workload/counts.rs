//! Exact numbers of calls, by threads and by short-lived processes.

use std::{
    sync::{Arc, Barrier},
    thread,
};

use super::{
    Calls, Made, Params, Process, Statement, fork, own_pid, plan::Plan, raw, reap, statement::add,
};

/// The greatest number of processes that run at once: too few to reach a limit.
const AT_ONCE: usize = 8;

/// Makes the plan in `threads` threads, or in the main thread if there are none. Then `processes`
/// children make it, one after the other or a few at a time.
pub(super) fn run(params: &Params) -> Statement {
    let plan = params.plan();
    Plan::prepare();
    let threads = params.number("threads");
    let start = Arc::new(Barrier::new(threads as usize + 1));
    let workers: Vec<_> = (0..threads)
        .map(|_| {
            let start = Arc::clone(&start);
            thread::spawn(move || {
                start.wait();
                plan.make()
            })
        })
        .collect();
    params.hold();
    start.wait();
    let alone = threads == 0;
    assert!(!alone || plan.make(), "a call ended otherwise than planned");
    for worker in workers {
        assert!(worker.join().expect("no panic"), "a call ended otherwise than planned");
    }
    let mut calls = Calls::new();
    for (name, made) in plan.states() {
        let mut all = Made::default();
        (0..threads.max(1)).for_each(|_| all.add(&made));
        calls.insert(name, all);
    }
    if threads > 0 {
        add(&mut calls, "exit", &Made::never_returned(threads));
    }
    add(&mut calls, "exit_group", &Made::never_returned(1));
    let mut processes = vec![Process::new(own_pid(), calls)];
    processes.extend(children(params.number("processes"), plan));
    Statement::of_all(processes)
}

/// Starts children. Neighbours make different numbers of calls.
fn children(count: u64, plan: Plan) -> Vec<Process> {
    let plans: Vec<_> = (0..count).map(|i| Plan { calls: plan.calls + i % 5, ..plan }).collect();
    let mut processes = Vec::new();
    for some in plans.chunks(AT_ONCE) {
        let pids: Vec<_> = some.iter().map(|plan| fork(|| plan.make())).collect();
        pids.iter().for_each(|&pid| reap(pid));
        for (&pid, plan) in pids.iter().zip(some) {
            let mut calls = plan.states();
            add(&mut calls, "exit_group", &Made::never_returned(1));
            processes.push(Process::new(pid, calls));
        }
    }
    processes
}

/// Calls that hardly any other program makes.
const RARE: [(&str, libc::c_long, End); 3] = [
    ("personality", libc::SYS_personality, None),
    ("ioprio_get", libc::SYS_ioprio_get, Some("EINVAL")),
    ("timer_getoverrun", libc::SYS_timer_getoverrun, Some("EINVAL")),
];

/// The errno of a call that fails.
type End = Option<&'static str>;

/// Starts `threads` threads that make each call of [`RARE`] `calls` times, and do nothing else.
pub(super) fn saturate(params: &Params) -> Statement {
    let (threads, times) = (params.number("threads"), params.number("calls"));
    params.hold();
    let workers: Vec<_> = (0..threads)
        .map(|_| {
            thread::spawn(move || {
                (0..times).all(|_| {
                    RARE.iter().all(|(_, number, end)| {
                        // No personality, process kind or timer has this number.
                        let result = raw::syscall(*number, [0xffff_ffff, 0]);
                        (result >= 0) == end.is_none()
                            && end.is_none_or(|_| result == -libc::c_long::from(libc::EINVAL))
                    })
                })
            })
        })
        .collect();
    for worker in workers {
        assert!(worker.join().expect("no panic"), "a call ended otherwise than planned");
    }
    let mut made = Calls::new();
    for (name, _, end) in RARE {
        let calls = threads * times;
        let ended = end.map_or(Made::succeeded(calls), |errno| Made::failed(calls, errno));
        add(&mut made, name, &ended);
    }
    Statement::of(own_pid(), made)
}

/// Makes calls and starts short-lived children until its input ends. It is used as load, and its
/// statement is empty.
pub(super) fn burn(params: &Params) -> Statement {
    Plan::prepare();
    for _ in 0..params.number("threads") {
        thread::spawn(|| {
            loop {
                assert!(
                    Plan { calls: 100, alike: false }.make(),
                    "a call ended otherwise than planned"
                );
            }
        });
    }
    thread::spawn(|| {
        loop {
            let pid = raw::fork_and_end(libc::SYS_fork);
            reap(u32::try_from(pid).expect("a fork"));
        }
    });
    println!("{}", super::READY);
    super::wait_for_end_of_input();
    Statement::default()
}
