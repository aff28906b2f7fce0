//! What the profiler itself costs: its programs in the kernel, and its process.

use std::{collections::HashMap, time::Duration};

use profiler_common::hist;

use serde::{Deserialize, Serialize};

use super::{ENTRY, EXIT, Latency, Program, Runs, Untimed};

/// What the profiler costs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    /// Time from the attach to this reading.
    pub elapsed: Duration,
    /// CPU time of the profiler's process since the process started.
    pub cpu: CpuTime,
    /// The part of `cpu` until the programs were attached.
    pub cpu_to_attach: CpuTime,
    /// Resident memory of the profiler's process in bytes, with shared mappings. 0 without /proc.
    pub resident_bytes: u64,
    /// Maximum of the resident memory since the start, in bytes.
    pub peak_resident_bytes: u64,
    /// Durations of the drains.
    pub drains: Times,
    /// The programs in the kernel.
    pub programs: Vec<Program>,
    /// What the programs cost the threads that make calls.
    pub timing: Timing,
}

/// CPU time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuTime {
    /// Time in user mode.
    pub user: Duration,
    /// Time in kernel mode.
    pub system: Duration,
}

impl CpuTime {
    /// The sum of user and system time.
    pub fn total(self) -> Duration {
        self.user + self.system
    }

    /// The CPU time since `before`.
    pub fn since(self, before: Self) -> Self {
        Self {
            user: self.user.saturating_sub(before.user),
            system: self.system.saturating_sub(before.system),
        }
    }
}

/// The kernel's statistics of the programs, or why there are none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Timing {
    /// The kernel did not measure the programs, for this reason.
    No(Untimed),
    /// The statistics of the current period. The kernel's statistics can be switched on and off,
    /// and each period starts at zero.
    Of {
        /// Number of the period. Each period has another number.
        period: u64,
        /// Length of the period so far.
        time: Duration,
        /// Runs in the period, for each of [`Cost::programs`] in the same order.
        runs: Vec<Runs>,
    },
}

impl Default for Timing {
    fn default() -> Self {
        Self::No(Untimed::Off)
    }
}

impl Timing {
    /// The statistics since `before`. If `before` is of another period, all of the current period.
    fn since(&self, before: &Self) -> Self {
        let Self::Of { period, time, runs } = self else { return self.clone() };
        let Self::Of { period: old_period, time: old_time, runs: old } = before else {
            return self.clone();
        };
        if period != old_period {
            return self.clone();
        }
        let runs = runs.iter().zip(old).map(|(new, old)| runs_since(*new, *old)).collect();
        Self::Of { period: *period, time: time.saturating_sub(*old_time), runs }
    }
}

/// The runs since `before`.
pub(crate) fn runs_since(now: Runs, before: Runs) -> Runs {
    Runs {
        count: now.count.saturating_sub(before.count),
        events: now.events.saturating_sub(before.events),
        time: now.time.saturating_sub(before.time),
    }
}

impl Cost {
    /// The cost since `before`. Sizes are the current sizes.
    pub fn since(&self, before: &Self) -> Self {
        Self {
            elapsed: self.elapsed.saturating_sub(before.elapsed),
            cpu: self.cpu.since(before.cpu),
            drains: self.drains.since(&before.drains),
            timing: self.timing.since(&before.timing),
            ..self.clone()
        }
    }

    /// The cost since the attach.
    pub fn since_attached(&self) -> Self {
        Self { cpu: self.cpu.since(self.cpu_to_attach), ..self.clone() }
    }

    /// Number of CPUs that the process used on average.
    pub fn own_cpus(&self) -> Option<f64> {
        share(self.cpu.total(), self.elapsed)
    }

    /// The programs, each with its runs if these are known.
    pub fn by_program(&self) -> impl Iterator<Item = (&Program, Option<Runs>)> {
        let runs = match &self.timing {
            Timing::Of { runs, .. } => runs.as_slice(),
            Timing::No(_) => &[],
        };
        self.programs.iter().zip(runs.iter().copied().map(Some).chain(std::iter::repeat(None)))
    }

    /// The sum of the runs of all programs. `None` if the runs are unknown.
    pub fn all_runs(&self) -> Option<Runs> {
        let Timing::Of { runs, .. } = &self.timing else { return None };
        Some(runs.iter().fold(Runs::default(), |sum, of| Runs {
            count: sum.count + of.count,
            events: sum.events + of.events,
            time: sum.time + of.time,
        }))
    }

    /// Number of CPUs that the programs used on average.
    pub fn programs_cpus(&self) -> Option<f64> {
        let Timing::Of { time, .. } = &self.timing else { return None };
        share(self.all_runs()?.time, *time)
    }

    /// Mean time per call in nanoseconds: of the program at entry and the program at exit together.
    /// Excludes the time of the tracepoints themselves.
    pub fn ns_a_call(&self) -> Option<f64> {
        let of = |name| {
            let (_, runs) = self.by_program().find(|(program, _)| program.name == name)?;
            let runs = runs.filter(|runs| runs.events > 0)?;
            Some(runs.time.as_nanos() as f64 / runs.events as f64)
        };
        Some(of(ENTRY)? + of(EXIT)?)
    }
}

fn share(busy: Duration, of: Duration) -> Option<f64> {
    (!of.is_zero()).then(|| busy.as_secs_f64() / of.as_secs_f64())
}

/// Durations of a repeated action.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Times {
    /// The most recent duration.
    pub last: Duration,
    /// The sum of all durations.
    pub total: Duration,
    /// The longest duration.
    pub longest: Duration,
    /// Histogram of all durations.
    pub spread: Latency,
}

impl Times {
    /// Adds a duration.
    pub fn add(&mut self, took: Duration) {
        self.last = took;
        self.total += took;
        self.longest = self.longest.max(took);
        self.spread.record(nanoseconds(took));
    }

    /// The number of durations.
    pub fn count(&self) -> u64 {
        self.spread.count()
    }

    /// The median duration.
    pub fn median(&self) -> Duration {
        let [median] = self.spread.quantiles([0.5], 0, nanoseconds(self.longest));
        Duration::from_nanos(median)
    }

    /// The durations since `before`. The longest is exact if it exceeds all earlier durations, or
    /// if it is the only one. Otherwise it is the upper bound of its bucket.
    fn since(&self, before: &Self) -> Self {
        let known: HashMap<usize, u64> = before.spread.iter().collect();
        let new = |(bucket, count)| (bucket, count - known.get(&bucket).copied().unwrap_or(0));
        let spread: Latency = self.spread.iter().map(new).collect();
        let bound = spread.iter().next_back().map_or(0, |(bucket, _)| hist::upper(bucket));
        let total = self.total.saturating_sub(before.total);
        let longest = if self.longest > before.longest {
            self.longest
        } else {
            self.longest.min(Duration::from_nanos(bound)).min(total)
        };
        Self { last: self.last, total, longest, spread }
    }
}

/// A duration in nanoseconds. From 584 years on, [`u64::MAX`].
pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(count: u64, ns: u64) -> Runs {
        Runs { count, events: count, time: Duration::from_nanos(ns) }
    }

    fn cost(period: u64, ms: u64, entries: Runs, exits: Runs) -> Cost {
        let program = |name: &str| Program { name: name.into(), copies: 1, ..Program::default() };
        Cost {
            programs: vec![program(ENTRY), program(EXIT)],
            timing: Timing::Of {
                period,
                time: Duration::from_millis(ms),
                runs: vec![entries, exits],
            },
            ..Cost::default()
        }
    }

    #[test]
    fn shares_are_of_the_time_in_which_the_kernel_timed() {
        let first = cost(1, 1_000, runs(1_000, 40_000), runs(900, 45_000));
        let then = cost(1, 3_000, runs(101_000, 4_040_000), runs(100_900, 6_045_000));
        let spent = then.since(&first);
        assert_eq!(spent.all_runs(), Some(runs(200_000, 10_000_000)));
        // 10 ms of 2 s on one of two CPUs.
        assert_eq!(spent.programs_cpus(), Some(0.005));
        assert_eq!(spent.ns_a_call(), Some(40.0 + 60.0));
        // The statistics were switched off and on, so the figures of the new period are not
        // differences.
        let again = cost(2, 500, runs(10, 500), runs(10, 500));
        assert_eq!(again.since(&then).programs_cpus(), Some(1_000.0 / 5e8));
    }

    #[test]
    fn with_several_copies_a_call_costs_what_all_of_them_do() {
        let entries = Runs { count: 400, events: 100, time: Duration::from_nanos(16_000) };
        assert_eq!(cost(1, 1, entries, runs(100, 5_000)).ns_a_call(), Some(160.0 + 50.0));
    }

    #[test]
    fn what_is_not_known_is_not_nothing() {
        let untimed =
            Cost { timing: Timing::No(Untimed::Privilege), ..cost(1, 1, runs(1, 1), runs(1, 1)) };
        assert_eq!((untimed.all_runs(), untimed.programs_cpus()), (None, None));
        assert_eq!(untimed.ns_a_call(), None);
        assert!(untimed.by_program().all(|(_, runs)| runs.is_none()));
        // Timed, but without runs, so there is no mean.
        let idle = cost(1, 0, Runs::default(), Runs::default());
        assert_eq!((idle.ns_a_call(), idle.programs_cpus()), (None, None));
    }

    #[test]
    fn cpu_time_until_attached_is_set_apart() {
        let ms = Duration::from_millis;
        let cost = Cost {
            cpu: CpuTime { user: ms(80), system: ms(60) },
            cpu_to_attach: CpuTime { user: ms(70), system: ms(20) },
            elapsed: Duration::from_secs(1),
            ..Cost::default()
        };
        let spent = cost.since_attached();
        assert_eq!(spent.cpu, CpuTime { user: ms(10), system: ms(40) });
        assert_eq!(spent.own_cpus(), Some(0.05));
        assert_eq!(cost.since(&cost).own_cpus(), None, "no time has passed");
    }

    #[test]
    fn times_add_up_and_have_differences() {
        let ms = Duration::from_millis;
        let mut times = Times::default();
        [ms(2), ms(9), ms(1)].into_iter().for_each(|took| times.add(took));
        assert_eq!((times.count(), times.total, times.longest), (3, ms(12), ms(9)));
        let before = times.clone();
        times.add(ms(4));
        assert_eq!(times.since(&before).longest, ms(4), "the only one");
        times.add(ms(3));
        let since = times.since(&before);
        assert_eq!((since.count(), since.total, since.last), (2, ms(7), ms(3)));
        // Within its bucket.
        assert!(since.longest >= ms(4) && since.longest <= ms(4).mul_f64(1.125), "{since:?}");
        times.add(ms(10));
        assert_eq!(times.since(&before).longest, ms(10));
    }
}
