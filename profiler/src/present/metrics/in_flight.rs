//! Gauges of calls that have not returned.

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

/// Threads in each syscall, how many of them entered before the attach, and the age of the
/// oldest. A syscall that was ever seen to enter has these series, zero if nobody is in it, so
/// that they do not come and go.
pub(super) fn families<'a>(snapshot: &Snapshot, shown: Option<&Calls>) -> [Family<'a>; 3] {
    let mut named: BTreeMap<(CallName, Kind), (u64, u64, Duration)> = BTreeMap::new();
    let of = |key| ((call_name(key, shown), waits::kind(key)), (0, 0, Duration::ZERO));
    named.extend(snapshot.calls.iter().map(|row| of(row.key)));
    named.extend(snapshot.in_flight.calls.iter().map(|call| of(call.key)));
    for call in &snapshot.in_flight.calls {
        if let Some((threads, before, oldest)) = named.get_mut(&of(call.key).0) {
            *threads += call.threads;
            *before += call.before;
            *oldest = call.oldest.max(*oldest);
        }
    }
    let labels = |(name, kind): &(CallName, Kind)| {
        let mut labels = calls::labels(name);
        labels.push(Label::new("kind", kind.name()));
        labels
    };
    [
        Family::gauge(
            "profiler_syscalls_in_flight",
            "Syscalls that entered and have not left; those of kind \"waits\" wait by nature.",
            named.iter().map(|(name, &(threads, ..))| (labels(name), threads)),
        ),
        Family::gauge(
            "profiler_syscalls_in_flight_before",
            "Syscalls in flight that entered before the profiler attached, and are in no counter of calls.",
            named.iter().map(|(name, &(_, before, _))| (labels(name), before)),
        ),
        Family::gauge(
            "profiler_syscall_in_flight_oldest_seconds",
            "Age of the oldest syscall in flight in seconds, or 0; a lower bound if it entered before the attach.",
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
    fn calls_in_flight_that_share_a_name_share_a_series() {
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
        // One that is in flight need not be among the calls yet.
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
                r#"profiler_syscall_in_flight_oldest_seconds{abi="x86_64",syscall="futex",kind="waits"} 0"#,
                r#"profiler_syscalls_in_flight{abi="x32",syscall="readv",kind="may_wait"} 6"#,
                r#"profiler_syscalls_in_flight{abi="x86_64",syscall="fsync",kind="works"} 1"#,
                r#"profiler_syscalls_in_flight{abi="x86_64",syscall="futex",kind="waits"} 0"#,
                r#"profiler_syscalls_in_flight_before{abi="x32",syscall="readv",kind="may_wait"} 3"#,
                r#"profiler_syscalls_in_flight_before{abi="x86_64",syscall="fsync",kind="works"} 1"#,
                r#"profiler_syscalls_in_flight_before{abi="x86_64",syscall="futex",kind="waits"} 0"#,
            ]
        );
    }
}
