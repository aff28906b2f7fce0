//! Ends this process at a signal, within a second, while it attaches.
//!
//! Attaching takes minutes if the verifier is slow, as on an emulated processor, and seconds if the
//! tables are large. Meanwhile, the main thread is in syscalls, and does not see signals. So
//! another thread waits for signals and ends the process. The main thread then has a fatal signal
//! pending. The kernel therefore stops verifying (`do_check`, kernel/bpf/verifier.c) and allocating
//! (`__vmalloc_area_node`, mm/vmalloc.c), and detaches and frees everything that was loaded.
//!
//! The signals are blocked, for two reasons:
//!
//! - A handler does not help: it runs when a call of the main thread returns. A handler in the
//!   main thread even makes a load fail, with EAGAIN (`do_check`).
//! - The kernel ignores signals with their default action if the process is the first of a pid
//!   namespace, as in a container (`sig_task_ignored`, kernel/signal.c).

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
    /// By the signal. The first process of a pid namespace exits with 128 plus the number of the
    /// signal.
    BySignal,
    /// With an exit code.
    WithCode(libc::c_int),
}

/// A guard: the signals are blocked from [`Self::begin`] until the guard is dropped.
pub(crate) struct Interruptible {
    ending: SigSet,
    before: SigSet,
}

impl Interruptible {
    /// Blocks the signals that end a command, except ignored signals, for example under `nohup`.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn begin() -> Result<Self, LaunchError> {
        let is_ignored = |&signal: &Signal| inherited::is_ignored(signal as libc::c_int);
        let ending = ENDING.into_iter().filter(|signal| !is_ignored(signal)).collect();
        Self::blocking(ending, ending)
    }

    /// Blocks the signals `ending` and `held`. The signals `held` stay pending until the guard is
    /// dropped.
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

    /// Does `work`. If one of the signals arrives, calls `at_end`, and ends the process as `at_end`
    /// says.
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
            // Dropped when the work ends, also by a panic. The other thread then ends.
            let _working = working;
            Ok(work())
        })
    }
}

impl Drop for Interruptible {
    fn drop(&mut self) {
        // Cannot fail, because the kernel returned this set.
        let _ = self.before.thread_set_mask();
    }
}

/// Waits for the first of `signals`. `None` if `over` is closed before.
fn wait(signals: &SignalFd, over: &OwnedFd) -> Option<Signal> {
    loop {
        if let Ok(Some(info)) = signals.read_signal() {
            return i32::try_from(info.ssi_signo).ok().and_then(|s| Signal::try_from(s).ok());
        }
        let mut fds = [signals.as_fd(), over.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) if fds[1].any() == Some(false) => {}
            Err(Errno::EINTR) => {}
            // If waiting fails, the work continues.
            Ok(_) | Err(_) => return None,
        }
    }
}

fn end_by(ending: Signal) -> ! {
    // SAFETY: the default action runs no handler.
    let _ = unsafe { signal(ending, SigHandler::SigDfl) };
    let _ = raise(ending);
    // `raise` sends the signal to this thread. The signal is delivered when the thread unblocks it.
    let _ = SigSet::from(ending).thread_unblock();
    end_with(128 + ending as libc::c_int)
}

/// Ends the process without running destructors or exit handlers, because the main thread is still
/// working.
fn end_with(code: libc::c_int) -> ! {
    // SAFETY: takes a number, and never returns.
    unsafe { libc::_exit(code) }
}

fn failed(source: impl Into<io::Error>) -> LaunchError {
    LaunchError::Signals(source.into())
}
