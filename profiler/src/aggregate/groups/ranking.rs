//! Ranks values by score. A score is a sum of events in which each event counts half after a
//! minute.

use std::{collections::HashMap, sync::Arc, time::Duration};

use super::Values;

/// The time after which a call counts half in the ranking.
const HALF_LIFE: Duration = Duration::from_secs(60);

/// The factor by which the score of a value must exceed that of a member to replace it.
pub(super) const HYSTERESIS: f64 = 1.5;

/// The minimum time for which a member stays.
pub(super) const HOLD: Duration = Duration::from_secs(60);

/// The maximum number of values without series whose scores are kept. A new score replaces the
/// lowest.
pub const MAX_CANDIDATES: usize = 1_024;

/// A score below this is forgotten: that of one call after ten half-lives.
const NEGLIGIBLE: f64 = 1.0 / 1_024.0;

/// The factor by which a score decays in this time.
pub(super) fn decay(elapsed: Duration) -> f64 {
    (-elapsed.as_secs_f64() / HALF_LIFE.as_secs_f64()).exp2()
}

/// Values without series, and their scores.
#[derive(Debug, Default)]
pub(super) struct Candidates(HashMap<Values, f64>);

impl Candidates {
    pub(super) fn decay(&mut self, factor: f64) {
        self.0.retain(|_, score| {
            *score *= factor;
            *score >= NEGLIGIBLE
        });
    }

    pub(super) fn add(&mut self, values: &Values, score: f64) {
        if let Some(known) = self.0.get_mut(values) {
            *known += score;
            return;
        }
        if self.0.len() >= MAX_CANDIDATES {
            let lowest = self.0.iter().min_by(|(a_values, a), (b_values, b)| {
                a.total_cmp(b).then_with(|| a_values.cmp(b_values))
            });
            let Some((lowest, &least)) = lowest else { return };
            if least >= score {
                return;
            }
            let lowest = Arc::clone(lowest);
            self.0.remove(&lowest);
        }
        self.0.insert(Arc::clone(values), score);
    }

    pub(super) fn remove(&mut self, values: &Values) {
        self.0.remove(values);
    }

    /// The values for which `may` returns true, in ascending order of their scores.
    pub(super) fn ranked(&self, may: impl Fn(&Values) -> bool) -> Vec<(f64, Values)> {
        let may = self.0.iter().filter(|(values, _)| may(values));
        let mut ranked: Vec<_> = may.map(|(values, &score)| (score, Arc::clone(values))).collect();
        ranked.sort_by(|a, b| a.0.total_cmp(&b.0).then_with(|| b.1.cmp(&a.1)));
        ranked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(n: usize) -> Values {
        [format!("{n:05}")].into()
    }

    #[test]
    fn a_minute_halves_a_score() {
        assert!((decay(Duration::from_secs(60)) - 0.5).abs() < 1e-12);
        let twice = decay(Duration::from_secs(7)) * decay(Duration::from_secs(53));
        assert!((twice - 0.5).abs() < 1e-12);
    }

    #[test]
    fn the_lowest_scores_are_forgotten() {
        let mut candidates = Candidates::default();
        (1..=2 * MAX_CANDIDATES).for_each(|n| candidates.add(&values(n), n as f64));
        let ranked = candidates.ranked(|_| true);
        assert_eq!(ranked.len(), MAX_CANDIDATES);
        assert_eq!(ranked.last().map(|(score, _)| *score), Some(2.0 * MAX_CANDIDATES as f64));
        candidates.add(&values(0), 0.0);
        assert!(!candidates.ranked(|_| true).iter().any(|(score, _)| *score == 0.0));
        candidates.decay(0.0);
        assert!(candidates.ranked(|_| true).is_empty());
    }
}
