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
        signal::{SigSet, Signal},
        signalfd::{SfdFlags, SignalFd, siginfo},
    },
};

/// Signals that are taken as events.
const SIGNALS: [Signal; 5] =
    [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGCHLD];

/// What came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// SIGINT; the terminal sends it to the command as well.
    Interrupt {
        /// Rather than by another process.
        from_terminal: bool,
    },
    /// A signal that the command is to get too.
    Signal(Signal),
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
    pub(super) fn new() -> Result<Self, Errno> {
        let mask: SigSet = SIGNALS.into_iter().collect();
        mask.thread_block()?;
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        Ok(Self { signals: SignalFd::with_flags(&mask, flags)? })
    }

    /// Waits for the next event, at most until `deadline`.
    pub(super) fn next(&mut self, deadline: Instant, wake: BorrowedFd<'_>) -> Event {
        loop {
            if let Ok(Some(info)) = self.signals.read_signal()
                && let Some(event) = event(&info)
            {
                return event;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Event::Deadline;
            }
            let mut fds = [
                PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
                PollFd::new(wake, PollFlags::POLLIN),
            ];
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
        // The terminal driver sends as the kernel; kill(2) sends as SI_USER.
        Signal::SIGINT => Event::Interrupt { from_terminal: info.ssi_code == libc::SI_KERNEL },
        Signal::SIGCHLD => Event::ChildChanged,
        other => Event::Signal(other),
    })
}
