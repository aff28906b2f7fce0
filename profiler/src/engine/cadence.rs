//! Decides when an engine is read, for all its consumers.

use std::time::{Duration, Instant};

/// The longest time between two readings. Readings free the records of ended processes, so a
/// longer time would fill the tables with short-lived processes.
const LONGEST: Duration = Duration::from_secs(1);

/// The shortest time between two readings that the engine requests. While its tables are nearly
/// full, the engine requests a reading for every new thread.
const LEAST: Duration = Duration::from_millis(20);

/// When an engine was read last, and when it has to be read next.
#[derive(Clone, Copy, Debug)]
pub struct Cadence {
    last: Instant,
    /// A request before this time is ignored.
    deaf_until: Instant,
}

impl Cadence {
    /// The cadence of an engine that counts from `now` on.
    pub fn new(now: Instant) -> Self {
        Self { last: now, deaf_until: now }
    }

    /// Notes that the engine was read from `started` to `ended`.
    ///
    /// Requests are then ignored for as long as the reading took, and for at least 20 ms. So
    /// requested readings use at most half of a CPU.
    pub fn was_read(&mut self, started: Instant, ended: Instant) {
        self.last = started;
        self.deaf_until = ended + ended.saturating_duration_since(started).max(LEAST);
    }

    /// When the engine has to be read, with or without a request.
    pub fn due(&self) -> Instant {
        self.last + LONGEST
    }

    /// When the engine may be read on request.
    pub fn deaf_until(&self) -> Instant {
        self.deaf_until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reading_that_takes_long_is_followed_by_as_long_a_pause() {
        let start = Instant::now();
        let ms = |ms| start + Duration::from_millis(ms);
        let mut cadence = Cadence::new(start);
        assert_eq!((cadence.deaf_until(), cadence.due()), (start, ms(1_000)));
        cadence.was_read(ms(100), ms(101));
        assert_eq!((cadence.deaf_until(), cadence.due()), (ms(121), ms(1_100)));
        cadence.was_read(ms(200), ms(500));
        assert_eq!((cadence.deaf_until(), cadence.due()), (ms(800), ms(1_200)));
    }
}
