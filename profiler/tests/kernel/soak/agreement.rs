//! Compares three counts of the same host: the daemon, the daemon with too small tables, and the
//! sum over all intervals.

use std::{thread, time::Duration};

use super::{
    daemons::Daemons,
    rows::{self, HostRows},
    tally::Tally,
};
use crate::service::RARE;

/// Maximum number of attempts to find a moment without such calls.
const TRIES: usize = 60;

/// The counts of all three.
struct Counted {
    daemons: [Vec<u64>; 2],
    intervals: Vec<u64>,
}

pub(super) struct Agreement(Option<Counted>);

impl Counted {
    /// Reads the counts at a moment without such calls. `None` if there is no such moment.
    fn now(daemons: &mut Daemons, rows: &HostRows) -> Option<Self> {
        (0..TRIES).find_map(|_| {
            let before = daemons.calls(&RARE);
            let totals = rows.totals();
            let after = daemons.calls(&RARE);
            thread::sleep(Duration::from_millis(100));
            let count = |name: &&str| rows::made(&totals, name).map_or(0, |made| made.calls);
            let intervals = RARE.iter().map(count).collect();
            let is_quiet = before == after;
            if is_quiet {
                daemons.law_holds(&RARE);
            }
            is_quiet.then_some(Self { daemons: after, intervals })
        })
    }
}

impl Agreement {
    pub(super) fn begin(daemons: &mut Daemons, rows: &HostRows, tally: &Tally) -> Self {
        let counted = Counted::now(daemons, rows);
        if counted.is_none() {
            tally.fail("something else makes the workloads' calls: no quiet moment to begin at");
        }
        Self(counted)
    }

    #[track_caller]
    pub(super) fn end(self, daemons: &mut Daemons, rows: &HostRows) {
        let Some(begun) = self.0 else { return };
        let ended = Counted::now(daemons, rows)
            .expect("a quiet moment to end at: something else makes the workloads' calls");
        let since = |ended: &[u64], begun: &[u64]| -> Vec<u64> {
            ended.iter().zip(begun).map(|(ended, begun)| ended - begun).collect()
        };
        let default = since(&ended.daemons[0], &begun.daemons[0]);
        let small = since(&ended.daemons[1], &begun.daemons[1]);
        let intervals = since(&ended.intervals, &begun.intervals);
        assert!(default.iter().all(|&calls| calls > 0), "nothing was counted: {default:?}");
        assert_eq!(default, small, "{RARE:?} by the default daemon and by the small one");
        assert_eq!(default, intervals, "{RARE:?} by the default daemon and by intervals");
        println!("        agreed on {} calls of {RARE:?}", default.iter().sum::<u64>());
    }
}
