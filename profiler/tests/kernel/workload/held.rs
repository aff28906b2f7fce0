//! A call that stays in flight until the end of input, next to threads that wait.

use std::{
    ffi::CString,
    fs::File,
    io::BufRead as _,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::SeqCst},
        mpsc,
    },
    thread,
};

use serde::{Deserialize, Serialize};

use super::{
    Calls, Made, Params, READY, Statement, own_pid, own_tid, raw, sleeps::now, statement::add,
    wait_for_end_of_input, wait_until_in_call,
};

/// A thread in `creat` of a FIFO that nobody reads. No other program on a host makes that call.
#[derive(Serialize, Deserialize, Debug, Clone, Copy)]
pub(crate) struct Holding {
    pub(crate) pid: u32,
    pub(crate) tid: u32,
    /// A time before the thread entered the call, by the profiler's clock.
    pub(crate) before_ns: u64,
    /// A time after it had entered.
    pub(crate) after_ns: u64,
}

/// When it reads a line, `waiting` threads wait for a futex and another thread enters `creat` of
/// `fifo`. Prints a [`Holding`] then. At the end of input, all threads return.
pub(super) fn run(params: &Params) -> Statement {
    let fifo = &params.0["fifo"];
    let path = CString::new(fifo.as_str()).expect("no NUL");
    // SAFETY: the string lives until the call has returned.
    assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }, 0, "a FIFO");
    println!("{READY}");
    std::io::stdin().lock().read_line(&mut String::new()).expect("an input");
    let let_go = Arc::new(AtomicU32::new(0));
    let waiting: Vec<_> = (0..params.number("waiting")).map(|_| wait(&let_go)).collect();
    let (tell, told) = mpsc::channel();
    let held = thread::spawn(move || {
        tell.send((own_tid(), now())).expect("a receiver");
        raw::syscall(libc::SYS_creat, [path.as_ptr() as libc::c_long, 0o600, 0, 0])
    });
    let (tid, before_ns) = told.recv().expect("a thread");
    wait_until_in_call(own_pid(), tid, libc::SYS_creat);
    let holding = Holding { pid: own_pid(), tid, before_ns, after_ns: now() };
    println!("{}", serde_json::to_string(&holding).expect("plain data"));
    wait_for_end_of_input();
    let reader = File::open(fifo).expect("the FIFO");
    assert!(held.join().expect("no panic") >= 0, "a reader lets a writer in");
    drop(reader);
    let_go.store(1, SeqCst);
    let wake = [futex(&let_go), libc::FUTEX_WAKE.into(), libc::c_int::MAX.into(), 0];
    raw::syscall(libc::SYS_futex, wake);
    waiting.into_iter().for_each(|thread| thread.join().expect("no panic"));
    let mut calls = Calls::new();
    add(&mut calls, "creat", &Made::succeeded(1));
    Statement::of(own_pid(), calls)
}

fn futex(word: &AtomicU32) -> libc::c_long {
    word.as_ptr() as libc::c_long
}

/// Starts a thread that waits until the word is not 0. Returns when the thread waits.
fn wait(word: &Arc<AtomicU32>) -> thread::JoinHandle<()> {
    let word = Arc::clone(word);
    let (tell, told) = mpsc::channel();
    let thread = thread::spawn(move || {
        tell.send(own_tid()).expect("a receiver");
        while word.load(SeqCst) == 0 {
            raw::syscall(libc::SYS_futex, [futex(&word), libc::FUTEX_WAIT.into(), 0, 0]);
        }
    });
    wait_until_in_call(own_pid(), told.recv().expect("a thread"), libc::SYS_futex);
    thread
}
