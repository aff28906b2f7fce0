//! Whether the machine does anything else.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

/// How long it is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// Percent of all CPUs' time that may be used.
const QUIET: f64 = 5.0;

/// How long to wait for that.
const PATIENCE: Duration = Duration::from_secs(10);

/// Waits until the machine is quiet, or until it has been too long; percent of all CPUs'
/// time that is used by then.
pub(super) fn awaited() -> Result<f64> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        super::child::check()?;
        let before = Ticks::now()?;
        thread::sleep(LOOK);
        let busy = Ticks::now()?.busy_since(before);
        if busy <= QUIET || Instant::now() > deadline {
            return Ok(busy);
        }
    }
}

/// Of all CPUs together, since boot.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Ticks {
    all: u64,
    idle: u64,
}

impl Ticks {
    fn now() -> Result<Self> {
        Self::parse(&fs::read_to_string("/proc/stat")?).context("/proc/stat has no times")
    }

    fn parse(stat: &str) -> Option<Self> {
        // user nice system idle iowait irq softirq steal; what follows is in user already.
        let times = stat.lines().next()?.strip_prefix("cpu ")?;
        let times: Vec<u64> =
            times.split_whitespace().take(8).map_while(|time| time.parse().ok()).collect();
        (times.len() == 8).then(|| Self { all: times.iter().sum(), idle: times[3] + times[4] })
    }

    fn busy_since(self, before: Self) -> f64 {
        let all = self.all.saturating_sub(before.all);
        let idle = self.idle.saturating_sub(before.idle);
        if all == 0 { 0.0 } else { 100.0 * all.saturating_sub(idle) as f64 / all as f64 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stolen_is_not_idle_and_what_waits_for_a_disk_is() {
        let before = Ticks::parse("cpu  100 0 50 800 40 1 2 7 9 9\ncpu0 1 2").expect("times");
        assert_eq!(before, Ticks { all: 1000, idle: 840 });
        let after = Ticks::parse("cpu  110 0 50 880 50 1 2 7 9 9").expect("times");
        assert_eq!(after.busy_since(before), 10.0);
        let stolen = Ticks::parse("cpu  100 0 50 850 40 1 2 57 9 9").expect("times");
        assert_eq!(stolen.busy_since(before), 50.0);
        assert_eq!(Ticks::parse("intr 1 2 3"), None);
    }
}
