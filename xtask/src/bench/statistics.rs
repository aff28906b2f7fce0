//! Statistics of samples.

/// The minimum. Infinity without samples.
pub(super) fn least(samples: &[f64]) -> f64 {
    samples.iter().copied().fold(f64::INFINITY, f64::min)
}

/// The maximum. Minus infinity without samples.
pub(super) fn greatest(samples: &[f64]) -> f64 {
    samples.iter().copied().fold(f64::NEG_INFINITY, f64::max)
}

/// The median. NaN without samples.
pub(super) fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => sorted[middle],
        _ => (sorted[middle - 1] + sorted[middle]) / 2.0,
    }
}

/// Returns by how much each sample exceeds the sample of the same round in `base`, in percent.
pub(super) fn slow_downs(samples: &[f64], base: &[f64]) -> Vec<f64> {
    samples.iter().zip(base).map(|(sample, base)| slow_down(*sample, *base)).collect()
}

/// Returns by how much a sample exceeds `base`, in percent.
pub(super) fn slow_down(sample: f64, base: f64) -> f64 {
    (sample / base - 1.0) * 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between_the_middle_two() {
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), 2.5);
        assert_eq!(median(&[9.0, 1.0, 3.0]), 3.0);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn extremes_are_of_all_samples() {
        let samples = [3.0, 1.0, 2.0];
        assert_eq!((least(&samples), greatest(&samples)), (1.0, 3.0));
    }

    #[test]
    fn a_slow_down_is_against_the_same_round() {
        // In the second round, the machine was slower by half. The subject adds a quarter in both
        // rounds.
        assert_eq!(slow_downs(&[125.0, 187.5], &[100.0, 150.0]), [25.0, 25.0]);
    }
}
