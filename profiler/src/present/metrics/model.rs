//! Metrics as data, which encoders write in any exposition format.
//!
//! Nothing here is rounded: a histogram has the buckets of the kernel side, and a time has
//! nanoseconds. An encoder decides what its format can hold.

use std::{
    borrow::Cow,
    time::{Duration, SystemTime},
};

use profiler_common::hist;

use crate::model::{Bucket, Latency};

/// All metric families at one moment, in the order of an exposition.
#[derive(Clone, Debug, Default)]
pub struct Metrics<'a> {
    families: Vec<Family<'a>>,
}

impl<'a> Metrics<'a> {
    /// Returns the families, sorted by name. Includes families without series.
    pub fn families(&self) -> &[Family<'a>] {
        &self.families
    }
}

impl<'a> FromIterator<Family<'a>> for Metrics<'a> {
    /// Sorts families by name, and the series of each by the values of their labels.
    fn from_iter<I: IntoIterator<Item = Family<'a>>>(families: I) -> Self {
        let mut families: Vec<Family<'a>> = families.into_iter().collect();
        families.sort_unstable_by_key(|family| family.name);
        for family in &mut families {
            family.series.sort_by(|a, b| a.label_values().cmp(b.label_values()));
        }
        Self { families }
    }
}

/// A metric family: all series with the same name.
#[derive(Clone, Debug)]
pub struct Family<'a> {
    /// The full name, with its unit and the `_total` of counters.
    pub name: &'static str,
    /// The meaning, in one sentence.
    pub help: &'static str,
    /// How the values can change.
    pub kind: Kind,
    /// One series for each set of label values. All series have the same label names.
    pub series: Vec<Series<'a>>,
}

/// How the values of a family can change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The values grow until the daemon restarts.
    Counter,
    /// The values rise and fall.
    Gauge,
    /// The values are always 1. The labels have the information.
    Info,
    /// The values are histograms, whose counts grow until the daemon restarts.
    Histogram,
}

/// The unit of a family's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
}

impl Unit {
    /// Returns the name of the unit, as used in the names of metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Seconds => "seconds",
            Self::Bytes => "bytes",
        }
    }
}

impl<'a> Family<'a> {
    /// Creates a family of counters.
    pub fn counter<V: Into<Number>>(
        name: &'static str,
        help: &'static str,
        samples: impl IntoIterator<Item = (Labels<'a>, V)>,
    ) -> Self {
        Self::numbers(Kind::Counter, name, help, samples)
    }

    /// Creates a family of gauges.
    pub fn gauge<V: Into<Number>>(
        name: &'static str,
        help: &'static str,
        samples: impl IntoIterator<Item = (Labels<'a>, V)>,
    ) -> Self {
        Self::numbers(Kind::Gauge, name, help, samples)
    }

    /// Creates a family of type info: one series, whose labels have the information.
    pub fn info(name: &'static str, help: &'static str, labels: Labels<'a>) -> Self {
        Self::numbers(Kind::Info, name, help, [(labels, 1_u64)])
    }

    /// Creates a family of histograms.
    pub fn histogram(
        name: &'static str,
        help: &'static str,
        samples: impl IntoIterator<Item = (Labels<'a>, Histogram<'a>)>,
    ) -> Self {
        let of = |(labels, histogram)| (labels, Value::Histogram(histogram));
        Self::new(Kind::Histogram, name, help, samples.into_iter().map(of))
    }

    fn numbers<V: Into<Number>>(
        kind: Kind,
        name: &'static str,
        help: &'static str,
        samples: impl IntoIterator<Item = (Labels<'a>, V)>,
    ) -> Self {
        let of = |(labels, value): (Labels<'a>, V)| (labels, Value::Number(value.into()));
        Self::new(kind, name, help, samples.into_iter().map(of))
    }

    fn new(
        kind: Kind,
        name: &'static str,
        help: &'static str,
        samples: impl Iterator<Item = (Labels<'a>, Value<'a>)>,
    ) -> Self {
        let series = samples.map(|(labels, value)| Series { labels, value, created: None });
        Self { name, help, kind, series: series.collect() }
    }

    /// Sets the time at which the counters of the family were 0. Does nothing for gauges.
    #[must_use]
    pub fn created(mut self, at: Option<SystemTime>) -> Self {
        if matches!(self.kind, Kind::Counter | Kind::Histogram) {
            self.series.iter_mut().for_each(|series| series.created = at);
        }
        self
    }

    /// Returns the unit of the values, which is the end of the name.
    pub fn unit(&self) -> Option<Unit> {
        let name = self.name.strip_suffix("_total").unwrap_or(self.name);
        let (_, last) = name.rsplit_once('_')?;
        [Unit::Seconds, Unit::Bytes].into_iter().find(|unit| unit.name() == last)
    }
}

/// One value and its labels.
#[derive(Clone, Debug)]
pub struct Series<'a> {
    /// The labels, in the order in which they are written.
    pub labels: Labels<'a>,
    /// The value.
    pub value: Value<'a>,
    /// When a counter or a histogram was last 0, by the wall clock. The time must be the same in
    /// each exposition, because a reader takes a new time for a restart.
    pub created: Option<SystemTime>,
}

impl Series<'_> {
    fn label_values(&self) -> impl Iterator<Item = &str> {
        self.labels.iter().map(|label| &*label.value)
    }
}

/// The labels of a series.
pub type Labels<'a> = Vec<Label<'a>>;

/// A label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label<'a> {
    /// Its name.
    pub name: &'static str,
    /// Its value, not escaped. The encoder escapes it.
    pub value: Cow<'a, str>,
}

impl<'a> Label<'a> {
    /// Creates a label.
    pub fn new(name: &'static str, value: impl Into<Cow<'a, str>>) -> Self {
        Self { name, value: value.into() }
    }
}

/// The value of a series.
#[derive(Clone, Debug)]
pub enum Value<'a> {
    /// A number.
    Number(Number),
    /// A distribution of times.
    Histogram(Histogram<'a>),
}

/// An exact number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Number {
    /// A count or a size in bytes.
    Whole(u64),
    /// A time.
    Time(Duration),
}

impl From<u64> for Number {
    fn from(n: u64) -> Self {
        Self::Whole(n)
    }
}

impl From<u32> for Number {
    fn from(n: u32) -> Self {
        Self::Whole(n.into())
    }
}

impl From<bool> for Number {
    fn from(is: bool) -> Self {
        Self::Whole(is.into())
    }
}

impl From<Duration> for Number {
    fn from(time: Duration) -> Self {
        Self::Time(time)
    }
}

impl Number {
    /// Returns the number as a double. A time is in seconds.
    pub fn as_f64(self) -> f64 {
        match self {
            Self::Whole(n) => n as f64,
            Self::Time(time) => time.as_secs_f64(),
        }
    }
}

/// A distribution of times. The count is the sum of the buckets, so the two always agree.
#[derive(Clone, Debug)]
pub struct Histogram<'a> {
    latency: Cow<'a, Latency>,
    sum_ns: u64,
    bounds: &'a [u64],
}

impl<'a> Histogram<'a> {
    /// Creates the histogram of `latency`, whose times add up to `sum_ns` nanoseconds. Formats with
    /// classic buckets use `bounds` ([`super::bounds`]).
    pub fn new(latency: Cow<'a, Latency>, sum_ns: u64, bounds: &'a [u64]) -> Self {
        Self { latency, sum_ns, bounds }
    }

    /// Returns the number of times in the histogram.
    pub fn count(&self) -> u64 {
        self.latency.count()
    }

    /// Returns the sum of all times in nanoseconds.
    pub fn sum_ns(&self) -> u64 {
        self.sum_ns
    }

    /// Returns the kernel side's buckets that are not empty, in ascending order, for formats that
    /// can have any number of buckets.
    pub fn buckets(&self) -> impl Iterator<Item = Bucket> + '_ {
        self.latency.buckets()
    }

    /// Returns the number and the count of each bucket that is not empty, in ascending order.
    pub(super) fn counts(&self) -> impl Iterator<Item = (usize, u64)> + '_ {
        self.latency.iter()
    }

    /// Returns each bound in nanoseconds with the number of times up to this bound, for formats
    /// that have classic buckets.
    pub fn cumulative(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let mut buckets = self.latency.iter().peekable();
        let mut count = 0;
        self.bounds.iter().map(move |&bound_ns| {
            while let Some((_, more)) =
                buckets.next_if(|&(bucket, _)| hist::upper(bucket) <= bound_ns)
            {
                count += more;
            }
            (bound_ns, count)
        })
    }
}

/// Converts nanoseconds to seconds. The result is exact to the nanosecond up to 2^51 ns (26 days).
/// Beyond that, it is as exact as a double, which is the type that Prometheus stores.
pub(super) fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::bounds::Bounds, *};

    #[test]
    fn families_and_series_are_in_the_order_of_an_exposition() {
        let labels = |value: &'static str| vec![Label::new("reason", value)];
        let metrics: Metrics<'_> = [
            Family::gauge("b", "", [(Vec::new(), 1_u64)]),
            Family::counter("a_total", "", [(labels("y"), 2_u64), (labels("x"), 3)]),
        ]
        .into_iter()
        .collect();
        let names: Vec<_> = metrics.families().iter().map(|family| family.name).collect();
        assert_eq!(names, ["a_total", "b"]);
        let values = metrics.families()[0].series.iter().map(|series| &*series.labels[0].value);
        assert_eq!(values.collect::<Vec<_>>(), ["x", "y"]);
    }

    #[test]
    fn the_name_has_the_unit() {
        let unit = |name| Family::gauge(name, "", [(Vec::new(), 1_u64)]).unit();
        assert_eq!(unit("profiler_cpu_seconds_total"), Some(Unit::Seconds));
        assert_eq!(unit("profiler_resident_memory_bytes"), Some(Unit::Bytes));
        assert_eq!(unit("profiler_syscalls_total"), None);
        assert_eq!(unit("profiler_syscalls_in_flight_before"), None);
    }

    #[test]
    fn a_time_keeps_its_nanoseconds() {
        let time = Duration::new(3_000_000_000, 1);
        assert_eq!(Number::from(time), Number::Time(time));
        assert_eq!(Number::from(Duration::from_nanos(1_500_000_001)).as_f64(), 1.500_000_001);
    }

    proptest! {
        #[test]
        fn buckets_are_those_of_the_kernel_side(
            counts in prop::collection::vec((0..hist::BUCKETS, 1_u64..1_000_000), 0..40),
        ) {
            let latency: Latency = counts.iter().copied().collect();
            let bounds = Bounds::default();
            let histogram = Histogram::new(Cow::Borrowed(&latency), 0, bounds.as_slice());
            let buckets: Vec<_> = histogram.buckets().collect();
            prop_assert_eq!(buckets.iter().map(|b| b.count).sum::<u64>(), histogram.count());
            prop_assert_eq!(buckets.len(), latency.iter().count());
            for (bound_ns, cumulative) in histogram.cumulative() {
                // No bucket lies on both sides of a bound.
                let below = |bucket: &&Bucket| bucket.upper_ns.is_some_and(|up| up <= bound_ns);
                prop_assert!(buckets.iter().all(|b| below(&b) || b.lower_ns >= bound_ns));
                let count: u64 = buckets.iter().filter(below).map(|b| b.count).sum();
                prop_assert_eq!(count, cumulative);
            }
        }
    }
}
