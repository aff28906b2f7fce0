//! How long ended processes and threads stay listed.

use std::time::Duration;

/// Maximum number of ended processes in the list, and of ended threads. Beyond that, the oldest are
/// added up in one row, so that memory stays bounded on a host that forks for weeks.
pub(super) const MAX_ENDED: usize = 20_000;

/// How long an ended process stays in the list. The list has at most 20,000 ended processes: if more
/// have ended, the oldest leave earlier. The figures of a process that leaves the list are added to
/// the row of ended processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeepEnded {
    /// Until the aggregate is dropped.
    Always,
    /// For this time after the reading that found the process ended, and at least until the first
    /// reading after that time is over. So a consumer that reads at intervals of this length shows
    /// the process, however late it reads.
    For(Duration),
}

impl KeepEnded {
    /// Whether the oldest of `listed` ended processes or threads, which ended at `ended`, is still
    /// listed at a reading. `before` is the time of the reading before.
    ///
    /// If the time was over at the reading before, that reading was late enough for each consumer.
    pub(super) fn keeps(self, listed: usize, ended: Duration, before: Duration) -> bool {
        let is_recent = match self {
            Self::Always => true,
            Self::For(time) => before.checked_sub(ended).is_none_or(|listed| listed < time),
        };
        is_recent && listed <= MAX_ENDED
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_leaves_after_its_time_or_if_there_are_too_many() {
        let second = Duration::from_secs(1);
        assert!(KeepEnded::For(second).keeps(1, second, Duration::ZERO));
        assert!(KeepEnded::For(second).keeps(1, second, 2 * second - Duration::from_nanos(1)));
        assert!(!KeepEnded::For(second).keeps(1, second, 2 * second));
        assert!(KeepEnded::Always.keeps(MAX_ENDED, second, 1_000 * second));
        for keep in [KeepEnded::Always, KeepEnded::For(second)] {
            assert!(!keep.keeps(MAX_ENDED + 1, second, second));
        }
    }
}
