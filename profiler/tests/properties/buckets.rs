//! Compares buckets with an independent definition.

use profiler_common::hist::{self, BUCKETS};
use proptest::prelude::*;

use crate::latency;

/// The bucket by the position of the highest bit: the octave, and the three bits below.
fn by_highest_bit(ns: u64) -> usize {
    // A bound belongs to the bucket below it.
    let units = ns.saturating_sub(1) / 8;
    let Some(highest) = units.checked_ilog2().filter(|&highest| highest >= 3) else {
        return units as usize;
    };
    let octave = highest as usize - 2;
    let within = (units >> (highest - 3)) as usize - 8;
    (octave * 8 + within).min(BUCKETS - 1)
}

/// The maximum error of a bucket is at one of its ends, so this covers every latency from 64 ns up
/// to the end of the last bucket.
#[test]
fn the_bound_holds_at_both_ends_of_every_bucket() {
    for bucket in 8..BUCKETS {
        let shown = hist::representative(bucket);
        for exact in [hist::lower(bucket) + 1, hist::upper(bucket)] {
            let error = shown.abs_diff(exact) as f64 / exact as f64;
            assert!(error <= hist::RELATIVE_ERROR, "{exact} shown as {shown}: {error}");
        }
    }
    // Below 64 ns, the error is at most 4 ns.
    for ns in 1..=64 {
        assert!(hist::representative(hist::bucket(ns) as usize).abs_diff(ns) <= 4, "{ns}");
    }
}

#[test]
fn what_stands_for_a_bucket_is_in_it() {
    for bucket in 0..BUCKETS {
        let shown = hist::representative(bucket);
        assert_eq!(hist::bucket(shown) as usize, bucket, "{shown}");
    }
}

proptest! {
    #[test]
    fn the_chain_is_the_highest_bit(ns in prop_oneof![latency(), any::<u64>()]) {
        prop_assert_eq!(hist::bucket(ns) as usize, by_highest_bit(ns));
    }

    /// Buckets are contiguous and in ascending order.
    #[test]
    fn the_next_nanosecond_is_in_the_same_bucket_or_the_next(ns in latency()) {
        let step = hist::bucket(ns + 1) - hist::bucket(ns);
        prop_assert!(step <= 1);
        prop_assert_eq!(step == 1, hist::upper(hist::bucket(ns) as usize) == ns && ns < 1 << 45);
    }
}
