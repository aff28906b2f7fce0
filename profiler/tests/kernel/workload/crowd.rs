//! Many threads of one user. Each makes some calls and then sleeps.

use std::{
    io::BufRead as _,
    sync::{Arc, RwLock, mpsc},
    thread,
};

use super::{
    Calls, Made, Params, Process, READY, Statement, own_pid, plan::Plan, statement::add,
    wait_for_end_of_input,
};

/// The line that the workload prints when all its threads have made their calls.
pub(crate) const IDLE: &str = "idle";

/// Much smaller than the default, since there are many threads.
const STACK_BYTES: usize = 128 * 1024;

/// Changes the user of this process.
pub(super) fn become_user(uid: u64) {
    let uid = libc::uid_t::try_from(uid).expect("a user id");
    // SAFETY: changes nothing but the ids of this process, which has one thread.
    assert_eq!(unsafe { libc::setresuid(uid, uid, uid) }, 0, "a change of user needs root");
}

/// Starts `threads` threads when it reads a line: one after the other, each when the one before it
/// has made its calls, or with `together=1` all at once. They end at the end of input.
pub(super) fn run(params: &Params) -> Statement {
    let (plan, threads) = (params.plan(), params.number("threads"));
    println!("{READY}");
    std::io::stdin().lock().read_line(&mut String::new()).expect("an input");
    Plan::prepare();
    let gate = Arc::new(RwLock::new(()));
    let closed = gate.write().expect("no panic");
    let (tell, told) = mpsc::channel::<bool>();
    let heard = || assert!(told.recv().expect("threads"), "a call ended otherwise");
    let threads_of_ours: Vec<_> = (0..threads)
        .map(|_| {
            let (gate, tell) = (Arc::clone(&gate), tell.clone());
            let life = move || {
                tell.send(plan.make()).expect("the main thread");
                drop(gate.read());
            };
            let thread = thread::Builder::new().stack_size(STACK_BYTES).spawn(life);
            if !params.has("together") {
                heard();
            }
            thread.expect("a thread")
        })
        .collect();
    if params.has("together") {
        (0..threads).for_each(|_| heard());
    }
    println!("{IDLE}");
    wait_for_end_of_input();
    drop(closed);
    threads_of_ours.into_iter().for_each(|thread| thread.join().expect("no panic"));
    let mut calls = Calls::new();
    for (name, made) in plan.states() {
        (0..threads).for_each(|_| calls.entry(name.clone()).or_default().add(&made));
    }
    add(&mut calls, "exit", &Made::never_returned(threads));
    add(&mut calls, "exit_group", &Made::never_returned(1));
    Statement::of_all(vec![Process::new(own_pid(), calls)])
}
