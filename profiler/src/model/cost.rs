//! What the profiler itself costs: its programs in the kernel, and its process.

use std::{collections::HashMap, time::Duration};

use profiler_common::hist;

use serde::{Deserialize, Serialize};

use super::{ENTRY, EXIT, Latency, Program, Runs, Untimed};

/// What the profiler costs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    /// From the moment the programs were attached until this was read.
    pub elapsed: Duration,
    /// CPU time of its process since its start.
    pub cpu: CpuTime,
    /// Of that, until the programs were attached.
    pub cpu_to_attach: CpuTime,
    /// Resident memory of its process, shared mappings included, bytes; 0 without /proc.
    pub resident_bytes: u64,
    /// The most that was ever resident.
    pub peak_resident_bytes: u64,
    /// Readings of the kernel's maps.
    pub drains: Times,
    /// The programs in the kernel.
    pub programs: Vec<Program>,
    /// What these cost those who make calls.
    pub timing: Timing,
}

/// CPU time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CpuTime {
    /// In the process's own code.
    pub user: Duration,
    /// In the kernel for it.
    pub system: Duration,
}

impl CpuTime {
    /// Both.
    pub fn total(self) -> Duration {
        self.user + self.system
    }

    /// What came after `before`.
    pub fn since(self, before: Self) -> Self {
        Self {
            user: self.user.saturating_sub(before.user),
            system: self.system.saturating_sub(before.system),
        }
    }
}

/// The kernel's statistics of the programs, or why it keeps none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Timing {
    /// It keeps none.
    No(Untimed),
    /// What came since it did.
    Of {
        /// Which time it is that it does: another number each time.
        spell: u64,
        /// Since when.
        time: Duration,
        /// By program, as in [`Cost::programs`].
        runs: Vec<Runs>,
    },
}

impl Default for Timing {
    fn default() -> Self {
        Self::No(Untimed::Off)
    }
}

impl Timing {
    /// What came after `before`; all, if that was before the kernel kept these.
    fn since(&self, before: &Self) -> Self {
        let Self::Of { spell, time, runs } = self else { return self.clone() };
        let Self::Of { spell: old_spell, time: old_time, runs: old } = before else {
            return self.clone();
        };
        if spell != old_spell {
            return self.clone();
        }
        let runs = runs.iter().zip(old).map(|(new, old)| runs_since(*new, *old)).collect();
        Self::Of { spell: *spell, time: time.saturating_sub(*old_time), runs }
    }
}

/// How often a program ran after it had run so often as in `before`.
pub(crate) fn runs_since(now: Runs, before: Runs) -> Runs {
    Runs {
        count: now.count.saturating_sub(before.count),
        events: now.events.saturating_sub(before.events),
        time: now.time.saturating_sub(before.time),
    }
}

impl Cost {
    /// What was spent after `before`; sizes as they are now.
    pub fn since(&self, before: &Self) -> Self {
        Self {
            elapsed: self.elapsed.saturating_sub(before.elapsed),
            cpu: self.cpu.since(before.cpu),
            drains: self.drains.since(&before.drains),
            timing: self.timing.since(&before.timing),
            ..self.clone()
        }
    }

    /// What was spent after the programs were attached.
    pub fn since_attached(&self) -> Self {
        Self { cpu: self.cpu.since(self.cpu_to_attach), ..self.clone() }
    }

    /// CPUs that the process kept busy.
    pub fn own_cpus(&self) -> Option<f64> {
        share(self.cpu.total(), self.elapsed)
    }

    /// The programs, with how often each ran where that is known.
    pub fn by_program(&self) -> impl Iterator<Item = (&Program, Option<Runs>)> {
        let runs = match &self.timing {
            Timing::Of { runs, .. } => runs.as_slice(),
            Timing::No(_) => &[],
        };
        self.programs.iter().zip(runs.iter().copied().map(Some).chain(std::iter::repeat(None)))
    }

    /// Runs of all programs, where they are known.
    pub fn all_runs(&self) -> Option<Runs> {
        let Timing::Of { runs, .. } = &self.timing else { return None };
        Some(runs.iter().fold(Runs::default(), |sum, of| Runs {
            count: sum.count + of.count,
            events: sum.events + of.events,
            time: sum.time + of.time,
        }))
    }

    /// CPUs that the programs kept busy.
    pub fn programs_cpus(&self) -> Option<f64> {
        let Timing::Of { time, .. } = &self.timing else { return None };
        share(self.all_runs()?.time, *time)
    }

    /// How long the two programs that run at each call take together, nanoseconds. What
    /// the tracepoints take to call them is not in it.
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

/// How long something took that is done over and over.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Times {
    /// The last time.
    pub last: Duration,
    /// All times together.
    pub total: Duration,
    /// The longest.
    pub longest: Duration,
    /// All of them.
    pub spread: Latency,
}

impl Times {
    /// It was done again.
    pub fn add(&mut self, took: Duration) {
        self.last = took;
        self.total += took;
        self.longest = self.longest.max(took);
        self.spread.record(nanoseconds(took));
    }

    /// How often it was done.
    pub fn count(&self) -> u64 {
        self.spread.count()
    }

    /// The median.
    pub fn median(&self) -> Duration {
        let [median] = self.spread.quantiles([0.5], 0, nanoseconds(self.longest));
        Duration::from_nanos(median)
    }

    /// What came after `before`. The longest is exact if none before it was as long or if
    /// it is the only one, and otherwise at most the bound of its bucket.
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

/// A duration in nanoseconds; [`u64::MAX`] from 584 years on.
pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(count: u64, ns: u64) -> Runs {
        Runs { count, events: count, time: Duration::from_nanos(ns) }
    }

    fn cost(spell: u64, ms: u64, entries: Runs, exits: Runs) -> Cost {
        let program = |name: &str| Program { name: name.into(), copies: 1, ..Program::default() };
        Cost {
            programs: vec![program(ENTRY), program(EXIT)],
            timing: Timing::Of {
                spell,
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
        // Ten milliseconds in two seconds.
        assert_eq!(spent.programs_cpus(), Some(0.005));
        assert_eq!(spent.ns_a_call(), Some(40.0 + 60.0));
        // The kernel stopped, and began again: nothing to take away.
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
        // Timed, and nothing ran: no mean.
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
