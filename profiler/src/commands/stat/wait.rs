//! Waiting for whatever comes next: a signal, a wake-up of the kernel side, or a
//! moment in time.

use std::{
    collections::VecDeque,
    io,
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

use crate::{inherited, launch::relay::Received, streams};

/// Signals that end a run, or are passed on to the command.
const ENDING: [Signal; 4] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT];

/// Signals that mean something to a command only: it gets them. Without one, they do what they
/// do to any process.
const OF_COMMAND: [Signal; 2] = [Signal::SIGUSR1, Signal::SIGUSR2];

/// What came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// One that asks for the end, or is for the command.
    Signal(Received),
    /// A child may have ended.
    ChildChanged,
    /// Room runs low in the kernel side's maps.
    Wake,
    /// Nobody reads the output any more.
    ReaderGone,
    /// It is time.
    Deadline,
}

/// What is waited for beside signals and time.
#[derive(Clone, Copy, Default)]
pub(super) struct Sources<'a> {
    /// Readable when room runs low in the kernel side's maps,
    pub(super) wake: Option<BorrowedFd<'a>>,
    /// which is ignored until then, since what it asks for has been done a moment ago.
    pub(super) deaf_until: Option<Instant>,
    /// What the output is written to.
    pub(super) output: Option<BorrowedFd<'a>>,
}

/// Where signals arrive.
pub(super) struct Events {
    signals: SignalFd,
    /// Events that came while the output was written.
    queued: VecDeque<Event>,
}

impl Events {
    /// Takes the signals over from here on, for this thread and those it starts. A
    /// command that is started would inherit that: see [`inherited::pass_on`].
    ///
    /// What was ignored from the start, as by `nohup`, stays so: a signal that is
    /// blocked would arrive all the same.
    pub(super) fn new(with_command: bool) -> Result<Self, Errno> {
        let of_command: &[Signal] = if with_command { &OF_COMMAND } else { &[] };
        let wanted = ENDING.iter().chain(of_command).copied();
        let wanted = wanted.filter(|&signal| !inherited::is_ignored(signal as libc::c_int));
        let mask: SigSet = wanted.chain([Signal::SIGCHLD]).collect();
        mask.thread_block()?;
        // Ignored, the kernel would take the command's end for itself.
        // SAFETY: the default action is no handler that could do anything unsound.
        unsafe { signal(Signal::SIGCHLD, SigHandler::SigDfl) }?;
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        let signals = SignalFd::with_flags(&mask, flags)?;
        Ok(Self { signals, queued: VecDeque::new() })
    }

    /// Waits for the next event, at most until `deadline`.
    pub(super) fn next(&mut self, deadline: Instant, sources: Sources<'_>) -> Event {
        loop {
            if let Some(event) = self.queued.pop_front().or_else(|| self.take()) {
                return event;
            }
            let now = Instant::now();
            if deadline <= now {
                return Event::Deadline;
            }
            let deaf_until = sources.deaf_until.filter(|&until| now < until);
            let until = deaf_until.map_or(deadline, |until| deadline.min(until));
            let left = until.saturating_duration_since(now);
            let wake = sources.wake.filter(|_| deaf_until.is_none());
            let mut fds = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
            fds.extend(wake.map(|wake| PollFd::new(wake, PollFlags::POLLIN)));
            // What says that nobody reads is reported without being asked for.
            fds.extend(sources.output.map(|output| PollFd::new(output, PollFlags::empty())));
            // Rounded up, so as not to spin through the last millisecond.
            let timeout = (left + Duration::from_micros(999)).as_millis();
            let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX);
            if poll(&mut fds, timeout).is_err() || fds[0].any().unwrap_or(false) {
                continue;
            }
            let came = |at: usize| fds.get(at).and_then(PollFd::revents);
            let at_output = 1 + usize::from(wake.is_some());
            if sources.output.is_some() && came(at_output).is_some_and(streams::is_gone) {
                return Event::ReaderGone;
            }
            if wake.is_some() && came(1).is_some_and(|events| !events.is_empty()) {
                return Event::Wake;
            }
        }
    }

    /// The next signal, if one came.
    fn take(&mut self) -> Option<Event> {
        while let Ok(Some(info)) = self.signals.read_signal() {
            if let Some(event) = event(&info) {
                return Some(event);
            }
        }
        None
    }

    /// Writes all of `bytes` to `out`. A signal ends the wait for a reader that does not
    /// read, and is the next event.
    ///
    /// # Errors
    /// Those of [`streams::write_interruptibly`].
    pub(super) fn write(&mut self, out: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<()> {
        let Self { signals, queued, .. } = self;
        streams::write_interruptibly(out, bytes, signals.as_fd(), || {
            let mut interrupted = false;
            while let Ok(Some(info)) = signals.read_signal() {
                let event = event(&info);
                interrupted |= matches!(event, Some(Event::Signal(_)));
                queued.extend(event);
            }
            interrupted
        })
    }
}

fn event(info: &siginfo) -> Option<Event> {
    Some(match Signal::try_from(i32::try_from(info.ssi_signo).ok()?).ok()? {
        Signal::SIGCHLD => Event::ChildChanged,
        // The terminal's driver sends as the kernel; kill(2) sends as SI_USER.
        signal => Event::Signal(Received {
            signal,
            sender: info.ssi_pid,
            by_kernel: info.ssi_code == libc::SI_KERNEL,
        }),
    })
}
