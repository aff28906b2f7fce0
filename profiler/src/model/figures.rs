//! The figures of one row: of a process and a syscall, or of a sum of such rows.

use profiler_common::hist::{self, BUCKETS};

use serde::{Deserialize, Serialize};

use super::{
    OffCpu,
    latency::{self, Latency},
};

/// Counters, times and latencies of a set of calls.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figures {
    /// Calls that entered.
    pub calls: u64,
    /// Calls that returned to user space, successfully or with an errno.
    pub returned: u64,
    /// Calls that a signal interrupted and that the kernel restarted. Not an error.
    pub restarted: u64,
    /// Calls that returned an errno.
    pub errors: u64,
    /// Calls that seccomp or ptrace refused before they entered. Not included in `calls`.
    pub denied: u64,
    /// Calls that never return: `exit`, `exit_group`, and calls of killed threads.
    pub never_returned: u64,
    /// Calls that left, but whose exit was missed. Their outcome and time are unknown.
    pub lost: u64,
    /// Calls that left and were not timed. Times are read after calls, so this counter can wrap
    /// below zero for a moment. [`Self::timed`] is right in that case too.
    pub untimed: u64,
    /// Wall time of the timed calls, in nanoseconds. Exact.
    pub total_ns: u64,
    /// The part of `total_ns` that threads spent off the CPU; 0 unless it is measured
    /// ([`Health::off_cpu`](super::Health::off_cpu)).
    pub off_cpu: OffCpu,
    /// Minimum and maximum latency. `None` if no latency is known.
    pub extremes: Option<Extremes>,
    /// Errors by errno, in ascending order. No count is zero.
    pub errnos: Vec<(u16, u64)>,
    /// Errors with an errno that the kernel side does not count separately.
    pub errors_unlisted: u64,
    /// Latencies of the calls that were timed. With adaptive sampling, each counts as often as
    /// its weight: the number of calls for which it stands.
    pub latency: Latency,
    /// Sum of the weights of the timed calls, each minus 1.
    pub extra: u64,
    /// Sum of the latencies of the timed calls, each times its weight minus 1, nanoseconds.
    pub extra_ns: u64,
    /// Sum of the squares of the weights above 1.
    pub squares: u64,
}

/// Minimum and maximum latency, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extremes {
    /// The minimum.
    pub min_ns: u64,
    /// The maximum.
    pub max_ns: u64,
}

impl Extremes {
    /// The extremes of both together.
    pub fn join(self, other: Self) -> Self {
        Self { min_ns: self.min_ns.min(other.min_ns), max_ns: self.max_ns.max(other.max_ns) }
    }

    /// The extremes of both together. `None` if both are `None`.
    pub fn join_any(a: Option<Self>, b: Option<Self>) -> Option<Self> {
        match (a, b) {
            (Some(a), Some(b)) => Some(a.join(b)),
            (a, b) => a.or(b),
        }
    }
}

impl Figures {
    /// Calls that left the kernel, with any outcome.
    pub fn left(&self) -> u64 {
        self.returned + self.restarted
    }

    /// Calls whose time is known: all calls that left, or with sampling some of them.
    pub fn timed(&self) -> u64 {
        self.left().wrapping_sub(self.untimed)
    }

    /// Wall time of all calls that left, in nanoseconds. Exact if all calls were timed. Otherwise
    /// an estimate, which assumes that the other calls took as long on average.
    pub fn estimated_total_ns(&self) -> u64 {
        if !self.is_sample() {
            return self.total_ns;
        }
        let (sum_ns, left) = (u128::from(self.weighted_ns()), u128::from(self.left()));
        u64::try_from(sum_ns * left / u128::from(self.weight())).unwrap_or(u64::MAX)
    }

    /// Time on a CPU of the calls that were timed, nanoseconds.
    pub fn on_cpu_ns(&self) -> u64 {
        self.total_ns.saturating_sub(self.off_cpu.total_ns())
    }

    /// Time blocked of all calls that left, nanoseconds: the same share of
    /// [`Self::estimated_total_ns`] as of the time of the timed calls.
    pub fn estimated_waiting_ns(&self) -> u64 {
        self.share_of_estimate(self.off_cpu.waiting_ns)
    }

    /// Time for which all calls that left waited for a CPU, nanoseconds. Estimated as
    /// [`Self::estimated_waiting_ns`] is.
    pub fn estimated_runnable_ns(&self) -> u64 {
        self.share_of_estimate(self.off_cpu.runnable_ns)
    }

    /// Time on a CPU of all calls that left, nanoseconds: the rest of
    /// [`Self::estimated_total_ns`], so that the three parts add up to it.
    pub fn estimated_on_cpu_ns(&self) -> u64 {
        let off_cpu = self.estimated_waiting_ns().saturating_add(self.estimated_runnable_ns());
        self.estimated_total_ns().saturating_sub(off_cpu)
    }

    /// A part of the time of the timed calls, scaled to the time of all calls.
    fn share_of_estimate(&self, part_ns: u64) -> u64 {
        if !self.is_sample() || self.total_ns == 0 {
            return part_ns;
        }
        let of_all = u128::from(part_ns) * u128::from(self.estimated_total_ns());
        u64::try_from(of_all / u128::from(self.total_ns)).unwrap_or(u64::MAX)
    }

    /// Whether times are estimates: some calls were timed, and not all.
    pub fn is_sample(&self) -> bool {
        self.untimed != 0 && self.timed() != 0
    }

    /// Sum of the weights of the timed calls.
    pub fn weight(&self) -> u64 {
        self.timed().saturating_add(self.extra)
    }

    /// Sum of the latencies of the timed calls, each times its weight, nanoseconds.
    pub fn weighted_ns(&self) -> u64 {
        self.total_ns.saturating_add(self.extra_ns)
    }

    /// Mean latency in nanoseconds, rounded down. 0 if no latency is known.
    pub fn mean_ns(&self) -> u64 {
        self.weighted_ns().checked_div(self.weight()).unwrap_or(0)
    }

    /// How far the rank of a quantile can be off because not all calls were timed, as a share of
    /// all calls: with 0.01, a p99 is between the true p98 and the maximum. The bound holds for
    /// each quantile with a probability of at least 95 %. `None` if all calls were timed, or none.
    ///
    /// By Hoeffding's inequality: of each block of calls one is timed, at random, and it counts as
    /// the size of the block. So the share of calls below any latency differs from the true share
    /// by `t` or more with a probability of at most 2 exp(-2 t² w² / s), where `w` is the sum of the
    /// weights, and `s` that of their squares. Blocks of one call do not differ.
    pub fn rank_error(&self) -> Option<f64> {
        if !self.is_sample() {
            return None;
        }
        let weight = self.weight() as f64;
        // Without weights, each timed call stands for as many as any other.
        let squares = if self.extra == 0 { weight } else { self.squares as f64 };
        let factor = (f64::ln(2.0 / 0.05) / 2.0).sqrt();
        Some((factor * squares.sqrt() / weight).min(1.0))
    }

    /// Minimum latency in nanoseconds. 0 if no latency is known.
    pub fn min_ns(&self) -> u64 {
        self.extremes.map_or(0, |e| e.min_ns)
    }

    /// Maximum latency in nanoseconds. 0 if no latency is known.
    pub fn max_ns(&self) -> u64 {
        self.extremes.map_or(0, |e| e.max_ns)
    }

    /// See [`Latency::quantiles`].
    pub fn quantiles<const N: usize>(&self, quantiles: [f64; N]) -> [u64; N] {
        match self.extremes {
            Some(e) => self.latency.quantiles(quantiles, e.min_ns, e.max_ns),
            None => [0; N],
        }
    }

    /// Calls in flight at the time of the reading: calls that entered and have not left.
    pub fn in_flight(&self) -> u64 {
        self.calls.saturating_sub(self.left() + self.never_returned + self.lost)
    }

    /// Whether all counters are zero.
    pub fn is_empty(&self) -> bool {
        self.calls == 0
            && self.left() == 0
            && self.denied == 0
            && self.never_returned == 0
            && self.lost == 0
    }

    /// Sets all figures to zero, and keeps the allocated memory.
    pub(crate) fn clear(&mut self) {
        let Self {
            calls,
            returned,
            restarted,
            errors,
            denied,
            never_returned,
            lost,
            untimed,
            total_ns,
            off_cpu,
            extremes,
            errnos,
            errors_unlisted,
            latency,
            extra,
            extra_ns,
            squares,
        } = self;
        for sum in [
            calls,
            returned,
            restarted,
            errors,
            denied,
            never_returned,
            lost,
            untimed,
            total_ns,
            errors_unlisted,
            extra,
            extra_ns,
            squares,
        ] {
            *sum = 0;
        }
        *off_cpu = OffCpu::default();
        *extremes = None;
        errnos.clear();
        latency.clear();
    }

    /// Counts `count` errors with `errno`.
    pub fn add_errno(&mut self, errno: u16, count: u64) {
        latency::add(&mut self.errnos, errno, count);
    }

    /// Adds all of `other`.
    pub fn merge(&mut self, other: &Self) {
        self.calls += other.calls;
        self.returned += other.returned;
        self.restarted += other.restarted;
        self.errors += other.errors;
        self.denied += other.denied;
        self.never_returned += other.never_returned;
        self.lost += other.lost;
        self.untimed = self.untimed.wrapping_add(other.untimed);
        self.total_ns += other.total_ns;
        self.off_cpu.add(other.off_cpu);
        self.extremes = Extremes::join_any(self.extremes, other.extremes);
        for &(errno, count) in &other.errnos {
            self.add_errno(errno, count);
        }
        self.errors_unlisted += other.errors_unlisted;
        self.latency.merge(&other.latency);
        self.extra += other.extra;
        self.extra_ns = self.extra_ns.saturating_add(other.extra_ns);
        self.squares = self.squares.saturating_add(other.squares);
    }

    /// The difference to the earlier figures `before`.
    ///
    /// The extremes are exact if they are new since `before`. Otherwise they are the bounds of the
    /// outermost buckets with a new latency.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let gained = |new: u64, old: u64| new.saturating_sub(old);
        let mut figures = Self {
            calls: gained(self.calls, before.calls),
            returned: gained(self.returned, before.returned),
            restarted: gained(self.restarted, before.restarted),
            errors: gained(self.errors, before.errors),
            denied: gained(self.denied, before.denied),
            never_returned: gained(self.never_returned, before.never_returned),
            lost: gained(self.lost, before.lost),
            untimed: self.untimed.wrapping_sub(before.untimed),
            total_ns: gained(self.total_ns, before.total_ns),
            off_cpu: self.off_cpu.since(before.off_cpu),
            extremes: None,
            errnos: latency::gained(&self.errnos, &before.errnos),
            errors_unlisted: gained(self.errors_unlisted, before.errors_unlisted),
            latency: self.latency.since(&before.latency),
            extra: gained(self.extra, before.extra),
            extra_ns: gained(self.extra_ns, before.extra_ns),
            squares: gained(self.squares, before.squares),
        };
        figures.extremes = figures.extremes_within(self.extremes, before.extremes);
        figures
    }

    /// The extremes of a difference. `old` and `all` are the extremes before and after.
    fn extremes_within(&self, all: Option<Extremes>, old: Option<Extremes>) -> Option<Extremes> {
        let all = all?;
        let (first, _) = self.latency.iter().next()?;
        let (last, _) = self.latency.iter().next_back()?;
        // The first bucket includes 0, and the last has no upper bound.
        let min_ns = if old.is_none_or(|old| all.min_ns != old.min_ns) || first == 0 {
            all.min_ns
        } else {
            (hist::lower(first) + 1).max(all.min_ns)
        };
        let max_ns = if old.is_none_or(|old| all.max_ns != old.max_ns) || last == BUCKETS - 1 {
            all.max_ns
        } else {
            hist::upper(last).min(all.max_ns)
        };
        let bounds = Extremes { min_ns: min_ns.min(max_ns), max_ns };
        // If a latency was read before its time, it can be outside.
        let mean_ns = self.mean_ns();
        let mean = Extremes { min_ns: mean_ns, max_ns: mean_ns };
        Some(if self.timed() > 0 { bounds.join(mean) } else { bounds })
    }
}

impl<'a> FromIterator<&'a Figures> for Figures {
    fn from_iter<I: IntoIterator<Item = &'a Figures>>(all: I) -> Self {
        let mut sum = Self::default();
        for figures in all {
            sum.merge(figures);
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(ns: u64, errno: Option<u16>) -> Figures {
        let mut figures = Figures {
            calls: 1,
            returned: 1,
            errors: u64::from(errno.is_some()),
            total_ns: ns,
            extremes: Some(Extremes { min_ns: ns, max_ns: ns }),
            ..Figures::default()
        };
        figures.latency.record(ns);
        if let Some(errno) = errno {
            figures.add_errno(errno, 1);
        }
        figures
    }

    #[test]
    fn a_sum_keeps_every_figure() {
        let calls = [call(100, None), call(50, Some(11)), call(900, Some(4)), call(7, Some(11))];
        let sum: Figures = calls.iter().collect();
        assert_eq!((sum.calls, sum.returned, sum.errors), (4, 4, 3));
        assert_eq!((sum.total_ns, sum.mean_ns()), (1057, 264));
        assert_eq!((sum.min_ns(), sum.max_ns()), (7, 900));
        assert_eq!(sum.errnos, [(4, 1), (11, 2)]);
        assert_eq!(sum.latency.count(), 4);
        assert_eq!(sum.in_flight(), 0);
    }

    #[test]
    fn what_was_not_timed_counts_and_is_estimated() {
        let mut sum: Figures = [call(100, None), call(300, None)].iter().collect();
        sum.merge(&Figures { calls: 6, returned: 6, untimed: 6, ..Figures::default() });
        assert_eq!((sum.calls, sum.timed(), sum.in_flight()), (8, 2, 0));
        assert_eq!((sum.total_ns, sum.mean_ns(), sum.estimated_total_ns()), (400, 200, 1600));
        // The time was read before the calls that it belongs to.
        let early = Figures { untimed: 1_u64.wrapping_neg(), total_ns: 7, ..Figures::default() };
        assert_eq!((early.timed(), early.mean_ns()), (1, 7));
    }

    /// One row was timed in full, the other one in 4.
    #[test]
    fn weights_make_estimates_of_different_samples_add_up() {
        let all: Figures = [call(100, None), call(300, None)].iter().collect();
        let mut sampled = Figures { calls: 8, returned: 8, untimed: 6, ..Figures::default() };
        (sampled.total_ns, sampled.extra, sampled.extra_ns) = (30, 6, 90);
        sampled.squares = 32;
        sampled.latency.add(1, 8);
        assert_eq!((sampled.timed(), sampled.weight(), sampled.estimated_total_ns()), (2, 8, 120));
        assert_eq!((all.rank_error(), sampled.mean_ns()), (None, 15));
        let sum: Figures = [all.clone(), sampled.clone()].iter().collect();
        assert_eq!((sum.timed(), sum.weight(), sum.estimated_total_ns()), (4, 10, 520));
        assert_eq!(sum.mean_ns(), 52);
        let error = sum.rank_error().expect("not all are timed");
        assert!((error - (40_f64.ln() / 2.0 * 32.0).sqrt() / 10.0).abs() < 1e-9, "{error}");
        assert_eq!(sum.since(&all), Figures { extremes: sum.since(&all).extremes, ..sampled });
    }

    #[test]
    fn the_parts_of_a_time_add_up_to_it() {
        let mut figures =
            Figures { off_cpu: OffCpu { waiting_ns: 33, runnable_ns: 20 }, ..call(100, None) };
        assert_eq!(figures.on_cpu_ns(), 47);
        figures.merge(&Figures { calls: 2, returned: 2, untimed: 2, ..Figures::default() });
        let parts = [
            Figures::estimated_on_cpu_ns,
            Figures::estimated_waiting_ns,
            Figures::estimated_runnable_ns,
        ];
        assert_eq!(parts.map(|part| part(&figures)), [141, 99, 60]);
        assert_eq!(figures.estimated_total_ns(), 300);
    }

    #[test]
    fn a_call_that_has_not_left_is_in_flight() {
        let mut figures = call(10, None);
        figures.calls += 1;
        assert_eq!(figures.in_flight(), 1);
        assert_eq!(figures.mean_ns(), 10);
    }
}
