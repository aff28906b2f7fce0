//! Where snapshots come from, and what is read between two of them, so that the
//! kernel side does not run out of room however long the interval is.

use std::{
    io,
    os::fd::BorrowedFd,
    time::{Duration, Instant},
};

use crossterm::event::KeyEvent;

use crate::{
    engine::{Intervals, kernel::drain::Profiler},
    model::{Detail, Snapshot},
};

/// At most this long between two readings: often enough that short-lived processes
/// give their room back.
const READ_EVERY: Duration = Duration::from_secs(1);
/// At least this long between two readings that the kernel side asks for: it may
/// ask again at once, and a reading has its cost.
const LEAST_GAP: Duration = Duration::from_millis(100);

/// What snapshots are drained from.
pub(crate) trait Source {
    /// What happened since the drain before.
    fn drain(&mut self) -> Snapshot;

    /// Reads what happened, for the next drain.
    fn read(&mut self);

    /// Has the kernel time the programs from now on, or no longer.
    fn time_programs(&mut self, on: bool);

    /// Readable when a reading is wanted before its time.
    fn wake_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

/// Attached programs, and the intervals between refreshes.
pub(super) struct Watch {
    pub(super) profiler: Profiler,
    pub(super) intervals: Intervals,
}

impl Source for Watch {
    fn drain(&mut self) -> Snapshot {
        self.intervals.end_with(self.profiler.drain(Detail::Processes))
    }

    fn read(&mut self) {
        self.profiler.read();
    }

    fn time_programs(&mut self, on: bool) {
        self.profiler.time_programs(on);
    }

    fn wake_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.profiler.wake_fd())
    }
}

/// What ends a wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Event {
    /// The time has come.
    Due,
    /// [`Source::wake_fd`] is readable.
    ReadWanted,
    /// A key was pressed.
    Key(KeyEvent),
    /// The terminal has another size.
    Resized,
    /// The process is to stop until continued.
    Stop,
    /// The process was stopped, and goes on.
    Continued,
    /// The process is to end.
    End,
}

/// Time, and what may happen in it.
pub(super) trait Clock {
    /// The time.
    fn now(&self) -> Instant;

    /// Waits for an event, until `until` at the latest; for `wake` too.
    fn wait(&mut self, until: Instant, wake: Option<BorrowedFd<'_>>) -> io::Result<Event>;
}

/// A source, and when it was read.
pub(super) struct Feed<'a, S> {
    source: &'a mut S,
    last_read: Instant,
}

impl<'a, S: Source> Feed<'a, S> {
    /// Feeds from `source`, which begins to count at `now`.
    pub(super) fn new(source: &'a mut S, now: Instant) -> Self {
        Self { source, last_read: now }
    }

    /// All that happened since the refresh before.
    pub(super) fn refresh(&mut self, now: Instant) -> Snapshot {
        self.last_read = now;
        self.source.drain()
    }

    /// Has the programs timed from now on, or no longer.
    pub(super) fn time_programs(&mut self, on: bool) {
        self.source.time_programs(on);
    }

    /// Waits for an event that is not the source's business, until `until` at the
    /// latest, and reads meanwhile when it is time or when the source wants it.
    pub(super) fn wait(&mut self, clock: &mut impl Clock, until: Instant) -> io::Result<Event> {
        loop {
            let deaf_until = self.last_read + LEAST_GAP;
            let event = if clock.now() < deaf_until {
                clock.wait(until.min(deaf_until), None)?
            } else {
                clock.wait(until.min(self.last_read + READ_EVERY), self.source.wake_fd())?
            };
            let now = clock.now();
            let read = match event {
                Event::ReadWanted => true,
                Event::Due if now < until => now >= self.last_read + READ_EVERY,
                event => return Ok(event),
            };
            if read {
                self.last_read = now;
                self.source.read();
            }
        }
    }
}
