//! Where snapshots come from, and when: at each refresh, and before its time when
//! the kernel side asks for it.

use std::{
    io,
    os::fd::BorrowedFd,
    time::{Duration, Instant},
};

use crossterm::event::KeyEvent;

use crate::{
    drain::Profiler,
    snapshot::{Detail, Snapshot},
};

use super::join::join;

/// At least this long between two drains that the kernel side asks for: it may
/// ask again at once, and a drain has its cost.
const LEAST_GAP: Duration = Duration::from_millis(100);

/// What snapshots are drained from.
pub(crate) trait Source {
    /// What happened since the drain before.
    fn drain(&mut self) -> Snapshot;

    /// Readable when a drain is wanted before its time.
    fn wake_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

impl Source for Profiler {
    fn drain(&mut self) -> Snapshot {
        Profiler::drain(self, Detail::Processes)
    }

    fn wake_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(Profiler::wake_fd(self))
    }
}

/// What ends a wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Event {
    /// The time has come.
    Due,
    /// [`Source::wake_fd`] is readable.
    DrainWanted,
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

/// A source, drained as often as it wants, with one snapshot a refresh.
pub(super) struct Feed<'a, S> {
    source: &'a mut S,
    /// What early drains brought, for the next refresh.
    early: Option<Snapshot>,
    last_drain: Option<Instant>,
}

impl<'a, S: Source> Feed<'a, S> {
    /// Feeds from `source`.
    pub(super) fn new(source: &'a mut S) -> Self {
        Self { source, early: None, last_drain: None }
    }

    /// All that happened since the refresh before.
    pub(super) fn refresh(&mut self, now: Instant) -> Snapshot {
        self.last_drain = Some(now);
        let later = self.source.drain();
        match self.early.take() {
            Some(earlier) => join(earlier, later),
            None => later,
        }
    }

    /// Waits for an event that is not the source's business, until `until` at the
    /// latest, and drains meanwhile when the source wants it.
    pub(super) fn wait(&mut self, clock: &mut impl Clock, until: Instant) -> io::Result<Event> {
        loop {
            let now = clock.now();
            let deaf_until = self.last_drain.map(|last| last + LEAST_GAP).filter(|&end| end > now);
            let event = match deaf_until {
                Some(end) if end < until => clock.wait(end, None)?,
                Some(_) => clock.wait(until, None)?,
                None => clock.wait(until, self.source.wake_fd())?,
            };
            match event {
                Event::DrainWanted => {
                    let now = clock.now();
                    self.early = Some(self.refresh(now));
                }
                Event::Due if clock.now() < until => {}
                event => return Ok(event),
            }
        }
    }
}
