//! Counts the calls in flight, by syscall.

use std::{collections::BTreeMap, time::Duration};

use profiler_common::call::CallKey;

use super::Open;
use crate::{aggregate::Aggregate, model::CallInFlight, names::waits::kind};

/// Counts the calls of the threads in `open`, and the calls of threads without a record.
pub(super) fn by_call(open: &[Open], of: &Aggregate) -> Vec<CallInFlight> {
    #[derive(Default)]
    struct Sums {
        recorded: u64,
        unrecorded: u64,
        overflowed: u64,
        before: u64,
        oldest_ns: u64,
    }
    let mut calls: BTreeMap<CallKey, Sums> = BTreeMap::new();
    for thread in open {
        let sums = calls.entry(thread.key).or_default();
        sums.recorded += 1;
        sums.overflowed += u64::from(thread.overflowed);
        sums.before += u64::from(thread.is_before());
        sums.oldest_ns = sums.oldest_ns.max(thread.age_ns);
    }
    // For threads without a record, there are only sums. If the pool was full, the sums also
    // include calls of threads with records, which are counted above.
    for row in of.unattributed() {
        let open = row.total.in_flight();
        if open > 0 {
            let sums = calls.entry(row.key).or_default();
            sums.unrecorded = open.saturating_sub(sums.overflowed);
        }
    }
    calls
        .into_iter()
        .map(|(key, sums)| CallInFlight {
            key,
            kind: kind(key),
            threads: sums.recorded + sums.unrecorded,
            unrecorded: sums.unrecorded,
            before: sums.before,
            oldest: Duration::from_nanos(sums.oldest_ns),
        })
        .filter(|call| call.threads > 0)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        aggregate::{Identity, KeepEnded},
        engine::kernel::drain::in_flight::Whose,
        model::Figures,
    };

    const FUTEX: u32 = 202;

    /// Five calls are open in overflow slots. One of them belongs to a thread with a record.
    #[test]
    fn threads_without_a_record_are_counted() {
        let mut aggregate = Aggregate::new(KeepEnded::Always);
        let process = aggregate.thread_started(Identity { tgid: 1, start_ns: 0 }, b"a");
        let figures = Figures { calls: 9, returned: 3, never_returned: 1, ..Figures::default() };
        aggregate.add(None, CallKey(FUTEX), &figures);
        let whose = Whose::Known(process);
        let open = |overflowed, age_ns| Open {
            key: CallKey(FUTEX),
            age_ns,
            tid: 1,
            whose,
            at_least: false,
            overflowed,
        };
        let open = [open(true, 20), open(false, 30)];
        let found = by_call(&open, &aggregate);
        let all = CallInFlight {
            key: CallKey(FUTEX),
            kind: kind(CallKey(FUTEX)),
            threads: 6,
            unrecorded: 4,
            before: 0,
            oldest: Duration::from_nanos(30),
        };
        assert_eq!(found, [all]);
    }
}
