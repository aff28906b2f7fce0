//! Calls that seccomp refuses, by threads that installed their filter before the profiler started.

use std::{
    ffi::CString,
    io::Write as _,
    os::fd::{AsRawFd as _, RawFd},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::SeqCst},
        mpsc,
    },
    thread,
};

use libc::c_long;

use super::{
    Made, Params, READY, Statement,
    births::{thread_that_tells, wait_until_ended},
    own_pid, own_tid, raw,
    seccomp::{answer, attempt, filter, kills_are_seen, op},
    statement::calls,
    stops::name,
    wait_for_end_of_input, wait_until_in_call,
};

/// One thread in this many spins, which keeps a CPU busy.
const SPIN: u64 = 32;

/// The length of a `read` that the filter refuses.
const REFUSED_LENGTH: u32 = 77;

/// Offset of the low half of the third argument in `struct seccomp_data`.
const THIRD_ARGUMENT: u32 = 32;

/// Refuses `getsid` with EPERM, and `read` of one length. So the number of a `read` alone does not
/// decide whether it may enter.
fn refuse() {
    let load = |at| op(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, at, 0, 0);
    let equals = |k, jt, jf| op(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, k, jt, jf);
    let answer = |action| op(libc::BPF_RET | libc::BPF_K, action, 0, 0);
    filter(
        &[
            load(0),
            equals(libc::SYS_getsid as u32, 3, 0),
            equals(libc::SYS_read as u32, 0, 3),
            load(THIRD_ARGUMENT),
            equals(REFUSED_LENGTH, 0, 1),
            answer(libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
            answer(libc::SECCOMP_RET_ALLOW),
        ],
        0,
    );
}

/// Starts `threads` threads before the profiler. Each makes `calls` calls, which are all refused.
/// One in [`SPIN`] makes no call before, and the others sleep in a `read`. The process takes the
/// name `name`.
pub(super) fn denied(params: &Params) -> Statement {
    if let Some(named) = params.0.get("name") {
        name(&CString::new(named.as_str()).expect("no NUL"));
    }
    let (threads, times) = (params.number("threads"), params.number("calls"));
    let go = Arc::new(AtomicBool::new(false));
    let (reader, mut writer) = std::io::pipe().expect("a pipe");
    let threads: Vec<_> = (0..threads)
        .map(|i| start(Arc::clone(&go), (i % SPIN != 0).then(|| reader.as_raw_fd()), times))
        .collect();
    println!("{READY}");
    wait_for_end_of_input();
    go.store(true, SeqCst);
    // One byte for each thread that sleeps.
    writer.write_all(&vec![0; threads.len()]).expect("a pipe");
    let denied = threads.len() as u64 * times;
    threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
    Statement::of(own_pid(), calls([("getsid", Made::denied(denied))]))
}

/// Starts a thread, and returns when it is ready.
fn start(go: Arc<AtomicBool>, reads: Option<RawFd>, times: u64) -> thread::JoinHandle<()> {
    let (tell, told) = mpsc::channel();
    let thread = thread::spawn(move || {
        refuse();
        // A low priority, so that the profiler can attach while this thread spins.
        assert_eq!(raw::syscall(libc::SYS_setpriority, [libc::PRIO_PROCESS as c_long, 0, 10]), 0);
        tell.send(own_tid()).expect("a receiver");
        if let Some(fd) = reads {
            let mut byte = 0_u8;
            assert_eq!(raw::syscall(libc::SYS_read, [fd.into(), &raw mut byte as c_long, 1]), 1);
        }
        while !go.load(SeqCst) {
            std::hint::spin_loop();
        }
        for _ in 0..times {
            assert_eq!(attempt(), -c_long::from(libc::EPERM));
        }
    });
    let tid = told.recv().expect("a thread");
    if reads.is_some() {
        wait_until_in_call(own_pid(), tid, libc::SYS_read);
    }
    thread
}

static READY_TO_DIE: AtomicU64 = AtomicU64::new(0);
static GO: AtomicBool = AtomicBool::new(false);

/// Starts `threads` threads before the profiler. They make no call until the one in which seccomp
/// kills them.
pub(super) fn killed(params: &Params) -> Statement {
    extern "C" fn life(_: c_long) -> ! {
        raw::syscall(libc::SYS_setpriority, [libc::PRIO_PROCESS as c_long, 0, 10]);
        answer(libc::SECCOMP_RET_KILL_THREAD, 0);
        READY_TO_DIE.fetch_add(1, SeqCst);
        while !GO.load(SeqCst) {
            std::hint::spin_loop();
        }
        attempt();
        raw::end_thread()
    }
    let count = params.number("threads");
    let alive: Vec<_> = (0..count).map(|_| AtomicU32::new(1)).collect();
    for alive in &alive {
        let args = thread_that_tells(alive);
        assert!(raw::clone3_beside(&args, raw::new_stack(), life, 0) > 0);
    }
    while READY_TO_DIE.load(SeqCst) < count {
        thread::yield_now();
    }
    println!("{READY}");
    wait_for_end_of_input();
    GO.store(true, SeqCst);
    alive.iter().for_each(wait_until_ended);
    let denied = count * kills_are_seen().denied;
    Statement::of(own_pid(), calls([("getsid", Made::denied(denied)), ("exit", Made::default())]))
}
