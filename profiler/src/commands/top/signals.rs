//! Waits for signals and other files together.

use std::{
    io::{self, Read},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};
use signal_hook::{
    SigId,
    consts::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP, SIGWINCH},
    flag,
    low_level::{pipe, unregister},
};

use super::feed::{Clock, Event};
use crate::streams::{self, Stream};

/// Signals that arrived and have not been handled.
pub(super) struct Signals {
    /// Becomes readable when a signal arrives.
    bell: UnixStream,
    came: Vec<(Event, Arc<AtomicBool>)>,
    registered: Vec<SigId>,
    /// The output. A wait ends if nobody reads the output any more.
    output: Option<Stream>,
}

const END: [i32; 4] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM];

impl Signals {
    /// Watches for signals that end the process, and for the end of the reader of `output`.
    pub(super) fn to_end(output: Stream) -> io::Result<Self> {
        let mut signals = Self::new(&[(Event::End, &END)])?;
        signals.output = Some(output);
        Ok(signals)
    }

    /// Watches for all signals that concern a program on a terminal.
    pub(super) fn for_screen() -> io::Result<Self> {
        Self::new(&[
            (Event::End, &END),
            (Event::Stop, &[SIGTSTP]),
            (Event::Continued, &[SIGCONT]),
            (Event::Resized, &[SIGWINCH]),
        ])
    }

    fn new(events: &[(Event, &[i32])]) -> io::Result<Self> {
        let (bell, rope) = UnixStream::pair()?;
        bell.set_nonblocking(true)?;
        let mut signals = Self { bell, came: Vec::new(), registered: Vec::new(), output: None };
        for &(event, numbers) in events {
            let came = Arc::new(AtomicBool::new(false));
            for &number in numbers {
                // The flag first, so that it is set when the byte arrives.
                signals.registered.push(flag::register(number, Arc::clone(&came))?);
                signals.registered.push(pipe::register(number, rope.try_clone()?)?);
            }
            signals.came.push((event, came));
        }
        Ok(signals)
    }

    /// The next signal. Signals that end the process are first.
    pub(super) fn take(&self) -> Option<Event> {
        let mut came = self.came.iter().filter(|(_, came)| came.swap(false, Ordering::Relaxed));
        came.next().map(|&(event, _)| event)
    }

    /// Removes `event`.
    pub(super) fn forget(&self, event: Event) {
        for (_, came) in self.came.iter().filter(|(e, _)| *e == event) {
            came.store(false, Ordering::Relaxed);
        }
    }

    /// Waits for a signal, for one of `others`, or until `until`. Returns the events of each of
    /// `others`.
    pub(super) fn wait<const N: usize>(
        &self,
        others: [Option<PollFd<'_>>; N],
        until: Instant,
    ) -> io::Result<[PollFlags; N]> {
        let mut fds = vec![PollFd::new(self.bell.as_fd(), PollFlags::POLLIN)];
        fds.extend(others.iter().flatten().cloned());
        match poll(&mut fds, timeout(until.saturating_duration_since(Instant::now()))) {
            // The caller handles signals and calls again.
            Ok(0) | Err(Errno::EINTR) => return Ok([PollFlags::empty(); N]),
            Ok(_) => {}
            Err(errno) => return Err(errno.into()),
        }
        let mut came = fds.iter().map(|fd| fd.revents().unwrap_or(PollFlags::empty()));
        if came.next().is_some_and(|bell| !bell.is_empty()) {
            self.silence();
        }
        Ok(others.map(|fd| fd.and_then(|_| came.next()).unwrap_or(PollFlags::empty())))
    }

    /// Writes all of `bytes`. If the reader does not read, a signal ends the wait.
    pub(super) fn write(&self, out: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<()> {
        streams::write_interruptibly(out, bytes, self.bell.as_fd(), || {
            self.silence();
            self.take() == Some(Event::End)
        })
    }

    fn silence(&self) {
        let mut rung = [0; 64];
        while matches!((&self.bell).read(&mut rung), Ok(n) if n == rung.len()) {}
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        for id in self.registered.drain(..) {
            unregister(id);
        }
    }
}

/// A file that something can be read from.
pub(super) fn readable(file: BorrowedFd<'_>) -> PollFd<'_> {
    PollFd::new(file, PollFlags::POLLIN)
}

impl Clock for &Signals {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn wait(&mut self, until: Instant, wake: Option<BorrowedFd<'_>>) -> io::Result<Event> {
        loop {
            if let Some(event) = self.take() {
                return Ok(event);
            }
            if Instant::now() >= until {
                return Ok(Event::Due);
            }
            // The kernel reports the end of the reader even if no event is requested.
            let output = self.output.as_ref().map(|o| PollFd::new(o.as_fd(), PollFlags::empty()));
            let [woken, gone] = Signals::wait(self, [wake.map(readable), output], until)?;
            if streams::is_gone(gone) {
                return Ok(Event::End);
            }
            if !woken.is_empty() {
                return Ok(Event::ReadWanted);
            }
        }
    }
}

/// A timeout of poll(2), in milliseconds. Rounded up, because waking early would only mean waiting
/// again.
fn timeout(duration: Duration) -> PollTimeout {
    let ms = duration.as_nanos().div_ceil(1_000_000);
    PollTimeout::try_from(ms).unwrap_or(PollTimeout::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_file_that_is_readable_ends_the_wait() {
        let signals = Signals::new(&[]).unwrap();
        let (mut near, far) = UnixStream::pair().unwrap();
        let soon = Instant::now() + Duration::from_millis(5);
        assert_eq!(Clock::wait(&mut &signals, soon, Some(far.as_fd())).unwrap(), Event::Due);
        assert!(Instant::now() >= soon);
        near.write_all(b"x").unwrap();
        let never = Instant::now() + Duration::from_secs(600);
        assert_eq!(
            Clock::wait(&mut &signals, never, Some(far.as_fd())).unwrap(),
            Event::ReadWanted
        );
    }

    #[test]
    fn a_signal_ends_the_wait_once() {
        // A signal that nothing else in this process uses.
        let signals = Signals::new(&[(Event::Resized, &[SIGWINCH])]).unwrap();
        nix::sys::signal::raise(nix::sys::signal::SIGWINCH).unwrap();
        let never = Instant::now() + Duration::from_secs(600);
        assert_eq!(Clock::wait(&mut &signals, never, None).unwrap(), Event::Resized);
        let soon = Instant::now() + Duration::from_millis(5);
        assert_eq!(Clock::wait(&mut &signals, soon, None).unwrap(), Event::Due);
    }

    #[test]
    fn an_output_that_nobody_reads_ends_the_wait() {
        let signals = Signals::new(&[]).unwrap();
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let never = Instant::now() + Duration::from_secs(600);
        let output = PollFd::new(writer.as_fd(), PollFlags::empty());
        let [gone] = signals.wait([Some(output)], never).unwrap();
        assert!(streams::is_gone(gone));
    }

    #[test]
    fn timeouts_round_up() {
        assert_eq!(timeout(Duration::from_micros(1_001)), PollTimeout::from(2_u16));
        assert_eq!(timeout(Duration::MAX), PollTimeout::MAX);
    }
}
