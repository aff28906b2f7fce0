//! Waits for the next event: a signal, a wake-up by the kernel side, or a deadline.

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

use super::error::Error;
use crate::{
    engine::kernel::SignalsSent,
    inherited,
    launch::{
        command::Prepared,
        relay::{Received, Relay},
    },
    streams,
};

/// Signals that end a run, or are passed on to the command.
const ENDING: [Signal; 4] = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT];

/// Signals that are only passed on to a command. Without a command, they have their default action.
const OF_COMMAND: [Signal; 2] = [Signal::SIGUSR1, Signal::SIGUSR2];

/// The signal that requests something of the profiler itself.
pub(in crate::commands) const REQUEST: Signal = Signal::SIGUSR1;

/// An event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::commands) enum Event {
    /// A signal that ends the run, or is passed on to the command.
    Signal(Received),
    /// A child may have ended.
    ChildChanged,
    /// The tables of the kernel side are filling up.
    Wake,
    /// The output no longer has a reader.
    ReaderGone,
    /// The deadline has passed.
    Deadline,
}

/// The sources of events other than signals and the deadline.
#[derive(Clone, Copy, Default)]
pub(in crate::commands) struct Sources<'a> {
    /// Readable when the tables of the kernel side fill up.
    pub(in crate::commands) wake: Option<BorrowedFd<'a>>,
    /// `wake` is ignored until this time, because the tables were drained just before.
    pub(in crate::commands) deaf_until: Option<Instant>,
    /// The descriptor of the output.
    pub(in crate::commands) output: Option<BorrowedFd<'a>>,
}

/// Receives signals.
pub(in crate::commands) struct Events {
    signals: SignalFd,
    /// Events that arrived while the output was written.
    queued: VecDeque<Event>,
}

impl Events {
    /// Blocks the signals in this thread and in threads that it starts, and receives them. A
    /// started command would inherit the mask: see [`inherited::pass_on`].
    ///
    /// Signals that are ignored from the start, for example under `nohup`, stay ignored and are not
    /// blocked, because a blocked signal would be received even if it is ignored.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(in crate::commands) fn new(with_command: bool) -> Result<Self, Error> {
        Self::with(if with_command { &OF_COMMAND } else { &[] })
    }

    /// Same as [`new`](Self::new), but receives SIGUSR1 also without a command.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(in crate::commands) fn with_requests(with_command: bool) -> Result<Self, Error> {
        Self::with(if with_command { &OF_COMMAND } else { &[REQUEST] })
    }

    fn with(further: &[Signal]) -> Result<Self, Error> {
        let failed =
            |errno: Errno| Error::Io { context: "cannot watch for signals", source: errno.into() };
        Self::blocking(further).map_err(failed)
    }

    fn blocking(further: &[Signal]) -> Result<Self, Errno> {
        let wanted = ENDING.iter().chain(further).copied();
        let wanted = wanted.filter(|&signal| !inherited::is_ignored(signal as libc::c_int));
        let mask: SigSet = wanted.chain([Signal::SIGCHLD]).collect();
        mask.thread_block()?;
        // If SIGCHLD were ignored, the kernel would reap the command. SAFETY: the default action
        // runs no handler.
        unsafe { signal(Signal::SIGCHLD, SigHandler::SigDfl) }?;
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        let signals = SignalFd::with_flags(&mask, flags)?;
        Ok(Self { signals, queued: VecDeque::new() })
    }

    /// Waits for the next event, at most until `deadline`.
    pub(in crate::commands) fn next(&mut self, deadline: Instant, sources: Sources<'_>) -> Event {
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
            // poll(2) always reports POLLERR and POLLHUP.
            fds.extend(sources.output.map(|output| PollFd::new(output, PollFlags::empty())));
            // Round up, to avoid spinning in the last millisecond.
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

    /// The next signal, if one is pending.
    fn take(&mut self) -> Option<Event> {
        while let Ok(Some(info)) = self.signals.read_signal() {
            if let Some(event) = event(&info) {
                return Some(event);
            }
        }
        None
    }

    /// Writes all of `bytes` to `out`. If the reader does not read, a signal ends the wait, and is
    /// the next event.
    ///
    /// # Errors
    /// Those of [`streams::write_interruptibly`].
    pub(in crate::commands) fn write(
        &mut self,
        out: BorrowedFd<'_>,
        bytes: &[u8],
    ) -> io::Result<()> {
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

/// Waits for the end of a command that is no longer watched, and passes signals on to it. Returns
/// its exit code.
pub(in crate::commands) fn for_end(
    mut command: Prepared,
    mut relay: Relay,
    events: &mut Events,
) -> u8 {
    while !command.has_ended() {
        let look = Instant::now() + LOOK_EVERY;
        let deadline = relay.deadline().map_or(look, |due| due.min(look));
        if let Event::Signal(received) = events.next(deadline, Sources::default()) {
            relay.take(received, Instant::now());
        }
        pass_on(&mut relay, &command, None);
    }
    command.exit_code()
}

/// Passes the signals that are due on to a command. `sent` has the signals that reached the command,
/// if they are recorded.
pub(in crate::commands) fn pass_on(
    relay: &mut Relay,
    command: &Prepared,
    sent: Option<&SignalsSent>,
) {
    let due = relay.due(Instant::now(), |signal, by_kernel, tolerance| {
        sent?.command_got(signal, by_kernel, tolerance)
    });
    due.into_iter().for_each(|signal| command.signal(signal));
}

/// Ends a run that nobody watches any more: waits for its command, if it has one. Returns the exit
/// code.
///
/// # Errors
/// `failure`, for which the run is no longer watched.
pub(in crate::commands) fn end_unwatched(
    command: Option<Prepared>,
    relay: Relay,
    events: &mut Events,
    failure: Option<Error>,
) -> Result<u8, Error> {
    let code = command.map_or(0, |command| for_end(command, relay, events));
    failure.map_or(Ok(code), Err)
}

/// How often to check whether an unwatched command has ended, in case SIGCHLD is missed.
const LOOK_EVERY: Duration = Duration::from_secs(1);

fn event(info: &siginfo) -> Option<Event> {
    Some(match Signal::try_from(i32::try_from(info.ssi_signo).ok()?).ok()? {
        Signal::SIGCHLD => Event::ChildChanged,
        // Signals of the terminal come from the kernel. Signals of kill(2) have SI_USER.
        signal => Event::Signal(Received {
            signal,
            sender: info.ssi_pid,
            by_kernel: info.ssi_code == libc::SI_KERNEL,
        }),
    })
}
