//! Waiting for whatever comes next: a signal, a wake-up of the kernel side, or a
//! moment in time.

use std::{
    os::fd::{AsFd, BorrowedFd},
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        signal::{SigHandler, SigSet, Signal, signal},
        signalfd::{SfdFlags, SignalFd, siginfo},
    },
};

/// Signals that are taken as events.
const SIGNALS: [Signal; 5] =
    [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGCHLD];

/// What came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// One that asks for the end.
    Signal {
        /// Which.
        signal: Signal,
        /// The terminal sent it, and so to the command as well.
        from_terminal: bool,
    },
    /// A child may have ended.
    ChildChanged,
    /// Room runs low in the kernel side's maps.
    Wake,
    /// It is time.
    Deadline,
}

/// Lets a process that was just forked have the signals again, which its exec would
/// otherwise keep from it for good. Safe between fork and exec.
pub(super) fn give_back() -> Result<(), Errno> {
    SIGNALS.into_iter().collect::<SigSet>().thread_unblock()
}

/// Where signals arrive.
pub(super) struct Events {
    signals: SignalFd,
}

impl Events {
    /// Takes the signals over from here on, for this thread and those it starts. A
    /// command that is started would inherit that: see [`give_back`].
    ///
    /// What was ignored from the start, as by `nohup`, stays so: a signal that is
    /// blocked would arrive all the same.
    pub(super) fn new() -> Result<Self, Errno> {
        let wanted = |&signal: &Signal| signal == Signal::SIGCHLD || !is_ignored(signal);
        let mask: SigSet = SIGNALS.into_iter().filter(wanted).collect();
        mask.thread_block()?;
        // Ignored, the kernel would take the command's end for itself.
        // SAFETY: the default action is no handler that could do anything unsound.
        unsafe { signal(Signal::SIGCHLD, SigHandler::SigDfl) }?;
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        Ok(Self { signals: SignalFd::with_flags(&mask, flags)? })
    }

    /// Waits for the next event, at most until `deadline`.
    /// `wake` is not listened to before `deaf_until`, for what it asks for has been done
    /// a moment ago.
    pub(super) fn next(
        &mut self,
        deadline: Instant,
        wake: BorrowedFd<'_>,
        deaf_until: Instant,
    ) -> Event {
        loop {
            if let Ok(Some(info)) = self.signals.read_signal()
                && let Some(event) = event(&info)
            {
                return event;
            }
            let now = Instant::now();
            let deaf = now < deaf_until;
            let until = if deaf { deadline.min(deaf_until) } else { deadline };
            if deadline <= now {
                return Event::Deadline;
            }
            let left = until.saturating_duration_since(now);
            let heard = if deaf { PollFlags::empty() } else { PollFlags::POLLIN };
            let mut fds =
                [PollFd::new(self.signals.as_fd(), PollFlags::POLLIN), PollFd::new(wake, heard)];
            // Rounded up, so as not to spin through the last millisecond.
            let timeout = (left + Duration::from_micros(999)).as_millis();
            let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX);
            let woken = poll(&mut fds, timeout).is_ok() && fds[1].any().unwrap_or(false);
            if woken && !fds[0].any().unwrap_or(false) {
                return Event::Wake;
            }
        }
    }
}

fn event(info: &siginfo) -> Option<Event> {
    Some(match Signal::try_from(i32::try_from(info.ssi_signo).ok()?).ok()? {
        Signal::SIGCHLD => Event::ChildChanged,
        // The terminal driver sends as the kernel; kill(2) sends as SI_USER.
        signal => Event::Signal { signal, from_terminal: info.ssi_code == libc::SI_KERNEL },
    })
}

fn is_ignored(signal: Signal) -> bool {
    // SAFETY: asks for the present action and sets none; zeros are a valid value.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal as libc::c_int, std::ptr::null(), &mut action) == 0
            && action.sa_sigaction == libc::SIG_IGN
    }
}
