//! Gauges of calls in flight.

use std::{collections::BTreeMap, time::Duration};

use super::{
    calls::{self, call_name},
    model::{Family, Label},
};
use crate::{
    filter::Calls,
    model::{CallName, Kind, Snapshot},
    names::waits,
};

/// Returns gauges by syscall: the calls in flight, the number of them that entered before the
/// attach, and the age of the oldest.
///
/// A syscall has these series only while it has a call in flight. On most hosts, a tenth of the
/// syscalls have. Three zeros for each of the others would be a quarter of all samples.
pub(super) fn families<'a>(snapshot: &Snapshot, shown: Option<&Calls>) -> [Family<'a>; 3] {
    let mut named: BTreeMap<(CallName, Kind), (u64, u64, Duration)> = BTreeMap::new();
    for call in snapshot.in_flight.calls.iter().filter(|call| call.threads > 0) {
        let name = (call_name(call.key, shown), waits::kind(call.key));
        let (threads, before, oldest) = named.entry(name).or_default();
        *threads += call.threads;
        *before += call.before;
        *oldest = call.oldest.max(*oldest);
    }
    let labels = |(name, kind): &(CallName, Kind)| {
        let mut labels = calls::labels(name);
        labels.push(Label::new("kind", kind.name()));
        labels
    };
    [
        Family::gauge(
            "profiler_syscalls_in_flight",
            "Syscalls that entered and have not left; syscalls of kind \"waits\" wait by nature.",
            named.iter().map(|(name, &(threads, ..))| (labels(name), threads)),
        ),
        Family::gauge(
            "profiler_syscalls_in_flight_before",
            "Syscalls in flight that entered before the profiler attached; no counter of calls includes them.",
            named
                .iter()
                .filter(|(_, (_, before, _))| *before > 0)
                .map(|(name, &(_, before, _))| (labels(name), before)),
        ),
        Family::gauge(
            "profiler_syscall_in_flight_oldest_seconds",
            "Age of the oldest syscall in flight in seconds; a lower bound if it entered before the profiler attached.",
            named.iter().map(|(name, &(.., oldest))| (labels(name), oldest)),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use profiler_common::call::{Abi, CallKey};

    use super::{
        super::{Exposition, text},
        *,
    };
    use crate::model::{CallInFlight, CallRow, Figures, InFlight};

    #[test]
    fn calls_in_flight_that_share_a_name_share_a_series_and_others_have_none() {
        let call = |abi, nr, threads, before, seconds| CallInFlight {
            key: CallKey::of(abi, nr),
            kind: waits::kind(CallKey::of(abi, nr)),
            threads,
            unrecorded: 0,
            before,
            oldest: Duration::from_secs(seconds),
        };
        let calls = vec![
            call(Abi::X86_64, 74, 1, 1, 572),
            call(Abi::X32, 19, 2, 0, 30),
            call(Abi::X32, 515, 4, 3, 20),
        ];
        // A call in flight need not have a row yet.
        let row = |nr| CallRow::new(CallKey::of(Abi::X86_64, nr), Figures::default());
        let snapshot = Snapshot {
            calls: vec![row(74), row(202)],
            in_flight: InFlight { calls, oldest: Vec::new(), sees_before: true },
            ..Snapshot::default()
        };
        let exposition = Exposition { snapshot: Arc::new(snapshot), ..Exposition::default() };
        let text = text(&exposition).expect("encodes");
        let gauges: Vec<_> =
            text.lines().filter(|l| l.contains("_in_flight") && !l.starts_with('#')).collect();
        assert_eq!(
            gauges,
            [
                r#"profiler_syscall_in_flight_oldest_seconds{abi="x32",syscall="readv",kind="may_wait"} 30"#,
                r#"profiler_syscall_in_flight_oldest_seconds{abi="x86_64",syscall="fsync",kind="works"} 572"#,
                r#"profiler_syscalls_in_flight{abi="x32",syscall="readv",kind="may_wait"} 6"#,
                r#"profiler_syscalls_in_flight{abi="x86_64",syscall="fsync",kind="works"} 1"#,
                r#"profiler_syscalls_in_flight_before{abi="x32",syscall="readv",kind="may_wait"} 3"#,
                r#"profiler_syscalls_in_flight_before{abi="x86_64",syscall="fsync",kind="works"} 1"#,
            ]
        );
    }
}
