//! Makes native histograms of Prometheus from the buckets of the kernel side.
//!
//! A native histogram of schema `n` has the bounds 2^(i / 2^n) seconds. The bounds of the kernel
//! side are nanoseconds: 2^k, and seven bounds in between at equal distances. A nanosecond is
//! 1/10^9 of a second, which is not a power of two. So no bound of the kernel side is a bound of
//! any schema, and no schema can represent these buckets exactly.
//!
//! Each bucket of the kernel side is therefore added as a whole to the bucket that has its
//! [`hist::representative`]. In other words, each latency is first rounded by at most
//! [`hist::RELATIVE_ERROR`], and then counted exactly. No count is split or interpolated, so counts
//! stay whole numbers that never decrease.

use std::sync::LazyLock;

use profiler_common::hist::{self, BUCKETS};

use super::model::Histogram;

/// The finest schema: 16 buckets per octave.
///
/// This is the coarsest schema that keeps the buckets of the kernel side apart. A finer schema
/// would have as many buckets that are not empty, and would suggest a precision that the latencies
/// do not have.
pub const FINEST_SCHEMA: i32 = 4;

/// The maximum number of buckets of a histogram, without the zero bucket.
///
/// OpenTelemetry's exponential histograms have the same limit. It is therefore a common setting of
/// `native_histogram_bucket_limit`.
pub const MAX_BUCKETS: usize = 160;

/// The upper bound of the zero bucket in nanoseconds. It is the first bucket of the kernel side,
/// which includes latencies of 0 ns.
pub const ZERO_THRESHOLD_NS: u64 = hist::upper(0);

/// A native histogram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Native {
    /// The resolution: the bounds are 2^(i / 2^schema) seconds.
    pub schema: i32,
    /// How many latencies are at most [`ZERO_THRESHOLD_NS`].
    pub zero_count: u64,
    /// Index and count of the buckets that are not empty, in ascending order. Bucket `i` has the
    /// latencies above 2^((i - 1) / 2^schema) seconds, up to 2^(i / 2^schema) seconds.
    pub buckets: Vec<(i32, u64)>,
}

/// A run of consecutive indexes, as the protobuf format lists buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// In the first span: the index of the first bucket. In all other spans: the number of empty
    /// buckets before the span.
    pub offset: i32,
    /// The number of buckets in the span.
    pub length: u32,
}

/// The index at [`FINEST_SCHEMA`] of each bucket of the kernel side.
static INDEXES: LazyLock<[i32; BUCKETS]> = LazyLock::new(|| {
    std::array::from_fn(|bucket| {
        let seconds = hist::representative(bucket) as f64 / 1e9;
        (seconds.log2() * f64::from(1 << FINEST_SCHEMA)).ceil() as i32
    })
});

impl Native {
    /// Converts `histogram`. If there are more than [`MAX_BUCKETS`] buckets, the schema gets
    /// coarser.
    pub fn new(histogram: &Histogram<'_>) -> Self {
        let mut native = Self { schema: FINEST_SCHEMA, zero_count: 0, buckets: Vec::new() };
        for (bucket, count) in histogram.counts() {
            if hist::upper(bucket) <= ZERO_THRESHOLD_NS {
                native.zero_count += count;
            } else {
                native.add(INDEXES[bucket], count);
            }
        }
        while native.buckets.len() > MAX_BUCKETS {
            native = native.coarser();
        }
        native
    }

    /// Adds to the bucket at `index`. Indexes must not decrease from call to call.
    fn add(&mut self, index: i32, count: u64) {
        match self.buckets.last_mut() {
            Some((last, sum)) if *last == index => *sum += count,
            _ => self.buckets.push((index, count)),
        }
    }

    /// Returns the same histogram with the next coarser schema, which has every second bound.
    fn coarser(&self) -> Self {
        let (schema, zero_count) = (self.schema - 1, self.zero_count);
        let mut coarser = Self { schema, zero_count, buckets: Vec::new() };
        for &(index, count) in &self.buckets {
            // A bucket includes its upper bound, so half of the index is rounded up.
            coarser.add((index + 1) >> 1, count);
        }
        coarser
    }

    /// Returns the runs of consecutive buckets.
    pub fn spans(&self) -> Vec<Span> {
        let mut spans: Vec<Span> = Vec::new();
        let mut next = 0;
        for &(index, _) in &self.buckets {
            match spans.last_mut() {
                Some(span) if index == next => span.length += 1,
                _ => spans.push(Span { offset: index - next, length: 1 }),
            }
            next = index + 1;
        }
        spans
    }

    /// Returns the difference of each count from the count before it.
    pub fn deltas(&self) -> Vec<i64> {
        let mut before = 0;
        let delta = |&(_, count): &(i32, u64)| {
            let delta = count.wrapping_sub(before).cast_signed();
            before = count;
            delta
        };
        self.buckets.iter().map(delta).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use proptest::prelude::*;

    use super::*;
    use crate::model::Latency;

    fn native(latency: &Latency) -> Native {
        Native::new(&Histogram::new(Cow::Borrowed(latency), 0, &[]))
    }

    fn bound_ns(index: i32, schema: i32) -> f64 {
        (f64::from(index) / f64::from(1 << schema)).exp2() * 1e9
    }

    /// All buckets except the first few, and except the last, which has no upper bound.
    fn bounded() -> std::ops::Range<usize> {
        hist::bucket(65) as usize..BUCKETS - 1
    }

    #[test]
    fn every_bucket_is_where_its_representative_is() {
        for (bucket, &index) in INDEXES.iter().enumerate().skip(1) {
            let (low, high) = (bound_ns(index - 1, FINEST_SCHEMA), bound_ns(index, FINEST_SCHEMA));
            let ns = hist::representative(bucket) as f64;
            assert!(low < ns && ns <= high, "{bucket}: {ns} in ({low}, {high}]");
            assert!(low > ZERO_THRESHOLD_NS as f64, "{bucket} is above the zero bucket");
        }
        assert!(INDEXES.is_sorted_by(|a, b| a < b), "no two buckets share an index");
        let one_coarser: Vec<_> = INDEXES.iter().map(|index| (index + 1) >> 1).collect();
        assert!(!one_coarser.is_sorted_by(|a, b| a < b), "a coarser schema suffices");
    }

    /// No bound of any schema is a bound of the kernel side. The module documentation says why.
    #[test]
    fn no_schema_is_exact() {
        let bounds: Vec<u64> = (0..BUCKETS).map(hist::upper).collect();
        for index in -40..=20 {
            // Every schema has these bounds. All other bounds are irrational.
            let ns = bound_ns(index, 0);
            assert!(!bounds.iter().any(|&bound| bound as f64 == ns), "2^{index} s");
        }
    }

    /// The errors that docs/formats.md states: a quantile of a native histogram is a value in the
    /// bucket that has the latency.
    #[test]
    fn the_error_of_a_quantile_is_as_documented() {
        let worst = |schema: i32| {
            bounded().fold(0.0_f64, |worst, bucket| {
                let index = ((INDEXES[bucket] - 1) >> (FINEST_SCHEMA - schema)) + 1;
                let (low, high) = (bound_ns(index - 1, schema), bound_ns(index, schema));
                let (least, greatest) = (hist::lower(bucket) + 1, hist::upper(bucket));
                worst.max(high / least as f64 - 1.0).max(1.0 - low / greatest as f64)
            })
        };
        let percent = |schema| (worst(schema) * 1000.0).ceil() / 10.0;
        assert_eq!([4, 3, 2, 1].map(percent), [10.4, 13.6, 19.5, 40.5]);
    }

    #[test]
    fn a_histogram_with_every_bucket_has_at_most_160() {
        let all: Latency = (0..BUCKETS).map(|bucket| (bucket, bucket as u64 + 1)).collect();
        let native = native(&all);
        assert!((2..=4).contains(&native.schema) || native.schema == 1, "{}", native.schema);
        assert!(native.buckets.len() <= MAX_BUCKETS, "{}", native.buckets.len());
        assert_eq!(native.zero_count, 1);
    }

    #[test]
    fn spans_and_deltas_are_those_of_the_format() {
        let native = Native {
            schema: 0,
            zero_count: 0,
            buckets: vec![(-3, 5), (-2, 2), (1, 2), (2, 9), (10, 1)],
        };
        let span = |offset, length| Span { offset, length };
        assert_eq!(native.spans(), [span(-3, 2), span(2, 2), span(7, 1)]);
        assert_eq!(native.deltas(), [5, -3, 0, 7, -8]);
        let none = super::tests::native(&Latency::default());
        assert!(none.spans().is_empty() && none.deltas().is_empty());
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_no_bucket_is_split(
            counts in prop::collection::vec((0..BUCKETS, 1_u64..1_000_000), 0..320),
        ) {
            let latency: Latency = counts.iter().copied().collect();
            let native = native(&latency);
            let sum = native.zero_count + native.buckets.iter().map(|&(_, n)| n).sum::<u64>();
            prop_assert_eq!(sum, latency.count());
            prop_assert!(native.buckets.len() <= MAX_BUCKETS);
            prop_assert!(native.buckets.is_sorted_by(|a, b| a.0 < b.0));
            prop_assert!(native.buckets.iter().all(|&(_, n)| n > 0));
            // The count up to a bound of the kernel side lies between the counts up to the next
            // lower and the next higher bound of the schema.
            for bound in (0..BUCKETS - 1).step_by(7).map(hist::upper) {
                let exact: u64 =
                    latency.iter().filter(|&(b, _)| hist::upper(b) <= bound).map(|(_, n)| n).sum();
                let cumulative = |is_below: &dyn Fn(i32) -> bool| {
                    let below = native.buckets.iter().filter(|&&(index, _)| is_below(index));
                    native.zero_count + below.map(|&(_, n)| n).sum::<u64>()
                };
                let least = cumulative(&|index| bound_ns(index, native.schema) <= bound as f64);
                let most = cumulative(&|index| bound_ns(index - 1, native.schema) < bound as f64);
                prop_assert!(least <= exact && exact <= most, "{bound}: {least} {exact} {most}");
            }
        }

        /// A growing histogram never gets a finer schema, because Prometheus takes that for a
        /// restart.
        #[test]
        fn the_schema_of_a_growing_histogram_only_gets_coarser(
            counts in prop::collection::vec((0..BUCKETS, 1_u64..1_000), 0..640),
        ) {
            let mut latency = Latency::default();
            let mut schema = FINEST_SCHEMA;
            for (bucket, count) in counts {
                latency.add(bucket, count);
                let native = native(&latency);
                prop_assert!(native.schema <= schema);
                schema = native.schema;
            }
        }
    }
}
