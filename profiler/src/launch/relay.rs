//! Passes signals on to the command, each of them exactly once.
//!
//! A signal may be sent to the profiler alone (`kill PID`), or to its process group, in which the
//! command is too (Ctrl-C, `kill -- -PGID`). timeout(1) does both at once. If a signal reached the
//! command directly, the profiler must not send it again: at a second SIGTERM or SIGINT, many
//! programs end without cleaning up.
//!
//! So each signal waits before it is passed on, for further signals of the same number, and until
//! the profiler knows whether the command got the signal. The caller asks the kernel.

use std::time::{Duration, Instant};

use nix::{
    sys::signal::Signal,
    unistd::{Pid, getpgid, getpgrp},
};

/// A signal to the profiler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) signal: Signal,
    /// Process id of the sender; 0 for the kernel, and for a process of another pid namespace.
    pub(crate) sender: u32,
    /// Whether the kernel sent the signal, for example at Ctrl-C.
    pub(crate) by_kernel: bool,
}

/// How long a signal waits. Calling kill(2) for every process of a cgroup takes less time.
const MOMENT: Duration = Duration::from_millis(20);

/// How long a signal waits if its sender is likely to send it to the process group too. An example
/// is timeout(1), which may be preempted between its two calls of kill(2).
const WRAPPER_MOMENT: Duration = Duration::from_millis(200);

/// A second interrupt within this time ends the run, although the command continues.
const INSISTENCE: Duration = Duration::from_secs(1);

/// Signals that wait to be passed on.
#[derive(Default)]
pub(crate) struct Relay {
    waiting: Vec<Waiting>,
    last_interrupt: Option<Instant>,
}

struct Waiting {
    received: Received,
    moment: Duration,
    due: Instant,
}

impl Relay {
    /// Adds a signal. Returns whether it is the second interrupt within a second.
    pub(crate) fn take(&mut self, received: Received, now: Instant) -> bool {
        let mut waiting = self.waiting.iter();
        let repeats = waiting.any(|other| {
            other.received.signal == received.signal && other.received.sender == received.sender
        });
        if !repeats {
            let moment = if is_wrapper(received.sender) { WRAPPER_MOMENT } else { MOMENT };
            self.waiting.push(Waiting { received, moment, due: now + moment });
        }
        // Two presses of Ctrl-C are two signals. If a process sends the same signal twice at once,
        // that is one signal.
        if received.signal != Signal::SIGINT || (repeats && !received.by_kernel) {
            return false;
        }
        let last = self.last_interrupt.replace(now);
        last.is_some_and(|last| now.duration_since(last) <= INSISTENCE)
    }

    /// When [`Self::due`] has signals to pass on.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.waiting.iter().map(|waiting| waiting.due).min()
    }

    /// Returns the signals to pass on now: their wait is over, and the command did not get them.
    ///
    /// `command_got` says whether the command got a signal, from the signal's number, whether the
    /// kernel sent it, and the maximum time between the two copies of one signal. If it returns
    /// `None`, a signal from the kernel or from a process of the same process group counts as sent
    /// to the whole group.
    pub(crate) fn due(
        &mut self,
        now: Instant,
        command_got: impl Fn(i32, bool, Duration) -> Option<bool>,
    ) -> Vec<Signal> {
        let due = self.waiting.extract_if(.., |waiting| waiting.due <= now);
        due.filter(|Waiting { received, moment, .. }| {
            let Received { signal, sender, by_kernel } = *received;
            let got = command_got(signal as i32, by_kernel, *moment);
            !got.unwrap_or(by_kernel || is_of_our_group(sender))
        })
        .map(|waiting| waiting.received.signal)
        .collect()
    }
}

fn is_of_our_group(process: u32) -> bool {
    let process = i32::try_from(process).ok().filter(|&process| process > 0);
    process.is_some_and(|process| getpgid(Some(Pid::from_raw(process))) == Ok(getpgrp()))
}

/// Whether the process may send a signal to several processes in turn: it is in the process group
/// of the profiler, or is the service manager.
fn is_wrapper(process: u32) -> bool {
    process == 1 || is_of_our_group(process)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The id of a process that does not exist.
    const SENDER: u32 = 999_999_999;

    fn received(signal: Signal, by_kernel: bool) -> Received {
        Received { signal, sender: if by_kernel { 0 } else { SENDER }, by_kernel }
    }

    #[test]
    fn a_signal_to_us_alone_is_passed_on_after_a_moment() {
        let (mut relay, now) = (Relay::default(), Instant::now());
        relay.take(received(Signal::SIGTERM, false), now);
        relay.take(received(Signal::SIGTERM, false), now + MOMENT / 2);
        assert_eq!(relay.deadline(), Some(now + MOMENT));
        assert_eq!(relay.due(now, |_, _, _| None), []);
        assert_eq!(relay.due(now + MOMENT, |_, _, _| None), [Signal::SIGTERM]);
        assert_eq!(relay.deadline(), None);
    }

    #[test]
    fn a_signal_of_the_terminal_or_of_our_group_is_not() {
        let (mut relay, now) = (Relay::default(), Instant::now());
        relay.take(received(Signal::SIGINT, true), now);
        let sender = std::process::id();
        relay.take(Received { signal: Signal::SIGTERM, sender, by_kernel: false }, now);
        assert_eq!(relay.due(now + WRAPPER_MOMENT, |_, _, _| None), []);
    }

    #[test]
    fn a_second_interrupt_insists_within_a_second() {
        let second = Duration::from_secs(1);
        for by_kernel in [true, false] {
            let (mut relay, now) = (Relay::default(), Instant::now());
            assert!(!relay.take(received(Signal::SIGINT, by_kernel), now));
            relay.due(now + MOMENT, |_, _, _| None);
            assert!(!relay.take(received(Signal::SIGTERM, by_kernel), now + second / 2));
            assert!(!relay.take(received(Signal::SIGINT, by_kernel), now + 3 * second));
            relay.due(now + 4 * second, |_, _, _| None);
            assert!(relay.take(received(Signal::SIGINT, by_kernel), now + 4 * second));
        }
    }

    #[test]
    fn a_process_that_interrupts_twice_at_once_interrupts_once() {
        let (mut relay, now) = (Relay::default(), Instant::now());
        assert!(!relay.take(received(Signal::SIGINT, false), now));
        assert!(!relay.take(received(Signal::SIGINT, false), now + MOMENT / 2));
        // Ctrl-C pressed twice in a very short time.
        let (mut relay, now) = (Relay::default(), Instant::now());
        assert!(!relay.take(received(Signal::SIGINT, true), now));
        assert!(relay.take(received(Signal::SIGINT, true), now + MOMENT / 2));
    }
}
