//! Merging: the sum does not depend on order or grouping.

use std::time::Duration;

use profiler::{
    aggregate::{Aggregate, Identity, KeepEnded},
    engine::Intervals,
    model::{CallRow, Detail, Figures, OffCpu, Snapshot},
};
use profiler_common::call::{Abi, CallKey};
use proptest::prelude::*;

use crate::{Call, Outcome, call, figures};

fn sum(calls: &[Call]) -> Figures {
    let each: Vec<_> = calls.iter().map(|&call| figures(call)).collect();
    each.iter().collect()
}

fn merged(mut a: Figures, b: &Figures) -> Figures {
    a.merge(b);
    a
}

fn calls() -> impl Strategy<Value = Vec<Call>> {
    prop::collection::vec(call(), 0..40)
}

/// Checks figures against the calls, without a merge.
fn assert_is_of(figures: &Figures, calls: &[Call]) {
    let count = |is: fn(&Outcome) -> bool| calls.iter().filter(|(o, _)| is(o)).count() as u64;
    let denied = count(|o| matches!(o, Outcome::Denied));
    let returned = count(|o| matches!(o, Outcome::Returned(_)));
    let restarted = count(|o| matches!(o, Outcome::Restarted));
    assert_eq!(figures.calls, calls.len() as u64 - denied);
    assert_eq!((figures.returned, figures.restarted), (returned, restarted));
    assert_eq!(figures.denied, denied);
    assert_eq!(figures.never_returned, count(|o| matches!(o, Outcome::NeverReturned)));
    assert_eq!(figures.in_flight(), count(|o| matches!(o, Outcome::InFlight)));
    assert_eq!(figures.errors, count(|o| matches!(o, Outcome::Returned(Some(_)))));
    for &(errno, times) in &figures.errnos {
        let of_errno = |(o, _): &&Call| matches!(o, Outcome::Returned(Some(e)) if *e == errno);
        assert_eq!(times, calls.iter().filter(of_errno).count() as u64, "{errno}");
    }
    assert_eq!(figures.errnos.iter().map(|(_, n)| n).sum::<u64>(), figures.errors);
    let timed = || {
        let left = |o: &Outcome| matches!(o, Outcome::Returned(_) | Outcome::Restarted);
        calls.iter().filter(move |(o, _)| left(o)).map(|&(_, ns)| ns)
    };
    assert_eq!(figures.total_ns, timed().sum::<u64>());
    let OffCpu { waiting_ns, runnable_ns } = figures.off_cpu;
    assert_eq!(waiting_ns, timed().map(|ns| ns / 2).sum::<u64>());
    assert_eq!(runnable_ns, timed().map(|ns| ns / 3).sum::<u64>());
    assert_eq!(figures.on_cpu_ns() + waiting_ns + runnable_ns, figures.total_ns);
    assert_eq!(figures.extremes.map(|e| e.min_ns), timed().min());
    assert_eq!(figures.extremes.map(|e| e.max_ns), timed().max());
    assert_eq!(figures.latency, timed().fold(Default::default(), with));
}

fn with(mut latency: profiler::model::Latency, ns: u64) -> profiler::model::Latency {
    latency.record(ns);
    latency
}

/// An event in an aggregate.
#[derive(Clone, Debug)]
enum Event {
    /// A call of a process, or of an unknown process.
    Call {
        process: Option<usize>,
        key: CallKey,
        call: Call,
    },
    /// A process ends, and another starts.
    End(usize),
    Interval,
}

const PROCESSES: usize = 3;

fn event() -> impl Strategy<Value = Event> {
    // 490 is an unknown number, and shares a row with other unknown numbers.
    let key = (prop::sample::select(vec![0, 1, 59, 490]), any::<bool>())
        .prop_map(|(nr, native)| CallKey::of(if native { Abi::X86_64 } else { Abi::I386 }, nr));
    prop_oneof![
        10 => (prop::option::of(0..PROCESSES), key, call())
            .prop_map(|(process, key, call)| Event::Call { process, key, call }),
        1 => (0..PROCESSES).prop_map(Event::End),
        1 => Just(Event::Interval),
    ]
}

/// The cgroup of a call: one of a few.
fn cgroup((_, ns): Call) -> u64 {
    ns % 4
}

fn total<'a>(rows: impl IntoIterator<Item = &'a CallRow>) -> Figures {
    rows.into_iter().map(|row| &row.total).collect()
}

fn recent<'a>(rows: impl IntoIterator<Item = &'a CallRow>) -> Figures {
    rows.into_iter().map(|row| &row.recent).collect()
}

/// The extremes of an interval may be bounds.
fn without_extremes(figures: Figures) -> Figures {
    Figures { extremes: None, ..figures }
}

fn snapshot(now: Duration, aggregate: &mut Aggregate) -> Snapshot {
    aggregate.begin_reading(now);
    aggregate.forget_ended();
    Snapshot {
        window: now,
        calls: aggregate.calls(),
        processes: aggregate.processes(Detail::Processes),
        ..Snapshot::default()
    }
}

proptest! {
    #[test]
    fn a_sum_is_that_of_its_calls(calls in calls()) {
        assert_is_of(&sum(&calls), &calls);
    }

    #[test]
    fn merging_commutes(a in calls(), b in calls()) {
        let (a, b) = (sum(&a), sum(&b));
        prop_assert_eq!(merged(a.clone(), &b), merged(b, &a));
    }

    #[test]
    fn merging_associates(a in calls(), b in calls(), c in calls()) {
        let (a, b, c) = (sum(&a), sum(&b), sum(&c));
        let left = merged(merged(a.clone(), &b), &c);
        prop_assert_eq!(left, merged(a, &merged(b, &c)));
    }

    #[test]
    fn nothing_merged_changes_nothing(calls in calls()) {
        let figures = sum(&calls);
        prop_assert_eq!(merged(figures.clone(), &Figures::default()), figures.clone());
        prop_assert_eq!(merged(Figures::default(), &figures), figures);
    }

    /// Grouping by process, by syscall and by interval: each includes every call once.
    #[test]
    fn every_way_to_add_up_gives_the_same(events in prop::collection::vec(event(), 1..120)) {
        let mut aggregate = Aggregate::new(KeepEnded::Always);
        let mut forgetful = Aggregate::new(KeepEnded::For(Duration::ZERO));
        let mut next = 0;
        let mut begin = |aggregate: &mut Aggregate, forgetful: &mut Aggregate| {
            next += 1;
            // Every second process has the id of the previous one, and another start.
            let identity = Identity { tgid: next / 2, start_ns: u64::from(next) };
            (aggregate.thread_started(identity, b"x"), forgetful.thread_started(identity, b"x"))
        };
        let mut processes: Vec<_> =
            (0..PROCESSES).map(|_| begin(&mut aggregate, &mut forgetful)).collect();
        let mut all = Vec::new();
        let mut by_interval = Figures::default();
        let mut now = Duration::ZERO;
        let mut intervals = [(); 2].map(|()| Intervals::default());
        // An aggregate that forgets processes gives the same intervals as one that does not.
        let mut end_interval = |now, aggregate: &mut Aggregate, forgetful: &mut Aggregate| {
            let [kept, forgot] = &mut intervals;
            let kept = kept.end_with(snapshot(now, aggregate));
            let forgot = forgot.end_with(snapshot(now, forgetful));
            let of_processes = |snapshot: &Snapshot| {
                recent(snapshot.processes.iter().flat_map(|process| process.calls.iter()))
            };
            for snapshot in [&kept, &forgot] {
                for process in snapshot.processes.iter().filter(|row| !row.cgroups.is_empty()) {
                    let parts = || process.cgroups.iter().flat_map(|part| part.calls.iter());
                    prop_assert_eq!(total(parts()), total(process.calls.iter()));
                    let parts = without_extremes(recent(parts()));
                    prop_assert_eq!(parts, without_extremes(recent(process.calls.iter())));
                }
            }
            let of_calls = without_extremes(recent(&kept.calls));
            prop_assert_eq!(&without_extremes(of_processes(&kept)), &of_calls);
            prop_assert_eq!(&without_extremes(of_processes(&forgot)), &of_calls);
            prop_assert_eq!(&without_extremes(recent(&forgot.calls)), &of_calls);
            by_interval.merge(&of_calls);
            Ok::<_, TestCaseError>(())
        };
        for event in events {
            match event {
                Event::Call { process, key, call } => {
                    let figures = figures(call);
                    let of = process.map(|process| processes[process]);
                    aggregate.add(of.map(|of| (of.0, cgroup(call))), key, &figures);
                    forgetful.add(of.map(|of| (of.1, cgroup(call))), key, &figures);
                    all.push(call);
                }
                Event::End(process) => {
                    aggregate.thread_ended(processes[process].0);
                    forgetful.thread_ended(processes[process].1);
                    processes[process] = begin(&mut aggregate, &mut forgetful);
                }
                Event::Interval => {
                    now += Duration::from_secs(1);
                    end_interval(now, &mut aggregate, &mut forgetful)?;
                }
            }
        }
        end_interval(now + Duration::from_secs(1), &mut aggregate, &mut forgetful)?;
        let by_call = aggregate.calls();
        assert_is_of(&total(&by_call), &all);
        let by_process = aggregate.processes(Detail::Processes);
        let rows = || by_process.iter().flat_map(|process| process.calls.iter());
        prop_assert_eq!(&total(rows()), &total(&by_call));
        prop_assert_eq!(by_interval, without_extremes(total(&by_call)));
        for row in &by_call {
            let of_call = rows().filter(|of_process| of_process.key == row.key);
            prop_assert_eq!(&total(of_call), &row.total);
        }
        // An aggregate that forgets processes keeps their calls.
        prop_assert_eq!(total(&forgetful.calls()), total(&by_call));
    }
}
