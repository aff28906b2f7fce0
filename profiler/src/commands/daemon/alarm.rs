//! Decides when losses are logged.

use std::time::{Duration, Instant};

use crate::model::Health;

/// Minimum time between two messages about the same kind of loss.
const QUIET: Duration = Duration::from_secs(60);

/// The losses that were logged so far.
#[derive(Debug, Default)]
pub struct Alarms {
    lost: Alarm,
    overflowed: Alarm,
    breaches: Alarm,
    missed: Alarm,
    pace: Change,
}

/// The losses to log now: the increase since the last message.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Due {
    /// Events that were not counted.
    pub lost: Option<u64>,
    /// Calls that were counted without their process, because the tables were full.
    pub overflowed: Option<u64>,
    /// Threads, processes and syscalls that failed the accounting checks.
    pub breaches: Option<u64>,
}

impl Alarms {
    /// How many further drains were missed. `None` if that is not logged now.
    pub fn check_missed(&mut self, missed: u64, now: Instant) -> Option<u64> {
        self.missed.check(missed, now)
    }

    /// Whether to log that drains are now expensive, or no longer are.
    pub fn check_pace(&mut self, is_expensive: bool, now: Instant) -> bool {
        self.pace.check(is_expensive, now)
    }

    /// Checks the losses of a new reading.
    pub fn check(&mut self, health: &Health, now: Instant) -> Due {
        Due {
            lost: self.lost.check(health.lost(), now),
            overflowed: self.overflowed.check(health.overflowed, now),
            breaches: self.breaches.check(health.breaches, now),
        }
    }
}

#[derive(Debug, Default)]
struct Alarm {
    said: u64,
    last: Option<Instant>,
}

impl Alarm {
    fn check(&mut self, count: u64, now: Instant) -> Option<u64> {
        let more = count.checked_sub(self.said).filter(|&more| more > 0)?;
        if self.last.is_some_and(|last| now.duration_since(last) < QUIET) {
            return None;
        }
        *self = Self { said: count, last: Some(now) };
        Some(more)
    }
}

/// A state that is logged when it changes.
#[derive(Debug, Default)]
struct Change {
    said: bool,
    last: Option<Instant>,
}

impl Change {
    fn check(&mut self, state: bool, now: Instant) -> bool {
        if state == self.said || self.last.is_some_and(|last| now.duration_since(last) < QUIET) {
            return false;
        }
        *self = Self { said: state, last: Some(now) };
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_growing_loss_is_told_once_a_minute() {
        let start = Instant::now();
        let mut alarm = Alarm::default();
        let mut at = |seconds, count| alarm.check(count, start + Duration::from_secs(seconds));
        assert_eq!(at(0, 0), None);
        assert_eq!(at(1, 5), Some(5));
        assert_eq!(at(2, 7), None);
        assert_eq!(at(60, 9), None);
        assert_eq!(at(61, 9), Some(4));
        assert_eq!(at(500, 9), None);
    }

    #[test]
    fn a_state_that_flickers_is_told_once_a_minute() {
        let start = Instant::now();
        let mut change = Change::default();
        let mut at = |seconds, state| change.check(state, start + Duration::from_secs(seconds));
        assert!(!at(0, false));
        assert!(at(1, true));
        assert!(!at(2, false));
        assert!(!at(3, true));
        assert!(!at(70, true));
        assert!(at(71, false));
    }
}
