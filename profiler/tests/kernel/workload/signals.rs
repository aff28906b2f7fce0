//! Calls that signals interrupt, stop and end.

use std::{
    io::{PipeReader, PipeWriter},
    os::fd::AsRawFd as _,
    sync::{
        atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering::SeqCst},
        mpsc,
    },
    thread,
};

use libc::c_long;

use super::{
    Calls, Made, Params, Process, Statement, fork, own_pid, own_tid, raw, reap, statement::add,
    wait_until_in_call,
};

static HANDLED: AtomicU64 = AtomicU64::new(0);

extern "C" fn on_signal(_: libc::c_int) {
    HANDLED.fetch_add(1, SeqCst);
}

fn install_handler(flags: i32) {
    install_handler_of(libc::SIGUSR1, on_signal, flags);
}

/// Installs `handler` for `signal`.
pub(super) fn install_handler_of(signal: i32, handler: extern "C" fn(libc::c_int), flags: i32) {
    // SAFETY: zeros are an action with an empty mask, and the handlers only increment a number.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as *const () as usize;
        action.sa_flags = flags;
        assert_eq!(libc::sigaction(signal, &raw const action, std::ptr::null_mut()), 0);
    }
}

/// Handles `calls` signals that are pending until `rt_sigsuspend` unblocks them. When a handler
/// returns, the result register has the -EINTR of the interrupted call. It is not a result of
/// `rt_sigreturn`.
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
            // The kernel's set of signals has 8 bytes.
            let args = [&raw const none as libc::c_long, 8, 0, 0];
            assert_eq!(
                raw::syscall(libc::SYS_rt_sigsuspend, args),
                -libc::c_long::from(libc::EINTR)
            );
        }
    }
    assert_eq!(HANDLED.load(SeqCst), times);
    let mut calls = Calls::new();
    // The exit tracepoint reports -ERESTARTNOHAND, which becomes EINTR after the handler.
    add(&mut calls, "rt_sigsuspend", &Made::failed(times, "EINTR"));
    add(&mut calls, "rt_sigreturn", &Made::succeeded(times));
    Statement::of(own_pid(), calls)
}

/// Makes a `readv` that `calls` signals interrupt under SA_RESTART, and that then reads.
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
        // SAFETY: the thread is ours, and lives while it reads.
        unsafe { libc::tgkill(own_pid().cast_signed(), tid.cast_signed(), libc::SIGUSR1) };
        while HANDLED.load(SeqCst) == broken {
            thread::yield_now();
        }
    }
    wait_until_in_call(own_pid(), tid, libc::SYS_readv);
    std::io::Write::write_all(&mut &writer, b"x").expect("a reader");
    assert_eq!(thread.join().expect("no panic"), 1);
    let mut calls = Calls::new();
    // It enters again after each signal.
    add(&mut calls, "readv", &Made::restarted(times));
    add(&mut calls, "readv", &Made::succeeded(1));
    add(&mut calls, "rt_sigreturn", &Made::succeeded(times));
    Statement::of(own_pid(), calls)
}

/// Stops and continues children within a call. Calls with a timeout leave with
/// -ERESTART_RESTARTBLOCK and continue as `restart_syscall`. A `futex` without a timeout leaves
/// with -ERESTARTSYS, and enters again as `futex`.
pub(super) fn stopped() -> Statement {
    let shared = Shared::new();
    let again = Wait::ALL.map(|wait| match wait {
        Wait::Futex => (wait, "futex"),
        _ => (wait, "restart_syscall"),
    });
    let processes = again.map(|(wait, comes_back)| {
        let child = fork(|| wait.make(shared) >= 0);
        wait_until_in_call(child, child, wait.number());
        let pid = child.cast_signed();
        // SAFETY: a child of ours; writes one integer.
        unsafe {
            libc::kill(pid, libc::SIGSTOP);
            let mut status = 0;
            assert_eq!(libc::waitpid(pid, &raw mut status, libc::WUNTRACED), pid);
            assert!(libc::WIFSTOPPED(status), "it slept too short a time");
            libc::kill(pid, libc::SIGCONT);
        }
        if wait != Wait::Nanosleep {
            let number =
                if wait == Wait::Futex { libc::SYS_futex } else { libc::SYS_restart_syscall };
            wait_until_in_call(child, child, number);
        }
        shared.let_go(wait);
        reap(child);
        shared.take_back(wait);
        let mut made = Calls::new();
        add(&mut made, wait.name(), &Made::restarted(1));
        add(&mut made, comes_back, &Made::succeeded(1));
        Process::new(child, made)
    });
    Statement::of_all(processes.into())
}

/// Sends `calls` signals to each of several children that wait in a call and have a handler. Once
/// the handler has run, a call is made again only if its restart code is -ERESTARTSYS and the
/// handler has SA_RESTART.
pub(super) fn in_waits(params: &Params) -> Statement {
    let times = params.number("calls");
    let shared = Shared::new();
    let mut processes = Vec::new();
    for flags in [0, libc::SA_RESTART] {
        for wait in Wait::ALL {
            let is_made_again = wait == Wait::Futex && flags == libc::SA_RESTART;
            shared.handled.store(0, SeqCst);
            SHARED.store(std::ptr::from_ref(shared).cast_mut(), SeqCst);
            let child = fork(|| {
                install_handler_of(libc::SIGUSR1, on_shared_signal, flags);
                // The first entry also includes the calls that are made again.
                let broken = if is_made_again { 0 } else { times };
                (0..broken).all(|_| wait.make(shared) == -c_long::from(libc::EINTR))
                    && (wait == Wait::Nanosleep || wait.make(shared) >= 0)
            });
            for handled in 0..times {
                wait_until_in_call(child, child, wait.number());
                // SAFETY: a child of ours that has not been waited for.
                unsafe { libc::kill(child.cast_signed(), libc::SIGUSR1) };
                while shared.handled.load(SeqCst) == handled {
                    thread::yield_now();
                }
            }
            if wait != Wait::Nanosleep {
                wait_until_in_call(child, child, wait.number());
                shared.let_go(wait);
            }
            reap(child);
            shared.take_back(wait);
            let mut made = Calls::new();
            let interrupted =
                if is_made_again { Made::restarted(times) } else { Made::failed(times, "EINTR") };
            add(&mut made, wait.name(), &interrupted);
            let returned = u64::from(wait != Wait::Nanosleep);
            add(&mut made, wait.name(), &Made::succeeded(returned));
            add(&mut made, "rt_sigreturn", &Made::succeeded(times));
            add(&mut made, "restart_syscall", &Made::default());
            processes.push(Process::new(child, made));
        }
    }
    Statement::of_all(processes)
}

/// Memory that a child shares with its parent, and a pipe.
struct Shared {
    handled: AtomicU64,
    futex: AtomicU32,
    reader: PipeReader,
    writer: PipeWriter,
}

/// The memory, for a handler.
static SHARED: AtomicPtr<Shared> = AtomicPtr::new(std::ptr::null_mut());

extern "C" fn on_shared_signal(_: libc::c_int) {
    // SAFETY: the pointer is set before the handler is installed, and never freed.
    unsafe { &*SHARED.load(SeqCst) }.handled.fetch_add(1, SeqCst);
}

impl Shared {
    fn new() -> &'static Self {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
        // SAFETY: a new mapping, large enough and aligned, that is never unmapped.
        unsafe {
            let place = libc::mmap(std::ptr::null_mut(), 4096, protection, flags, -1, 0);
            assert_ne!(place, libc::MAP_FAILED, "shared memory");
            let place = place.cast::<Self>();
            place.write(Self { handled: 0.into(), futex: 0.into(), reader, writer });
            &*place
        }
    }

    /// Ends a call that waits.
    fn let_go(&self, wait: Wait) {
        match wait {
            // Ends by itself.
            Wait::Nanosleep => {}
            Wait::Poll => std::io::Write::write_all(&mut &self.writer, b"x").expect("a reader"),
            Wait::Futex | Wait::FutexWithTime => {
                // The futex is shared between processes, so FUTEX_PRIVATE_FLAG is not set.
                let wake = [self.futex.as_ptr() as c_long, libc::FUTEX_WAKE.into(), 1];
                while raw::syscall(libc::SYS_futex, wake) != 1 {
                    thread::yield_now();
                }
            }
        }
    }

    /// Restores the state, so that the next call waits again.
    fn take_back(&self, wait: Wait) {
        if wait == Wait::Poll {
            std::io::Read::read_exact(&mut &self.reader, &mut [0]).expect("what was written");
        }
    }
}

/// A call that waits.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wait {
    Nanosleep,
    Poll,
    Futex,
    FutexWithTime,
}

impl Wait {
    const ALL: [Self; 4] = [Self::Nanosleep, Self::Poll, Self::Futex, Self::FutexWithTime];

    fn name(self) -> &'static str {
        match self {
            Self::Nanosleep => "nanosleep",
            Self::Poll => "poll",
            Self::Futex | Self::FutexWithTime => "futex",
        }
    }

    fn number(self) -> c_long {
        match self {
            Self::Nanosleep => libc::SYS_nanosleep,
            Self::Poll => libc::SYS_poll,
            Self::Futex | Self::FutexWithTime => libc::SYS_futex,
        }
    }

    /// Makes the call, which waits for a second or until [`Shared::let_go`].
    fn make(self, shared: &Shared) -> c_long {
        let a_second = libc::timespec { tv_sec: 1, tv_nsec: 0 };
        let an_age = libc::timespec { tv_sec: 1_000_000, tv_nsec: 0 };
        let descriptor = shared.reader.as_raw_fd();
        let mut file = libc::pollfd { fd: descriptor, events: libc::POLLIN, revents: 0 };
        let futex = shared.futex.as_ptr() as c_long;
        let args = match self {
            Self::Nanosleep => [&raw const a_second as c_long, 0, 0, 0],
            Self::Poll => [&raw mut file as c_long, 1, 1_000_000, 0],
            Self::Futex => [futex, libc::FUTEX_WAIT.into(), 0, 0],
            Self::FutexWithTime => [futex, libc::FUTEX_WAIT.into(), 0, &raw const an_age as c_long],
        };
        raw::syscall(self.number(), args)
    }
}
