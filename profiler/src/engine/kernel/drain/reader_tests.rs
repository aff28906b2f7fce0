//! The reader on fake tables: whatever threads do between and during readings, every
//! call is counted once.

use std::collections::BTreeMap;

use profiler_common::call::CallKey;
use proptest::prelude::*;

use super::{fake::Fake, reader::Reader};
use crate::{
    aggregate::{Aggregate, KeepEnded},
    model::{Figures, Timed},
};

fn reader(tables: &Fake) -> (Reader, Aggregate) {
    (Reader::new(tables, Timed::All), Aggregate::new(KeepEnded::Always))
}

fn total(aggregate: &Aggregate, nr: u32) -> Figures {
    let rows = aggregate.calls();
    rows.into_iter().find(|row| row.key == CallKey(nr)).map(|row| row.total).unwrap_or_default()
}

#[test]
fn a_reading_without_news_adds_nothing() {
    let mut tables = Fake::new(2, 16);
    let (mut reader, mut aggregate) = reader(&tables);
    let record = tables.start(1, 1);
    let call = tables.enter(record, 5, 100, Some(2));
    tables.leave(call);
    reader.read(&mut tables, &mut aggregate);
    let once = total(&aggregate, 5);
    assert_eq!((once.calls, once.returned, once.errors, once.total_ns), (1, 1, 1, 100));
    reader.read(&mut tables, &mut aggregate);
    assert_eq!(total(&aggregate, 5), once);
}

#[test]
fn counts_that_wrap_are_differences_still() {
    let mut tables = Fake::new(1, 16);
    let (mut reader, mut aggregate) = reader(&tables);
    let record = tables.start(1, 1);
    let call = |tables: &mut Fake| {
        let call = tables.enter(record, 5, 100, Some(2));
        tables.leave(call);
    };
    call(&mut tables);
    tables.set_counts(record, 5, u32::MAX - 1);
    reader.read(&mut tables, &mut aggregate);
    let before = total(&aggregate, 5);
    (0..5).for_each(|_| call(&mut tables));
    reader.read(&mut tables, &mut aggregate);
    let after = total(&aggregate, 5);
    assert_eq!(after.latency.count() - before.latency.count(), 5);
    assert_eq!(after.errors - before.errors, 5);
    assert_eq!(after.errnos, [(2, u64::from(u32::MAX) - 1 + 5)]);
}

/// An error may be read before its errno is there; it must not stay without.
#[test]
fn an_errno_that_comes_after_its_error_is_found() {
    for steps in 0..=super::fake::Leaving::STEPS {
        let mut tables = Fake::new(1, 16);
        let (mut reader, mut aggregate) = reader(&tables);
        let record = tables.start(1, 1);
        let first = tables.enter(record, 5, 100, Some(2));
        tables.leave(first);
        reader.read(&mut tables, &mut aggregate);
        let call = tables.enter(record, 5, 100, Some(2));
        tables.leave_meanwhile(call, steps);
        reader.read(&mut tables, &mut aggregate);
        let torn = total(&aggregate, 5);
        assert_eq!(torn.errors, torn.errnos.iter().map(|(_, n)| n).sum::<u64>(), "{steps}");
        tables.settle();
        reader.read(&mut tables, &mut aggregate);
        let whole = total(&aggregate, 5);
        assert_eq!((whole.errors, whole.errnos), (2, vec![(2, 2)]), "{steps}");
    }
}

/// A thread that stays within the exit's program is reported as it was before, and all of
/// its call once it goes on, even if it then does nothing else.
#[test]
fn a_slot_of_a_thread_within_a_program_is_left_to_the_next_reading() {
    for steps in 1..super::fake::Leaving::STEPS {
        let mut tables = Fake::new(1, 16);
        let (mut reader, mut aggregate) = reader(&tables);
        let record = tables.start(1, 1);
        let call = tables.enter(record, 5, 100, None);
        tables.leave(call);
        reader.read(&mut tables, &mut aggregate);
        let once = total(&aggregate, 5);
        let call = tables.enter(record, 5, 300, Some(2));
        tables.go_on_meanwhile(call, steps, None, 0);
        for _ in 0..2 {
            reader.read(&mut tables, &mut aggregate);
            assert_eq!(total(&aggregate, 5), once, "{steps}");
        }
        tables.settle();
        reader.read(&mut tables, &mut aggregate);
        let twice = total(&aggregate, 5);
        assert_eq!((twice.returned, twice.errors, twice.total_ns), (2, 1, 400), "{steps}");
        assert_eq!(reader.breaches().count, 0);
    }
}

/// Where nothing is attached any more, there is no next reading.
#[test]
fn the_last_reading_leaves_nothing() {
    let mut tables = Fake::new(1, 16);
    let (mut reader, mut aggregate) = reader(&tables);
    let record = tables.start(1, 1);
    let call = tables.enter(record, 5, 300, None);
    tables.go_on_meanwhile(call, super::fake::Leaving::STEPS - 1, None, 0);
    reader.read_last(&mut tables, &mut aggregate);
    assert_eq!(total(&aggregate, 5).returned, 1);
}

#[test]
fn an_ended_thread_s_last_call_never_returned() {
    let mut tables = Fake::new(1, 16);
    let (mut reader, mut aggregate) = reader(&tables);
    let record = tables.start(1, 1);
    tables.enter(record, 231, 0, None);
    reader.read(&mut tables, &mut aggregate);
    assert_eq!(total(&aggregate, 231).in_flight(), 1);
    tables.end(record);
    reader.read(&mut tables, &mut aggregate);
    let figures = total(&aggregate, 231);
    assert_eq!((figures.calls, figures.never_returned, figures.in_flight()), (1, 1, 0));
    assert!(aggregate.all_ended());
}

/// What a thread does, or the reader.
#[derive(Clone, Debug)]
enum Event {
    /// One of the threads makes a call.
    Call {
        thread: usize,
        nr: u32,
        latency_ns: u64,
        errno: Option<u16>,
    },
    /// One of the threads makes a call that leaves during the next reading.
    CallMeanwhile {
        thread: usize,
        nr: u32,
        latency_ns: u64,
        errno: Option<u16>,
        steps: u32,
    },
    /// One of the threads ends, within a call or not; another begins in its place.
    End {
        thread: usize,
        within_call: bool,
    },
    Read,
}

/// Threads at one time, which are as many as there are records with one reading's
/// worth of those that have ended.
const THREADS: usize = 4;

fn event() -> impl Strategy<Value = Event> {
    let nr = prop::sample::select(vec![0_u32, 1, 31, 32, 59, 231, 454, 511]);
    let latency = prop_oneof![0..4_000_u64, any::<u32>().prop_map(u64::from)];
    let errno = prop::option::of(1..160_u16);
    let call = (0..THREADS, nr, latency, errno);
    prop_oneof![
        8 => call.clone().prop_map(|(thread, nr, latency_ns, errno)| Event::Call {
            thread, nr, latency_ns, errno
        }),
        4 => (call, 0..super::fake::Leaving::STEPS).prop_map(
            |((thread, nr, latency_ns, errno), steps)| Event::CallMeanwhile {
                thread, nr, latency_ns, errno, steps
            }
        ),
        1 => (0..THREADS, any::<bool>()).prop_map(|(thread, within_call)| Event::End {
            thread, within_call
        }),
        3 => Just(Event::Read),
    ]
}

/// What was done, by number.
#[derive(Default, Clone, Debug, PartialEq, Eq)]
struct Done {
    calls: u64,
    never_returned: u64,
    total_ns: u64,
    errnos: BTreeMap<u16, u64>,
}

proptest! {
    #[test]
    fn every_call_is_counted_once(events in prop::collection::vec(event(), 1..200)) {
        // Room for every thread that any run can start, so that none overflows.
        let mut tables = Fake::new(256, 8_192);
        let (mut reader, mut aggregate) = reader(&tables);
        let mut done: BTreeMap<u32, Done> = BTreeMap::new();
        let mut next_tid = 1;
        let mut begin = |tables: &mut Fake| {
            next_tid += 1;
            tables.start(next_tid, next_tid)
        };
        let mut threads: Vec<u32> = (0..THREADS).map(|_| begin(&mut tables)).collect();
        let mut started = THREADS;
        let mut ended = 0;
        let mut count = |nr: u32, latency_ns: u64, errno: Option<u16>| {
            let of = done.entry(nr).or_default();
            of.calls += 1;
            of.total_ns += latency_ns;
            if let Some(errno) = errno {
                *of.errnos.entry(errno).or_default() += 1;
            }
        };
        let mut killed = BTreeMap::<u32, u64>::new();
        for event in events {
            match event {
                Event::Call { thread, nr, latency_ns, errno } => {
                    tables.settle();
                    let call = tables.enter(threads[thread], nr, latency_ns, errno);
                    tables.leave(call);
                    count(nr, latency_ns, errno);
                }
                Event::CallMeanwhile { thread, nr, latency_ns, errno, steps } => {
                    tables.settle();
                    let call = tables.enter(threads[thread], nr, latency_ns, errno);
                    tables.leave_meanwhile(call, steps);
                    count(nr, latency_ns, errno);
                }
                Event::End { thread, within_call } => {
                    tables.settle();
                    if within_call {
                        tables.enter(threads[thread], 231, 0, None);
                        *killed.entry(231).or_default() += 1;
                    }
                    tables.end(threads[thread]);
                    ended += 1;
                    threads[thread] = begin(&mut tables);
                    started += 1;
                }
                Event::Read => {
                    reader.read(&mut tables, &mut aggregate);
                    // At any moment, whatever is being written.
                    for row in aggregate.calls() {
                        let figures = row.total;
                        prop_assert!(figures.calls >= figures.timed() + figures.never_returned);
                        let errnos: u64 = figures.errnos.iter().map(|(_, n)| n).sum();
                        prop_assert_eq!(figures.errors, errnos);
                    }
                }
            }
        }
        tables.settle();
        threads.iter().for_each(|&record| tables.end(record));
        ended += threads.len();
        reader.read(&mut tables, &mut aggregate);
        for (nr, times) in killed {
            let of = done.entry(nr).or_default();
            of.calls += times;
            of.never_returned += times;
        }
        for (&nr, done) in &done {
            let figures = total(&aggregate, nr);
            let found = Done {
                calls: figures.calls,
                never_returned: figures.never_returned,
                total_ns: figures.total_ns,
                errnos: figures.errnos.iter().copied().collect(),
            };
            prop_assert_eq!(&found, done, "call {}", nr);
            prop_assert_eq!(figures.in_flight(), 0);
            prop_assert_eq!(figures.latency.count(), figures.returned);
        }
        prop_assert_eq!(aggregate.calls().len(), done.len(), "no call that was not made");
        // Each freed once, and nothing kept.
        prop_assert_eq!(started, ended);
        prop_assert_eq!(tables.freed_records.len(), ended);
        prop_assert!(tables.is_whole());
        prop_assert!(aggregate.all_ended());
        prop_assert_eq!(reader.used(&tables).records.used, 0);
        prop_assert_eq!(reader.used(&tables).extents.used, 0);
    }

    /// Few records, each used by many threads, one after another.
    #[test]
    fn a_record_that_is_used_again_brings_nothing_of_its_last_owner(
        calls in prop::collection::vec((0..64_u32, 0..1_000_u64), 1..60)
    ) {
        let mut tables = Fake::new(1, 32);
        let (mut reader, mut aggregate) = reader(&tables);
        let mut done = BTreeMap::<u32, u64>::new();
        for (tid, (nr, latency_ns)) in (1..).zip(calls) {
            let record = tables.start(tid, tid);
            let call = tables.enter(record, nr, latency_ns, None);
            tables.leave(call);
            tables.end(record);
            reader.read(&mut tables, &mut aggregate);
            *done.entry(nr).or_default() += 1;
        }
        for (nr, times) in done {
            prop_assert_eq!(total(&aggregate, nr).calls, times);
        }
        let mut extents = tables.freed_extents.clone();
        extents.sort_unstable();
        prop_assert!(tables.is_whole());
        prop_assert!(!extents.is_empty());
    }
}

/// A call too many in a slot, which may be one that is entering, is found once the thread
/// is known to be in no program of ours: within another call.
#[test]
fn books_that_are_off_are_a_breach_and_are_told_once() {
    let mut tables = Fake::new(1, 16);
    let (mut reader, mut aggregate) = reader(&tables);
    let record = tables.start(1, 1);
    let call = tables.enter(record, 5, 100, None);
    tables.leave(call);
    tables.miscount(record, 6);
    reader.read(&mut tables, &mut aggregate);
    assert_eq!(reader.breaches().count, 0);
    tables.enter(record, 5, 100, None);
    for _ in 0..3 {
        reader.read(&mut tables, &mut aggregate);
        assert_eq!(reader.breaches().count, 1);
        assert!(reader.breaches().last.contains("thread 1"), "{}", reader.breaches().last);
    }
}

/// Two too many are no call that is entering.
#[test]
fn books_that_are_far_off_are_a_breach_at_once() {
    let mut tables = Fake::new(1, 16);
    let (mut reader, mut aggregate) = reader(&tables);
    let record = tables.start(1, 1);
    let call = tables.enter(record, 5, 100, None);
    tables.leave(call);
    tables.miscount(record, 6);
    tables.miscount(record, 6);
    reader.read(&mut tables, &mut aggregate);
    assert_eq!(reader.breaches().count, 1);
}

#[test]
fn a_thread_that_ended_has_no_second_chance() {
    let mut tables = Fake::new(1, 16);
    let (mut reader, mut aggregate) = reader(&tables);
    let record = tables.start(1, 1);
    tables.miscount(record, 6);
    tables.end(record);
    reader.read(&mut tables, &mut aggregate);
    assert_eq!(reader.breaches().count, 1);
}

#[test]
fn books_balance_in_the_middle_of_a_call_and_at_its_end() {
    let mut tables = Fake::new(1, 16);
    let (mut reader, mut aggregate) = reader(&tables);
    let record = tables.start(1, 1);
    for nr in [5, 5, 300] {
        let call = tables.enter(record, nr, 100, Some(11));
        (0..3).for_each(|_| reader.read(&mut tables, &mut aggregate));
        tables.leave(call);
        (0..3).for_each(|_| reader.read(&mut tables, &mut aggregate));
    }
    // Killed within its last call.
    tables.enter(record, 7, 0, None);
    tables.end(record);
    reader.read(&mut tables, &mut aggregate);
    assert_eq!(reader.breaches().count, 0);
    assert_eq!(total(&aggregate, 7).never_returned, 1);
}

/// It is lost in the row of its call, once, and neither in flight nor a breach.
#[test]
fn a_call_whose_exit_was_missed_is_lost() {
    let mut tables = Fake::new(1, 16);
    let (mut reader, mut aggregate) = reader(&tables);
    let record = tables.start(1, 1);
    let call = tables.enter(record, 5, 100, None);
    tables.leave(call);
    for _ in 0..2 {
        tables.enter(record, 5, 100, None);
        tables.miss_exit(record);
    }
    let last = tables.enter(record, 7, 100, None);
    for _ in 0..2 {
        reader.read(&mut tables, &mut aggregate);
        let missed = total(&aggregate, 5);
        assert_eq!((missed.calls, missed.returned, missed.lost, missed.in_flight()), (3, 1, 2, 0));
        assert_eq!(total(&aggregate, 7).in_flight(), 1);
    }
    tables.leave(last);
    tables.end(record);
    reader.read(&mut tables, &mut aggregate);
    assert_eq!(total(&aggregate, 5).lost, 2);
    assert_eq!(*reader.breaches(), super::reader::Breaches::default());
}

/// A thread stopped in the middle of a program for as long as it likes is no breach.
#[test]
fn a_thread_stopped_within_a_program_is_no_breach() {
    let mut tables = Fake::new(1, 16);
    let (mut reader, mut aggregate) = reader(&tables);
    let record = tables.start(1, 1);
    let call = tables.enter(record, 5, 100, None);
    tables.leave(call);
    // Its slot counts the entry, and its record does not yet.
    tables.miscount(record, 5);
    for _ in 0..5 {
        reader.read(&mut tables, &mut aggregate);
    }
    assert_eq!(reader.breaches().count, 0);
}
