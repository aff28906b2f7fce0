//! Ends this process at a signal, at once, while it attaches.
//!
//! Attaching takes minutes where the verifier is slow, as on an emulated processor, and seconds
//! where the tables are large. Meanwhile the main thread is in system calls and sees no signal.
//! So another thread waits for signals and ends the process. The main thread then has a fatal
//! signal pending, at which the kernel stops verifying (`do_check`, kernel/bpf/verifier.c) and
//! allocating (`__vmalloc_area_node`, mm/vmalloc.c), and detaches and frees what was loaded.
//!
//! The signals are blocked, and neither handled nor left to their default action:
//!
//! - A handler does not help: it runs when a call of the main thread returns. A handler in the
//!   main thread even makes a load fail, with EAGAIN (`do_check`).
//! - The default action is none for the first process of a pid namespace, as in a container
//!   (`sig_task_ignored`, kernel/signal.c).

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    thread,
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        signal::{SigHandler, SigSet, SigmaskHow, Signal, raise, signal},
        signalfd::{SfdFlags, SignalFd},
    },
};

use super::LaunchError;
use crate::inherited;

/// Signals that end a command.
const ENDING: [Signal; 4] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT];

/// How the process ends at a signal.
pub(crate) enum End {
    /// By the signal, as if nothing had caught it. If it is the first process of a pid
    /// namespace: with 128 and the number of the signal.
    BySignal,
    /// With this exit code.
    WithCode(libc::c_int),
}

/// Signals that are blocked from [`Self::begin`] on, until this is dropped.
pub(crate) struct Interruptible {
    ending: SigSet,
    before: SigSet,
}

impl Interruptible {
    /// Blocks the signals that end a command, except those that are ignored, as by `nohup`.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn begin() -> Result<Self, LaunchError> {
        let is_ignored = |&signal: &Signal| inherited::is_ignored(signal as libc::c_int);
        let ending = ENDING.into_iter().filter(|signal| !is_ignored(signal)).collect();
        Self::blocking(ending, ending)
    }

    /// Blocks the signals `ending`, and the signals `held`, which wait until this is dropped.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn of(ending: &[Signal], held: &[Signal]) -> Result<Self, LaunchError> {
        Self::blocking(
            ending.iter().copied().collect(),
            ending.iter().chain(held).copied().collect(),
        )
    }

    fn blocking(ending: SigSet, blocked: SigSet) -> Result<Self, LaunchError> {
        let before = blocked.thread_swap_mask(SigmaskHow::SIG_BLOCK).map_err(failed)?;
        Ok(Self { ending, before })
    }

    /// Does `work`. At one of the signals, calls `at_end` and ends the process as it says.
    ///
    /// # Errors
    /// The kernel's, before `work` has begun.
    pub(crate) fn run<T>(
        &self,
        at_end: impl FnOnce(Signal) -> End + Send,
        work: impl FnOnce() -> T,
    ) -> Result<T, LaunchError> {
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        let signals = SignalFd::with_flags(&self.ending, flags).map_err(failed)?;
        let (over, working) = io::pipe().map_err(failed)?;
        thread::scope(|scope| {
            let watcher = move || {
                if let Some(signal) = wait(&signals, &over.into()) {
                    match at_end(signal) {
                        End::BySignal => end_by(signal),
                        End::WithCode(code) => end_with(code),
                    }
                }
            };
            thread::Builder::new().spawn_scoped(scope, watcher).map_err(failed)?;
            // Closed when the work is over, by a panic too: the other thread then ends.
            let _working = working;
            Ok(work())
        })
    }
}

impl Drop for Interruptible {
    fn drop(&mut self) {
        // Cannot fail: the set is one that the kernel gave.
        let _ = self.before.thread_set_mask();
    }
}

/// The first of `signals` that comes; `None` if `over` is closed before.
fn wait(signals: &SignalFd, over: &OwnedFd) -> Option<Signal> {
    loop {
        if let Ok(Some(info)) = signals.read_signal() {
            return i32::try_from(info.ssi_signo).ok().and_then(|s| Signal::try_from(s).ok());
        }
        let mut fds = [signals.as_fd(), over.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) if fds[1].any() == Some(false) => {}
            Err(Errno::EINTR) => {}
            // Without a way to wait, the work at least goes on.
            Ok(_) | Err(_) => return None,
        }
    }
}

fn end_by(ending: Signal) -> ! {
    // SAFETY: the default action is no handler that could do anything unsound.
    let _ = unsafe { signal(ending, SigHandler::SigDfl) };
    let _ = raise(ending);
    // `raise` is for this thread, and takes effect once the thread no longer blocks it.
    let _ = SigSet::from(ending).thread_unblock();
    end_with(128 + ending as libc::c_int)
}

/// Ends the process without what a return from `main` does: that thread is still at work.
fn end_with(code: libc::c_int) -> ! {
    // SAFETY: ends all threads in the kernel, whatever they do.
    unsafe { libc::_exit(code) }
}

fn failed(source: impl Into<io::Error>) -> LaunchError {
    LaunchError::Signals(source.into())
}
