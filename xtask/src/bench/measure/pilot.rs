//! A short loop of calls, whose cost shows whether a tool is attached.

use std::time::Instant;

use crate::bench::statistics::{least, median};

const CALLS: u32 = 5_000;

/// The factor by which calls have to become slower. Even tools that use perf add at least nine
/// tenths to a call.
const DEARER: f64 = 1.2;

/// How many measurements in succession have to be slower.
const IN_A_ROW: usize = 3;

/// The cost of a call before and now.
pub(super) struct Pilot {
    before: f64,
    now: Vec<f64>,
}

impl Pilot {
    pub(super) fn new() -> Self {
        Self { before: f64::INFINITY, now: Vec::new() }
    }

    /// Measures the cost with nothing attached.
    pub(super) fn before(&mut self) {
        let samples: Vec<_> = (0..9).map(|_| measured()).collect();
        // Disturbed samples must not raise the threshold.
        self.before = f64::max(least(&samples), median(&samples).min(least(&samples) * DEARER));
        self.now.clear();
    }

    /// Measures again. Returns whether calls were slower often enough.
    pub(super) fn is_dearer(&mut self) -> bool {
        self.now.push(measured());
        is_dearer(self.before, &self.now)
    }
}

fn is_dearer(before: f64, now: &[f64]) -> bool {
    now.len() >= IN_A_ROW
        && now[now.len() - IN_A_ROW..].iter().all(|sample| *sample > before * DEARER)
}

fn measured() -> f64 {
    let start = Instant::now();
    for _ in 0..CALLS {
        // SAFETY: takes no argument.
        std::hint::black_box(unsafe { libc::syscall(libc::SYS_getppid) });
    }
    start.elapsed().as_nanos() as f64 / f64::from(CALLS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_disturbance_is_no_tool() {
        assert!(!is_dearer(100.0, &[200.0]));
        assert!(!is_dearer(100.0, &[200.0, 110.0, 200.0]));
        assert!(!is_dearer(100.0, &[200.0, 200.0, 200.0, 110.0]));
        assert!(is_dearer(100.0, &[110.0, 200.0, 190.0, 195.0]));
    }
}
