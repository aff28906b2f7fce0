//! How often the daemon drains: once per `interval`, or less often if drains would use too much
//! CPU time.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// A CPU has this many times the CPU time that drains may use: 4 %.
const PARTS_OF_A_CPU: u32 = 25;

/// The longest interval that expensive drains lead to. Metrics are not older than this, whatever a
/// drain costs.
const LONGEST: Duration = Duration::from_secs(60);

const TENTH: Duration = Duration::from_millis(100);

/// The cost of the last drains.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pace {
    /// CPU time of the last drain, and of the drain before it.
    costs: [Duration; 2],
}

impl Pace {
    /// Adds the CPU time of a drain.
    pub fn add(&mut self, cost: Duration) {
        self.costs = [cost, self.costs[0]];
    }

    /// The CPU time of a drain. It is the smaller of the last two, because a single drain can be
    /// expensive: the first one, or one that reads many new threads.
    pub fn cost(&self) -> Duration {
        self.costs[0].min(self.costs[1])
    }

    /// The shortest time between drains with which drains use at most 4 % of a CPU, but at most
    /// one minute.
    pub fn shortest(&self) -> Duration {
        (self.cost() * PARTS_OF_A_CPU).min(LONGEST)
    }

    /// The interval in force: `configured`, or longer if drains are expensive, in tenths of a
    /// second.
    pub fn interval(&self, configured: Duration) -> Duration {
        let shortest = self.shortest();
        if shortest <= configured {
            return configured;
        }
        let tenths = shortest.as_nanos().div_ceil(TENTH.as_nanos());
        TENTH * u32::try_from(tenths).unwrap_or(u32::MAX)
    }
}

/// CPU time of the calling thread since its start.
pub fn thread_cpu_time() -> Duration {
    // The call fails only for a clock that does not exist. Then no drain counts as expensive.
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn after(costs_ms: &[u64]) -> Pace {
        let mut pace = Pace::default();
        costs_ms.iter().for_each(|&ms| pace.add(Duration::from_millis(ms)));
        pace
    }

    #[test]
    fn drains_use_at_most_4_percent_of_a_cpu() {
        for ms in [1, 39, 40, 41, 137, 2_000] {
            let pace = after(&[ms, ms]);
            let share = pace.cost().as_secs_f64() / pace.interval(SECOND).as_secs_f64();
            assert!(share <= 0.04, "{ms} ms: {share}");
        }
        assert_eq!(after(&[40, 40]).interval(SECOND), SECOND);
        assert_eq!(after(&[137, 137]).interval(SECOND), Duration::from_millis(3_500));
    }

    #[test]
    fn one_expensive_drain_changes_nothing() {
        assert_eq!(after(&[2_000]).interval(SECOND), SECOND);
        assert_eq!(after(&[5, 2_000]).interval(SECOND), SECOND);
        assert_eq!(after(&[2_000, 5]).interval(SECOND), SECOND);
    }

    #[test]
    fn the_configured_interval_is_the_least_and_a_minute_the_most() {
        let hour = Duration::from_secs(3_600);
        assert_eq!(after(&[137, 137]).interval(hour), hour);
        assert_eq!(after(&[9_000, 9_000]).interval(SECOND), LONGEST);
    }

    #[test]
    fn only_the_time_of_this_thread_counts() {
        let before = thread_cpu_time();
        std::thread::spawn(|| {
            let start = thread_cpu_time();
            while thread_cpu_time() < start + Duration::from_millis(50) {
                std::hint::spin_loop();
            }
        })
        .join()
        .expect("ends");
        let own = thread_cpu_time().saturating_sub(before);
        // Starting a thread and waiting for it takes far less than the spinning thread.
        assert!(own < Duration::from_millis(40), "{own:?}");
    }
}
