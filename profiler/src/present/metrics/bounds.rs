//! The bounds of histograms in formats with classic buckets.
//!
//! Each bound is the upper bound of a bucket of the kernel side, so all counts are exact.

use profiler_common::hist::{self, BUCKETS};

/// Bounds in nanoseconds, in ascending order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bounds(Vec<u64>);

/// The default bounds: about 10 µs, 1 ms, 10 ms, 100 ms and 1 s. The exact bounds are 0 to 8 %
/// higher.
///
/// Each bound adds a series per syscall. With these five bounds, an ordinary host has fewer than
/// 1,000 samples ([`super::ordinary`]). They distinguish calls that only compute or copy, calls
/// that read from flash or a disk, and calls that are slow enough for a person to notice. Sum and
/// count are exact whatever the bounds. Native histograms are more precise.
const DEFAULT: [u64; 5] = [10_240, 1 << 20, 10 << 20, 96 << 20, 1 << 30];

impl Default for Bounds {
    fn default() -> Self {
        Self(DEFAULT.into())
    }
}

impl Bounds {
    /// Sorts the bounds, and removes duplicates.
    ///
    /// # Errors
    /// [`NoBound`] if a number is not a bound of the kernel side.
    pub fn new(bounds: impl IntoIterator<Item = u64>) -> Result<Self, NoBound> {
        let mut bounds: Vec<u64> = bounds.into_iter().collect();
        bounds.sort_unstable();
        bounds.dedup();
        bounds.iter().try_for_each(|&ns| check(ns))?;
        Ok(Self(bounds))
    }

    /// Returns the bounds in nanoseconds, in ascending order.
    pub fn as_slice(&self) -> &[u64] {
        &self.0
    }
}

/// The error that a number of nanoseconds is not a bound of the kernel side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoBound {
    /// The greatest bound below it.
    pub below: Option<u64>,
    /// The least bound above it.
    pub above: Option<u64>,
}

/// Checks that `ns` is the upper bound of a bucket of the kernel side. The last bucket has no upper
/// bound.
///
/// # Errors
/// If it is not. The error has the nearest bounds below and above `ns`.
pub fn check(ns: u64) -> Result<(), NoBound> {
    // The upper bounds of the bucket that includes `ns`, and of the bucket before.
    let bucket = hist::bucket(ns) as usize;
    let above = (bucket < BUCKETS - 1).then(|| hist::upper(bucket));
    if above == Some(ns) {
        return Ok(());
    }
    Err(NoBound { below: Some(hist::lower(bucket)).filter(|&below| below > 0), above })
}

/// Returns every `step`th octave, starting at `1 << first` nanoseconds.
pub(super) const fn octaves<const N: usize>(first: u32, step: u32) -> [u64; N] {
    let mut bounds = [0; N];
    let mut at = 0;
    while at < N {
        bounds[at] = 1 << (first + at as u32 * step);
        at += 1;
    }
    bounds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_bounds_are_bounds() {
        let bounds = Bounds::default();
        let decades = [10_000.0, 1e6, 1e7, 1e8, 1e9];
        for (&bound, decade) in bounds.as_slice().iter().zip(decades) {
            assert!((1.0..=1.08).contains(&(bound as f64 / decade)), "{bound}");
        }
        // The factors by which quantiles can be off, as docs/formats.md states them.
        let factors = bounds.as_slice().windows(2).map(|two| two[1].div_ceil(two[0]));
        assert_eq!(factors.collect::<Vec<_>>(), [103, 10, 10, 11]);
        assert_eq!(Bounds::new(bounds.as_slice().iter().copied()), Ok(bounds));
    }

    #[test]
    fn each_bound_of_the_kernel_side_and_no_other_is_accepted() {
        for bucket in 0..BUCKETS - 1 {
            let bound = hist::upper(bucket);
            assert_eq!(check(bound), Ok(()));
            let below = bucket.checked_sub(1).map(hist::upper);
            assert_eq!(check(bound - 1), Err(NoBound { below, above: Some(bound) }));
        }
        let last = hist::upper(BUCKETS - 2);
        for beyond in [last + 1, hist::upper(BUCKETS - 1), u64::MAX] {
            assert_eq!(check(beyond), Err(NoBound { below: Some(last), above: None }));
        }
        assert_eq!(check(0), Err(NoBound { below: None, above: Some(8) }));
        assert_eq!(check(1_000_000), Err(NoBound { below: Some(983_040), above: Some(1 << 20) }));
    }

    #[test]
    fn bounds_are_sorted_and_each_is_there_once() {
        let bounds = Bounds::new([256, 128, 256]).expect("bounds");
        assert_eq!(bounds.as_slice(), [128, 256]);
        assert_eq!(Bounds::new([]).expect("none").as_slice(), [0; 0]);
    }
}
