//! Bucket arithmetic of the latency histogram: log-linear, eight buckets an
//! octave.
//!
//! Bucket `i` holds the latencies in `(lower(i), upper(i)]` nanoseconds. The
//! upper bound belongs to the bucket, as Prometheus' `le` wants it, so the
//! exported bounds are exact. Below 64 ns the buckets are 8 ns wide; from there
//! on a bucket is at most an eighth of its lower bound wide, up to 2^45 ns
//! (9.8 hours). Longer calls count in the last bucket; sum and maximum are
//! exact all the same.

/// Buckets in a histogram.
pub const BUCKETS: usize = 320;
/// Buckets in a chunk, the unit in which a histogram takes room.
pub const BUCKETS_PER_CHUNK: usize = 32;
/// Chunks in a histogram.
pub const CHUNKS: usize = BUCKETS / BUCKETS_PER_CHUNK;

/// Buckets per octave are two to this power; so is the unit in nanoseconds.
const SUB_BITS: u32 = 3;
const SUB_BUCKETS: u64 = 1 << SUB_BITS;
/// Units at and above which everything is in the last bucket: 2^42 × 8 ns.
const UNITS_LIMIT: u64 = 1 << (BUCKETS as u32 / SUB_BUCKETS as u32 + SUB_BITS - 1);

/// The greatest distance of [`representative`] from any latency of its bucket,
/// relative to that latency, from 64 ns up to 2^45 ns: 1/17.
pub const RELATIVE_ERROR: f64 = 1.0 / 17.0;

/// The bucket of a latency of `ns` nanoseconds; always less than [`BUCKETS`].
#[inline(always)]
pub const fn bucket(ns: u64) -> u32 {
    let units = ns.wrapping_sub(1) >> SUB_BITS;
    if units >= UNITS_LIMIT {
        // Also the way of a latency of 0 ns, which a coarse clock can give:
        // one test for both keeps the common way short.
        return if ns == 0 { 0 } else { BUCKETS as u32 - 1 };
    }
    if units < SUB_BUCKETS {
        return units as u32;
    }
    let shift = floor_log2(units) - SUB_BITS;
    shift * SUB_BUCKETS as u32 + (units >> shift) as u32
}

/// BPF has no instruction that counts leading zeros, and LLVM's replacement is
/// a popcount of thirty instructions; five comparisons are cheaper.
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

/// The inclusive upper bound of a bucket in nanoseconds; the last bucket also
/// holds everything above it.
pub const fn upper(bucket: usize) -> u64 {
    let next = bucket as u64 + 1;
    if next <= SUB_BUCKETS {
        return next << SUB_BITS;
    }
    let shift = next / SUB_BUCKETS - 1;
    (SUB_BUCKETS + next % SUB_BUCKETS) << (shift + SUB_BITS as u64)
}

/// The value in nanoseconds that stands for a bucket: the harmonic mean of its
/// bounds, whose greatest relative distance from any value between them is the
/// least possible, [`RELATIVE_ERROR`].
pub const fn representative(bucket: usize) -> u64 {
    let (low, high) = (lower(bucket) as u128, upper(bucket) as u128);
    if low == 0 {
        return high as u64 / 2;
    }
    (2 * low * high / (low + high)) as u64
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
            // A representative is cut to whole nanoseconds, 1 in 64 at worst.
            let rounding = 1.0 / ns as f64;
            prop_assert!(error <= RELATIVE_ERROR + rounding, "{ns} shown as {shown}");
            prop_assert!(error <= 0.0625, "{ns} shown as {shown}");
        }

        #[test]
        fn buckets_are_ordered(a in any::<u64>(), b in any::<u64>()) {
            let (low, high) = (a.min(b), a.max(b));
            prop_assert!(bucket(low) <= bucket(high));
        }
    }
}
