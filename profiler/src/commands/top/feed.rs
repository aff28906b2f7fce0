//! Takes snapshots for the screen. Reads the engine between two snapshots too, so that the kernel's
//! tables do not fill up in a long interval.

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

/// The end of a wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Event {
    /// The deadline has passed.
    Due,
    /// [`Engine::wake_fd`] is readable.
    ReadWanted,
    /// A key was pressed.
    Key(KeyEvent),
    /// The size of the terminal has changed.
    Resized,
    /// The process must stop until SIGCONT.
    Stop,
    /// The process was stopped, and continues.
    Continued,
    /// The process must end.
    End,
}

/// A clock that can wait for events.
pub(super) trait Clock {
    /// The current time.
    fn now(&self) -> Instant;

    /// Waits for an event, for `wake`, or until `until`.
    fn wait(&mut self, until: Instant, wake: Option<BorrowedFd<'_>>) -> io::Result<Event>;
}

/// An engine, the time of its last reading, and the intervals between refreshes.
pub(super) struct Feed<'a, E> {
    engine: &'a mut E,
    cadence: Cadence,
    intervals: Intervals,
    detail: Detail,
}

impl<'a, E: Engine> Feed<'a, E> {
    /// A feed of `engine`, which starts to count at `now`.
    pub(super) fn new(engine: &'a mut E, now: Instant) -> Self {
        let (cadence, intervals) = (Cadence::new(now), Intervals::default());
        Self { engine, cadence, intervals, detail: Detail::Processes }
    }

    /// Takes a snapshot, with the interval since the previous refresh.
    pub(super) fn refresh(&mut self, clock: &impl Clock) -> Snapshot {
        let started = clock.now();
        let snapshot = self.engine.snapshot(self.detail);
        self.cadence.was_read(started, clock.now());
        self.intervals.end_with(snapshot)
    }

    /// Sets the detail of further snapshots.
    pub(super) fn set_detail(&mut self, detail: Detail) {
        self.engine.set_detail(detail);
        self.detail = detail;
        // If threads are requested again later, the serial numbers of threads differ.
        self.intervals.forget_threads();
    }

    /// Sets how long the engine lists an ended process.
    pub(super) fn keep_ended(&mut self, time: Duration) {
        self.engine.keep_ended(time);
    }

    /// Starts or stops timing the programs.
    pub(super) fn time_programs(&mut self, on: bool) {
        self.engine.time_programs(on);
    }

    /// Waits for an event that does not concern the engine, or until `until`. Meanwhile, reads the
    /// engine whenever the cadence or the engine requires a reading.
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
