//! A token bucket, which limits requests.

use std::{
    sync::{Mutex, PoisonError},
    time::Instant,
};

use super::file::Rate;

/// Tokens, of which each request takes one.
#[derive(Debug)]
pub(super) struct Bucket {
    rate: Rate,
    state: Mutex<(f64, Instant)>,
}

impl Bucket {
    /// A full bucket.
    pub(super) fn new(rate: Rate, now: Instant) -> Self {
        Self { rate, state: Mutex::new((rate.burst.into(), now)) }
    }

    /// Takes a token. Returns `false` if there is none.
    pub(super) fn take(&self, now: Instant) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (tokens, last) = *state;
        let come =
            now.saturating_duration_since(last).as_secs_f64() / self.rate.interval.as_secs_f64();
        let tokens = (tokens + come).min(self.rate.burst.into());
        let is_allowed = tokens >= 1.0;
        *state = (if is_allowed { tokens - 1.0 } else { tokens }, now);
        is_allowed
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_burst_is_followed_by_one_request_an_interval() {
        let start = Instant::now();
        let bucket = Bucket::new(Rate { interval: Duration::from_secs(1), burst: 2 }, start);
        let at = |ms| bucket.take(start + Duration::from_millis(ms));
        let taken = [0, 0, 0, 500, 1_000, 1_500, 2_001, 10_000, 10_000, 10_000].map(at);
        assert_eq!(taken, [true, true, false, false, true, false, true, true, true, false]);
        let none = Bucket::new(Rate { interval: Duration::from_secs(1), burst: 0 }, start);
        assert!(!none.take(start + Duration::from_secs(9)), "a burst of 0 refuses everything");
    }
}
