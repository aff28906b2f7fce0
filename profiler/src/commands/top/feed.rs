//! Where snapshots come from, and what is read between two of them, so that the
//! kernel side does not run out of room however long the interval is.

use std::{
    io,
    os::fd::BorrowedFd,
    time::{Duration, Instant},
};

use crossterm::event::KeyEvent;

use crate::{
    engine::{Cadence, Engine, Intervals},
    model::{Detail, Snapshot},
};

/// What ends a wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Event {
    /// The time has come.
    Due,
    /// [`Engine::wake_fd`] is readable.
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

/// An engine, when it was read, and the intervals between refreshes.
pub(super) struct Feed<'a, E> {
    engine: &'a mut E,
    cadence: Cadence,
    intervals: Intervals,
    detail: Detail,
}

impl<'a, E: Engine> Feed<'a, E> {
    /// Feeds from `engine`, which begins to count at `now`.
    pub(super) fn new(engine: &'a mut E, now: Instant) -> Self {
        let (cadence, intervals) = (Cadence::new(now), Intervals::default());
        Self { engine, cadence, intervals, detail: Detail::Processes }
    }

    /// All that happened, with what is new since the refresh before.
    pub(super) fn refresh(&mut self, clock: &impl Clock) -> Snapshot {
        let started = clock.now();
        let snapshot = self.engine.snapshot(self.detail);
        self.cadence.was_read(started, clock.now());
        self.intervals.end_with(snapshot)
    }

    /// Sets how detailed the snapshots are from now on.
    pub(super) fn set_detail(&mut self, detail: Detail) {
        self.engine.set_detail(detail);
        self.detail = detail;
        // If threads are requested again later, they have other serial numbers.
        self.intervals.forget_threads();
    }

    /// Has the engine list an ended process for this time.
    pub(super) fn keep_ended(&mut self, time: Duration) {
        self.engine.keep_ended(time);
    }

    /// Has the programs timed from now on, or no longer.
    pub(super) fn time_programs(&mut self, on: bool) {
        self.engine.time_programs(on);
    }

    /// Waits for an event that is not the engine's business, until `until` at the
    /// latest, and reads meanwhile when it is time or when the engine wants it.
    pub(super) fn wait(&mut self, clock: &mut impl Clock, until: Instant) -> io::Result<Event> {
        loop {
            let (deaf_until, due) = (self.cadence.deaf_until(), self.cadence.due());
            let event = if clock.now() < deaf_until {
                clock.wait(until.min(deaf_until), None)?
            } else {
                clock.wait(until.min(due), self.engine.wake_fd())?
            };
            let now = clock.now();
            let read = match event {
                Event::ReadWanted => true,
                Event::Due if now < until => now >= due,
                event => return Ok(event),
            };
            if read {
                self.engine.read();
                self.cadence.was_read(now, clock.now());
            }
        }
    }
}
