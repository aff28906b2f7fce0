//! The latency histogram of one row.

use hdrhistogram::Histogram;
use profiler_common::hist::{self, BUCKETS};
use serde::{Deserialize, Serialize};

/// A histogram: the number of latencies in each bucket.
///
/// The histogram is sparse, because most rows fill only a few of the 320 buckets. A thousand
/// processes with twenty syscalls each require a few megabytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<(u16, u64)>", into = "Vec<(u16, u64)>")]
pub struct Latency {
    /// Buckets and their counts, by bucket. No count is zero.
    counts: Vec<(u16, u64)>,
}

/// A bucket of a histogram: latencies from `lower_ns` to `upper_ns`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Lower bound in nanoseconds: exclusive, except that the first bucket includes 0.
    pub lower_ns: u64,
    /// Upper bound in nanoseconds: inclusive. `None` for the last bucket, which is unbounded.
    pub upper_ns: Option<u64>,
    /// Number of latencies in this bucket.
    pub count: u64,
}

impl Latency {
    /// Counts `count` latencies in `bucket`.
    ///
    /// # Panics
    /// If `bucket` is not less than [`BUCKETS`].
    pub fn add(&mut self, bucket: usize, count: u64) {
        assert!(bucket < BUCKETS, "bucket {bucket} of {BUCKETS}");
        if count == 0 {
            return;
        }
        let bucket = bucket as u16;
        // Buckets are read in ascending order.
        if self.counts.last().is_none_or(|&(last, _)| last < bucket) {
            self.counts.push((bucket, count));
            return;
        }
        add(&mut self.counts, bucket, count);
    }

    /// Counts one latency of `ns` nanoseconds.
    pub fn record(&mut self, ns: u64) {
        self.add(hist::bucket(ns) as usize, 1);
    }

    /// Adds all of `other`.
    pub fn merge(&mut self, other: &Self) {
        if self.counts.is_empty() {
            self.counts.clone_from(&other.counts);
            return;
        }
        for &(bucket, count) in &other.counts {
            self.add(bucket as usize, count);
        }
    }

    /// The difference to the earlier counts `before`.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        Self { counts: gained(&self.counts, &before.counts) }
    }

    /// Removes all latencies, and keeps the allocated memory.
    pub(super) fn clear(&mut self) {
        self.counts.clear();
    }

    /// The buckets that are not empty and their counts, in ascending order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (usize, u64)> + '_ {
        self.counts.iter().map(|&(bucket, count)| (bucket as usize, count))
    }

    /// The same buckets with their bounds.
    pub fn buckets(&self) -> impl Iterator<Item = Bucket> + '_ {
        self.iter().map(|(bucket, count)| Bucket {
            lower_ns: hist::lower(bucket),
            upper_ns: (bucket < BUCKETS - 1).then(|| hist::upper(bucket)),
            count,
        })
    }

    /// Number of latencies.
    pub fn count(&self) -> u64 {
        self.counts.iter().map(|&(_, count)| count).sum()
    }

    /// Whether there are no latencies.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// As an HDR histogram of nanoseconds, for quantiles and percentile walks.
    ///
    /// One significant figure means sixteen sub-buckets per octave. The eight buckets per octave
    /// here divide evenly into these, so the conversion loses nothing.
    pub fn to_hdr(&self) -> Histogram<u64> {
        let mut hdr = Histogram::new_with_bounds(1, 1 << 45, 1)
            .expect("the bounds are constants that hdrhistogram accepts");
        for (bucket, count) in self.iter() {
            hdr.saturating_record_n(hist::representative(bucket).max(1), count);
        }
        hdr
    }

    /// The latencies in nanoseconds at `quantiles` (0 to 1). The error is at most
    /// [`hist::RELATIVE_ERROR`] from 64 ns up, and at most 4 ns below. `least` and `greatest` are
    /// exact and bound the result. Without any bucket, the result is `greatest`.
    pub fn quantiles<const N: usize>(
        &self,
        quantiles: [f64; N],
        least: u64,
        greatest: u64,
    ) -> [u64; N] {
        if self.is_empty() {
            return [greatest; N];
        }
        let hdr = self.to_hdr();
        quantiles.map(|q| {
            let bucket = hist::bucket(hdr.value_at_quantile(q)) as usize;
            hist::representative(bucket).clamp(least, greatest.max(least))
        })
    }
}

/// Adds to the count of `key`. `counts` are in ascending order by key, and no count is zero.
pub(super) fn add(counts: &mut Vec<(u16, u64)>, key: u16, count: u64) {
    if count == 0 {
        return;
    }
    match counts.binary_search_by_key(&key, |&(k, _)| k) {
        Ok(at) => counts[at].1 += count,
        Err(at) => counts.insert(at, (key, count)),
    }
}

/// The difference between `counts` and the earlier `before`. Both are in ascending order by key,
/// and no count is zero.
pub(super) fn gained(counts: &[(u16, u64)], before: &[(u16, u64)]) -> Vec<(u16, u64)> {
    let mut before = before.iter().peekable();
    let mut gained = Vec::new();
    for &(key, count) in counts {
        while before.next_if(|&&(k, _)| k < key).is_some() {}
        let known = before.next_if(|&&(k, _)| k == key).map_or(0, |&(_, count)| count);
        if count > known {
            gained.push((key, count - known));
        }
    }
    gained
}

impl From<Latency> for Vec<(u16, u64)> {
    fn from(latency: Latency) -> Self {
        latency.counts
    }
}

/// The counts need not be those of a histogram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected buckets below {BUCKETS} in ascending order, each with a count")]
pub struct NotALatency;

impl TryFrom<Vec<(u16, u64)>> for Latency {
    type Error = NotALatency;

    fn try_from(counts: Vec<(u16, u64)>) -> Result<Self, NotALatency> {
        let is_ascending = counts.is_sorted_by(|(a, _), (b, _)| a < b);
        let are_counts = counts.iter().all(|&(bucket, n)| usize::from(bucket) < BUCKETS && n > 0);
        if is_ascending && are_counts { Ok(Self { counts }) } else { Err(NotALatency) }
    }
}

impl FromIterator<(usize, u64)> for Latency {
    fn from_iter<I: IntoIterator<Item = (usize, u64)>>(buckets: I) -> Self {
        let mut latency = Self::default();
        for (bucket, count) in buckets {
            latency.add(bucket, count);
        }
        latency
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_representative_survives_hdr() {
        for bucket in 0..BUCKETS {
            let mut latency = Latency::default();
            latency.add(bucket, 3);
            let [median] = latency.quantiles([0.5], 0, u64::MAX);
            assert_eq!(median, hist::representative(bucket), "bucket {bucket}");
        }
    }

    #[test]
    fn without_buckets_the_greatest_bounds_all() {
        assert_eq!(Latency::default().quantiles([0.5, 1.0], 5, 9), [9, 9]);
    }

    proptest! {
        #[test]
        fn quantiles_are_within_the_bound(
            mut values in prop::collection::vec((6_u32..44, 0.0_f64..1.0), 1..200),
            q in 0.0_f64..=1.0,
        ) {
            let mut exact: Vec<u64> = values
                .drain(..)
                .map(|(octave, fraction)| ((1_u64 << octave) as f64 * (1.0 + fraction)) as u64)
                .collect();
            exact.sort_unstable();
            let mut latency = Latency::default();
            exact.iter().for_each(|&ns| latency.record(ns));
            let (least, greatest) = (exact[0], exact[exact.len() - 1]);
            let [shown] = latency.quantiles([q], least, greatest);
            // The rank as hdrhistogram counts it: the least value that at least
            // this share of all values does not exceed.
            let rank = ((q * exact.len() as f64).ceil() as usize).clamp(1, exact.len());
            let want = exact[rank - 1] as f64;
            prop_assert!((shown as f64 - want).abs() / want <= 0.0625, "{shown} for {want}");
        }

        #[test]
        fn merging_is_adding(
            a in prop::collection::vec((0..BUCKETS, 1_u64..1000), 0..20),
            b in prop::collection::vec((0..BUCKETS, 1_u64..1000), 0..20),
        ) {
            let mut merged: Latency = a.iter().copied().collect();
            merged.merge(&b.iter().copied().collect());
            let both: Latency = a.into_iter().chain(b).collect();
            prop_assert_eq!(merged, both);
        }
    }
}
