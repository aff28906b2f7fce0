//! Calls that seccomp answers before they enter.

use std::{
    sync::{
        atomic::{AtomicU32, AtomicU64, Ordering::SeqCst},
        mpsc,
    },
    thread,
};

use libc::c_long;

use super::{
    Calls, Made, Params, Process, Statement,
    births::{thread_that_tells, wait_until_ended},
    execs::no_core,
    fork, own_pid, raw, reap,
    signals::install_handler_of,
    statement::{add, calls},
    wait,
};

/// Makes seccomp answer every `getsid` of this thread by `action`. Returns a descriptor if the
/// flags ask for one (seccomp(2)).
pub(super) fn answer(action: u32, flags: c_long) -> c_long {
    filter(
        &[
            // Loads the call's number, the first field of `struct seccomp_data`.
            op(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
            op(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, libc::SYS_getsid as u32, 0, 1),
            op(libc::BPF_RET | libc::BPF_K, action, 0, 0),
            op(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW, 0, 0),
        ],
        flags,
    )
}

/// Installs a filter for this thread.
pub(super) fn filter(filter: &[libc::sock_filter], flags: c_long) -> c_long {
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_ptr().cast_mut() };
    // SAFETY: takes numbers.
    unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    let set_mode_filter = libc::SECCOMP_SET_MODE_FILTER.into();
    let set =
        raw::syscall(libc::SYS_seccomp, [set_mode_filter, flags, &raw const program as c_long]);
    assert!(set >= 0, "a filter: {set}");
    set
}

/// An instruction of a filter.
pub(super) fn op(code: u32, k: u32, jump_true: u8, jump_false: u8) -> libc::sock_filter {
    libc::sock_filter { code: code as u16, jt: jump_true, jf: jump_false, k }
}

/// The call that is answered.
pub(super) fn attempt() -> c_long {
    raw::syscall(libc::SYS_getsid, [0; 1])
}

/// Makes `calls` attempts at a call that seccomp answers with EPERM before it enters, half of them
/// before the thread has made any other call. Then as many attempts at the i386 call of the same
/// number.
pub(super) fn denied(params: &Params) -> Statement {
    params.hold();
    let times = params.number("calls");
    answer(libc::SECCOMP_RET_ERRNO | libc::EPERM as u32, 0);
    let by_int80 = || raw::int80(libc::SYS_getsid as i32, [0; 3]);
    let attempts = move || {
        (0..times).all(|_| attempt() == -c_long::from(libc::EPERM) && by_int80() == -libc::EPERM)
    };
    assert!(attempts());
    // In a process whose very first calls these are.
    let child = fork(attempts);
    reap(child);
    let mut made = calls([("getsid", Made::denied(times))]);
    made.insert("i386/adjtimex".to_owned(), Made::denied(times));
    Statement::of_all(vec![Process::new(own_pid(), made.clone()), Process::new(child, made)])
}

static TRAPPED: AtomicU64 = AtomicU64::new(0);

extern "C" fn on_trap(_: libc::c_int) {
    TRAPPED.fetch_add(1, SeqCst);
}

/// Makes `calls` attempts that each run a signal handler: each counts as a denied attempt and an
/// `rt_sigreturn`.
pub(super) fn trap(params: &Params) -> Statement {
    let times = params.number("calls");
    install_handler_of(libc::SIGSYS, on_trap, 0);
    answer(libc::SECCOMP_RET_TRAP, 0);
    for _ in 0..times {
        // The register still has the call's number: the kernel rolled the call back.
        assert_eq!(attempt(), libc::SYS_getsid);
    }
    assert_eq!(TRAPPED.load(SeqCst), times);
    let made = calls([("getsid", Made::denied(times)), ("rt_sigreturn", Made::succeeded(times))]);
    Statement::of(own_pid(), made)
}

/// Makes `calls` attempts that seccomp passes to a tracer, which does not exist: they fail with
/// ENOSYS.
pub(super) fn trace(params: &Params) -> Statement {
    let times = params.number("calls");
    answer(libc::SECCOMP_RET_TRACE, 0);
    for _ in 0..times {
        assert_eq!(attempt(), -c_long::from(libc::ENOSYS));
    }
    Statement::of(own_pid(), calls([("getsid", Made::denied(times))]))
}

/// Has seccomp kill a thread among others, a process, and a process with other threads, `calls`
/// times each. Then SIGSYS ends processes that seccomp does not kill.
///
/// Since Linux 5.16, seccomp ends a process by a signal, so the exit tracepoint runs and the call
/// counts as denied (`__seccomp_filter`, kernel/seccomp.c: `force_sig_seccomp`). On older kernels,
/// and still if other threads live on, the thread ends at once (`do_exit`), and neither tracepoint
/// runs. Since Linux 5.17, the task's state shows this when it ends.
pub(super) fn kill(params: &Params) -> Statement {
    extern "C" fn life(_: c_long) -> ! {
        answer(libc::SECCOMP_RET_KILL_THREAD, 0);
        attempt();
        raw::end_thread()
    }
    extern "C" fn sleep(_: c_long) -> ! {
        raw::syscall(libc::SYS_pause, [0; 0]);
        raw::end_thread()
    }
    let killed = kills_are_seen();
    let leaves = if kernel_release() >= (5, 16) { Made::denied(1) } else { killed.clone() };
    let mut processes = Vec::new();
    for _ in 0..params.number("calls") {
        let among_others = fork(|| {
            let alive = AtomicU32::new(1);
            let args = thread_that_tells(&alive);
            assert!(raw::clone3_beside(&args, raw::new_stack(), life, 0) > 0);
            wait_until_ended(&alive);
            true
        });
        reap(among_others);
        let made = calls([
            ("getsid", killed.clone()),
            ("exit", Made::default()),
            ("exit_group", Made::never_returned(1)),
        ]);
        processes.push(Process::new(among_others, made));
        let mut whole = |made: &Made, end: &dyn Fn()| {
            let pid = fork(|| {
                no_core();
                end();
                false
            });
            let status = wait(pid);
            assert!(libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGSYS);
            let made = calls([("getsid", made.clone()), ("exit_group", Made::default())]);
            processes.push(Process::new(pid, made));
        };
        let attempt_with = |action| {
            answer(action, 0);
            attempt();
        };
        whole(&leaves, &|| attempt_with(libc::SECCOMP_RET_KILL_THREAD));
        whole(&leaves, &|| attempt_with(libc::SECCOMP_RET_KILL_PROCESS));
        whole(&leaves, &|| {
            for _ in 0..4 {
                let args = raw::CloneArgs::thread();
                assert!(raw::clone3_beside(&args, raw::new_stack(), sleep, 0) > 0);
            }
            attempt_with(libc::SECCOMP_RET_KILL_PROCESS);
        });
        // The signal has no handler and ends the process: this is not a kill by seccomp.
        whole(&Made::denied(1), &|| attempt_with(libc::SECCOMP_RET_TRAP));
        whole(&Made::default(), &|| {
            answer(libc::SECCOMP_RET_KILL_PROCESS, 0);
            raw::syscall(libc::SYS_kill, [own_pid().into(), libc::SIGSYS.into()]);
        });
    }
    Statement::of_all(processes)
}

/// The expected counts of a call in which seccomp ends a thread at once.
pub(super) fn kills_are_seen() -> Made {
    if kernel_release() >= (5, 17) { Made::denied(1) } else { Made::default() }
}

/// The first two numbers of the release: 5 and 10 of `5.10.0-28-amd64`.
pub(crate) fn kernel_release() -> (u32, u32) {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("a kernel");
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    let mut next = || numbers.next().and_then(Result::ok).expect("a number");
    (next(), next())
}

/// Makes `calls` attempts, which another thread answers in turn with an errno, with a result, and
/// by letting the call continue. Only the last is a call.
pub(super) fn user_notification(params: &Params) -> Statement {
    let times = params.number("calls");
    let (tell, told) = mpsc::channel();
    let supervisor = thread::spawn(move || supervise(told.recv().expect("a descriptor"), times));
    tell.send(answer(libc::SECCOMP_RET_USER_NOTIF, NEW_LISTENER)).expect("a receiver");
    let mut made = Calls::new();
    for turn in 0..times {
        let result = attempt();
        match turn % 3 {
            0 => assert_eq!(result, -c_long::from(libc::EACCES)),
            1 => assert_eq!(result, NOT_A_SESSION),
            // 0 is the session of the first process and its children.
            _ => assert!((0..NOT_A_SESSION).contains(&result)),
        }
        let ended = if turn % 3 < 2 { Made::denied(1) } else { Made::succeeded(1) };
        add(&mut made, "getsid", &ended);
    }
    supervisor.join().expect("no panic");
    Statement::of(own_pid(), made)
}

/// `SECCOMP_FILTER_FLAG_NEW_LISTENER` (include/uapi/linux/seccomp.h).
pub(super) const NEW_LISTENER: c_long = 1 << 3;

/// A number above `PID_MAX_LIMIT`, which no session has.
const NOT_A_SESSION: c_long = 77_777_777;

/// Answers this number of attempts.
fn supervise(listener: c_long, times: u64) {
    for turn in 0..times {
        let id = receive(listener);
        let (val, error, flags) = match turn % 3 {
            0 => (0, -libc::EACCES, 0),
            1 => (NOT_A_SESSION, 0, 0),
            _ => (0, 0, libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32),
        };
        reply(listener, id, val, error, flags);
    }
}

/// Waits for an attempt, and returns its id.
pub(super) fn receive(listener: c_long) -> u64 {
    // SAFETY: the kernel requires zeros, and writes one notification.
    let mut asked: libc::seccomp_notif = unsafe { std::mem::zeroed() };
    let asked_at = &raw mut asked as c_long;
    let received = [listener, libc::SECCOMP_IOCTL_NOTIF_RECV as c_long, asked_at];
    assert_eq!(raw::syscall(libc::SYS_ioctl, received), 0);
    asked.id
}

/// Answers an attempt.
pub(super) fn reply(listener: c_long, id: u64, val: c_long, error: i32, flags: u32) {
    let reply = libc::seccomp_notif_resp { id, val, error, flags };
    let sent = [listener, libc::SECCOMP_IOCTL_NOTIF_SEND as c_long, &raw const reply as c_long];
    assert_eq!(raw::syscall(libc::SYS_ioctl, sent), 0);
}
