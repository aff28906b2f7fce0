//! Buckets of the latency histogram: log-linear, with eight buckets per octave.
//!
//! Bucket `i` has the latencies in `(lower(i), upper(i)]` nanoseconds. The upper bound belongs to
//! the bucket, as for Prometheus' `le`, so the exported bounds are exact. Below 64 ns, buckets are
//! 8 ns wide. From 64 ns to 2^45 ns (9.8 hours), a bucket is at most an eighth of its lower bound
//! wide. Longer calls count in the last bucket. Sum and maximum are exact for all calls.

/// Buckets in a histogram.
pub const BUCKETS: usize = 320;
/// Buckets in a chunk. A histogram takes cells by the chunk.
pub const BUCKETS_PER_CHUNK: usize = 32;
/// Chunks in a histogram.
pub const CHUNKS: usize = BUCKETS / BUCKETS_PER_CHUNK;

/// An octave has two to this power buckets, and a unit has two to this power nanoseconds.
const SUB_BITS: u32 = 3;
const SUB_BUCKETS: u64 = 1 << SUB_BITS;
/// Latencies of at least this many units are in the last bucket: 2^42 × 8 ns.
const UNITS_LIMIT: u64 = 1 << (BUCKETS as u32 / SUB_BUCKETS as u32 + SUB_BITS - 1);

/// The greatest distance of [`representative`] from a latency of its bucket, relative to that
/// latency. It holds from 64 ns to 2^45 ns.
///
/// The bounds of a bucket are at most as 8 to 9, and their harmonic mean is 1/17 from either.
/// Rounding to nanoseconds adds at most half of one in 65.
pub const RELATIVE_ERROR: f64 = 0.0625;

/// The bucket of a latency of `ns` nanoseconds; always less than [`BUCKETS`].
///
/// This is a chain of comparisons, one per octave, from short to long. BPF cannot count leading
/// zeros, and a halving search compiles to fifty instructions for any latency. The chain takes the
/// fewest instructions for short calls, where each instruction matters most. Long calls skip the
/// first half.
#[inline(always)]
pub const fn bucket(ns: u64) -> u32 {
    let units = ns.wrapping_sub(1) >> SUB_BITS;
    if units < MIDDLE_UNITS {
        macro_rules! chain {
            ($($shift:literal)+) => {
                $(if units < 16 << $shift {
                    return $shift * SUB_BUCKETS as u32 + (units >> $shift) as u32;
                })+
            };
        }
        chain!(0 1 2 3 4 5 6 7 8 9 10 11 12);
        // Not reached: the last comparison is true for all units below the middle.
        return 0;
    }
    long_bucket(ns, units)
}

/// From this many units on, [`bucket`] takes the second half: 2^16 × 8 ns, half a millisecond.
const MIDDLE_UNITS: u64 = 16 << 12;

/// [`bucket`] for half a millisecond and more, by a halving search.
#[inline(always)]
const fn long_bucket(ns: u64, units: u64) -> u32 {
    if units >= UNITS_LIMIT {
        // A latency of 0 ns, which a coarse clock can give, wraps and ends here too: one test for
        // both.
        return if ns == 0 { 0 } else { BUCKETS as u32 - 1 };
    }
    let shift = floor_log2(units) - SUB_BITS;
    shift * SUB_BUCKETS as u32 + (units >> shift) as u32
}

#[inline(always)]
const fn floor_log2(mut value: u64) -> u32 {
    let mut log = 0;
    if value >= 1 << 32 {
        value >>= 32;
        log += 32;
    }
    if value >= 1 << 16 {
        value >>= 16;
        log += 16;
    }
    if value >= 1 << 8 {
        value >>= 8;
        log += 8;
    }
    if value >= 1 << 4 {
        value >>= 4;
        log += 4;
    }
    if value >= 1 << 2 {
        value >>= 2;
        log += 2;
    }
    if value >= 1 << 1 {
        log += 1;
    }
    log
}

/// The exclusive lower bound of a bucket in nanoseconds (bucket 0 has 0 too).
pub const fn lower(bucket: usize) -> u64 {
    if bucket == 0 { 0 } else { upper(bucket - 1) }
}

/// The inclusive upper bound of a bucket in nanoseconds. The last bucket also has all greater
/// latencies.
pub const fn upper(bucket: usize) -> u64 {
    let next = bucket as u64 + 1;
    if next <= SUB_BUCKETS {
        return next << SUB_BITS;
    }
    let shift = next / SUB_BUCKETS - 1;
    (SUB_BUCKETS + next % SUB_BUCKETS) << (shift + SUB_BITS as u64)
}

/// The value in nanoseconds that stands for a bucket.
///
/// From 64 ns on, it is the harmonic mean of the least and the greatest value in the bucket. That
/// has the smallest maximum of relative distances from them. Below 64 ns, it is the middle.
pub const fn representative(bucket: usize) -> u64 {
    let (least, greatest) = (lower(bucket) as u128 + 1, upper(bucket) as u128);
    let value = if bucket < SUB_BUCKETS as usize {
        (least + greatest) / 2
    } else {
        let sum = least + greatest;
        (2 * least * greatest + sum / 2) / sum
    };
    value as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bounds_meet_and_grow() {
        assert_eq!(upper(0), 8);
        assert_eq!(upper(7), 64);
        assert_eq!(upper(15), 128);
        assert_eq!(upper(BUCKETS - 1), 1 << 45);
        for b in 1..BUCKETS {
            assert_eq!(lower(b), upper(b - 1));
            assert!(upper(b) > lower(b));
        }
    }

    #[test]
    fn every_bound_is_in_its_own_bucket() {
        for b in 0..BUCKETS {
            assert_eq!(bucket(upper(b)), b as u32, "upper of {b}");
            assert_eq!(bucket(lower(b) + 1), b as u32, "just above the lower of {b}");
        }
    }

    #[test]
    fn the_ends() {
        assert_eq!(bucket(0), 0);
        assert_eq!(bucket(1), 0);
        assert_eq!(bucket((1 << 45) + 1), BUCKETS as u32 - 1);
        assert_eq!(bucket(u64::MAX), BUCKETS as u32 - 1);
    }

    #[test]
    fn short_latencies_are_within_the_bound_too() {
        for ns in 64..100_000_u64 {
            let shown = representative(bucket(ns) as usize);
            assert!(shown.abs_diff(ns) * 16 <= ns, "{ns} shown as {shown}");
        }
        for ns in 0..64_u64 {
            assert!(representative(bucket(ns) as usize).abs_diff(ns) <= 4, "{ns}");
        }
    }

    #[test]
    fn an_octave_above_64_ns_has_eight_buckets() {
        for octave in 6..44 {
            let (low, high) = (1_u64 << octave, 1_u64 << (octave + 1));
            assert_eq!(bucket(high) - bucket(low), 8, "octave {octave}");
        }
    }

    proptest! {
        #[test]
        fn a_latency_is_within_its_bucket(ns in 1_u64..=1 << 45) {
            let b = bucket(ns) as usize;
            prop_assert!(lower(b) < ns && ns <= upper(b));
        }

        // An exponent first, so that every octave is tried alike.
        #[test]
        fn the_representative_is_within_the_bound(octave in 6_u32..45, fraction in 0.0_f64..1.0) {
            let ns = ((1_u64 << octave) as f64 * (1.0 + fraction)) as u64;
            let shown = representative(bucket(ns) as usize) as f64;
            let error = (shown - ns as f64).abs() / ns as f64;
            prop_assert!(error <= RELATIVE_ERROR, "{ns} shown as {shown}");
        }

        #[test]
        fn buckets_are_ordered(a in any::<u64>(), b in any::<u64>()) {
            let (low, high) = (a.min(b), a.max(b));
            prop_assert!(bucket(low) <= bucket(high));
        }
    }
}
