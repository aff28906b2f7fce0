//! Compares quantiles with those of the sorted latencies.

use profiler::model::Latency;
use proptest::prelude::*;

use crate::latency;

const QUANTILES: [f64; 6] = [0.0, 0.5, 0.9, 0.99, 0.999, 1.0];

/// The documented error: a sixteenth from 64 ns up, 4 ns below. A latency of 0, which only a coarse
/// clock gives, is in the bucket of 1 to 8 ns, whose value is 5.
fn is_within(shown: u64, exact: u64) -> bool {
    let error = shown.abs_diff(exact);
    match exact {
        0 => error <= 5,
        1..64 => error <= 4,
        _ => error as f64 <= 0.0625 * exact as f64,
    }
}

fn latency_of(values: &[u64]) -> Latency {
    let mut latency = Latency::default();
    values.iter().for_each(|&ns| latency.record(ns));
    latency
}

/// Latencies up to the end of the last bucket. Longer latencies are in it too, without an error
/// bound.
fn values() -> impl Strategy<Value = Vec<u64>> {
    let spread = prop::collection::vec(latency().prop_map(|ns| ns.min(1 << 45)), 1..3_000);
    // Most latencies are equal, and a few differ.
    let alike = (latency(), 1..3_000_usize, prop::collection::vec(latency(), 0..20));
    let with_outliers = alike.prop_map(|(ns, times, outliers)| {
        let all = std::iter::repeat_n(ns, times).chain(outliers);
        all.map(|ns| ns.min(1 << 45)).collect::<Vec<_>>()
    });
    prop_oneof![spread, with_outliers]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn quantiles_are_those_of_the_sorted_latencies(mut values in values()) {
        let latency = latency_of(&values);
        values.sort_unstable();
        let (least, greatest) = (values[0], values[values.len() - 1]);
        let shown = latency.quantiles(QUANTILES, least, greatest);
        prop_assert!(shown.is_sorted(), "{:?}", shown);
        prop_assert!(shown[0] >= least && shown[5] <= greatest);
        for (quantile, shown) in QUANTILES.into_iter().zip(shown) {
            // The smallest value that this share of all values does not exceed.
            let rank = ((quantile * values.len() as f64).ceil() as usize).max(1);
            let exact = values[rank - 1];
            prop_assert!(is_within(shown, exact), "p{}: {} for {}", quantile, shown, exact);
        }
    }

    /// Merging does not change the error.
    #[test]
    fn quantiles_of_a_merge_are_those_of_all(a in values(), b in values()) {
        let mut merged = latency_of(&a);
        merged.merge(&latency_of(&b));
        let all = latency_of(&[a, b].concat());
        prop_assert_eq!(
            merged.quantiles(QUANTILES, 0, u64::MAX),
            all.quantiles(QUANTILES, 0, u64::MAX)
        );
        prop_assert_eq!(merged, all);
    }
}
