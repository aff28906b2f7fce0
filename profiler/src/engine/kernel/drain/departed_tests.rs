//! Tests of threads whose end was not reported, on fake tables and with a fake host.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::{
    aggregate::{Aggregate, KeepEnded},
    engine::kernel::drain::{fake::Fake, in_flight},
    model::{Figures, InFlight, Timed},
};

const EXIT: u32 = 60;
const EXIT_GROUP: u32 = 231;
const FUTEX: u32 = 202;

/// The fates of threads, by thread id. All other threads live.
#[derive(Default)]
struct Host {
    fates: HashMap<u32, Fate>,
    misses_any: bool,
}

impl Tasks for Host {
    fn fate(&self, record: &ThreadRecord) -> Fate {
        self.fates.get(&record.tid).copied().unwrap_or(Fate::Lives)
    }

    fn can_miss_any_end(&self) -> bool {
        self.misses_any
    }
}

struct Watch {
    tables: Fake,
    reader: Reader,
    aggregate: Aggregate,
    host: Host,
}

impl Watch {
    fn new(records: u32) -> Self {
        let tables = Fake::new(records, 8 * records + 1);
        let reader = Reader::new(&tables, Timed::All);
        let aggregate = Aggregate::new(KeepEnded::Always);
        Self { tables, reader, aggregate, host: Host::default() }
    }

    fn drain(&mut self) -> InFlight {
        self.reader.end_departed(&mut self.tables, &self.host, false);
        self.reader.read(&mut self.tables, &mut self.aggregate);
        in_flight::read(&self.tables, self.reader.known(), &self.aggregate, 1_000)
    }

    fn is(&mut self, tid: u32, fate: Fate) {
        self.host.fates.insert(tid, fate);
    }

    fn total(&self, nr: u32) -> Figures {
        let rows = self.aggregate.calls();
        rows.into_iter().find(|row| row.key == CallKey(nr)).map(|row| row.total).unwrap_or_default()
    }

    /// Asserts that call `nr` never returned, and that nothing is left of the only thread.
    fn assert_ended_in(&self, nr: u32) {
        let figures = self.total(nr);
        assert_eq!((figures.calls, figures.never_returned, figures.in_flight()), (1, 1, 0));
        assert!(self.aggregate.all_ended());
        assert_eq!(self.reader.ends_noticed(), 1);
        assert_eq!(self.reader.breaches().count, 0);
    }

    fn assert_freed(&self) {
        assert_eq!(self.tables.freed_records.len(), 1);
        assert!(self.tables.is_whole());
        let used = self.reader.used(&self.tables);
        assert_eq!((used.records.used, used.extents.used), (0, 0));
    }
}

#[test]
fn a_thread_that_is_gone_has_ended() {
    for nr in [EXIT, EXIT_GROUP] {
        let mut watch = Watch::new(2);
        let record = watch.tables.start(1, 7);
        let call = watch.tables.enter(record, 5, 100, None);
        watch.tables.leave(call);
        watch.tables.enter(record, nr, 0, None);
        for _ in 0..5 {
            assert_eq!(watch.drain().oldest.len(), 1, "it lives");
        }
        assert!(!watch.aggregate.all_ended());
        watch.is(7, Fate::Gone);
        // The first drain clears the owner of the record. The second drain finds that no thread has
        // used the record since.
        assert_eq!(watch.drain().oldest.len(), 1);
        assert_eq!(watch.tables.record(record).owner, 0);
        assert_eq!(watch.drain().oldest, []);
        watch.assert_ended_in(nr);
        watch.assert_freed();
        assert_eq!(watch.total(5).returned, 1, "its calls are kept");
        watch.drain();
        assert_eq!(watch.reader.ends_noticed(), 1);
    }
}

/// The record of a zombie ends at once, but is freed only when the zombie is gone.
#[test]
fn a_zombie_has_ended_and_its_record_is_kept() {
    let mut watch = Watch::new(2);
    let record = watch.tables.start(1, 1);
    watch.tables.enter(record, EXIT, 0, None);
    watch.drain();
    watch.is(1, Fate::Zombie);
    watch.drain();
    for _ in 0..3 {
        assert_eq!(watch.drain().oldest, []);
        watch.assert_ended_in(EXIT);
        assert!(watch.tables.freed_records.is_empty());
    }
    watch.reader.keep_threads(&watch.tables, &mut watch.aggregate, true);
    watch.is(1, Fate::Gone);
    watch.drain();
    watch.assert_ended_in(EXIT);
    watch.assert_freed();
}

/// Another thread has got the stack, and with it the record. So the record counts the calls of that
/// thread until the owner is cleared.
#[test]
fn a_record_that_is_still_written_is_kept() {
    let mut watch = Watch::new(2);
    let record = watch.tables.start(1, 7);
    watch.tables.enter(record, EXIT, 0, None);
    watch.drain();
    watch.is(7, Fate::Gone);
    watch.drain();
    for drains in 1..4 {
        // The next call enters, so the exit of the previous one was missed.
        watch.tables.miss_exit(record);
        watch.tables.enter(record, FUTEX, 0, None);
        watch.drain();
        assert_eq!(
            (watch.reader.ends_noticed(), watch.tables.freed_records.len()),
            (0, 0),
            "{drains}"
        );
    }
    watch.drain();
    assert_eq!(watch.reader.ends_noticed(), 1);
    assert_eq!((watch.total(EXIT).lost, watch.total(FUTEX).never_returned), (1, 1));
    assert_eq!(watch.reader.breaches().count, 0);
    watch.assert_freed();
}

/// A thread that is killed in a call other than `exit` is looked up only if the kernel skips
/// programs.
#[test]
fn other_calls_are_looked_up_where_any_end_can_be_missed() {
    for misses_any in [false, true] {
        let mut watch = Watch::new(2);
        watch.host.misses_any = misses_any;
        let record = watch.tables.start(1, 7);
        watch.tables.enter(record, FUTEX, 0, None);
        watch.drain();
        watch.is(7, Fate::Gone);
        watch.drain();
        let open = watch.drain().oldest.len();
        assert_eq!(open, usize::from(!misses_any));
        if misses_any {
            watch.assert_ended_in(FUTEX);
            watch.assert_freed();
        }
    }
}

/// At the last reading, no program is attached. So one step is enough, even for a thread that this
/// reading was the first to find.
#[test]
fn the_last_reading_ends_at_once() {
    let mut watch = Watch::new(2);
    let record = watch.tables.start(1, 7);
    watch.tables.enter(record, EXIT, 0, None);
    watch.is(7, Fate::Gone);
    watch.reader.read_last(&mut watch.tables, &mut watch.aggregate);
    assert!(watch.reader.end_departed(&mut watch.tables, &watch.host, true));
    watch.reader.read_last(&mut watch.tables, &mut watch.aggregate);
    watch.assert_ended_in(EXIT);
    watch.assert_freed();
    assert!(!watch.reader.end_departed(&mut watch.tables, &watch.host, true));
}

/// However many threads wait in `exit`, a drain looks up only a few of them, and each gets its
/// turn.
#[test]
fn looks_are_bounded_and_reach_every_thread() {
    for (nr, misses_any) in [(EXIT, false), (FUTEX, true)] {
        let threads = 3 * LOOKS as u32 + 5;
        let mut watch = Watch::new(threads);
        watch.host.misses_any = misses_any;
        for tid in 1..=threads {
            let record = watch.tables.start(1, tid);
            watch.tables.enter(record, nr, 0, None);
        }
        watch.drain();
        (1..=threads).for_each(|tid| watch.is(tid, Fate::Gone));
        let mut drains = 0;
        while watch.reader.ends_noticed() < threads.into() {
            let before = watch.reader.ends_noticed();
            watch.drain();
            assert!(watch.reader.ends_noticed() - before <= 2 * LOOKS as u64);
            drains += 1;
            assert!(drains < 20, "{} of {threads}", watch.reader.ends_noticed());
        }
        assert!(watch.aggregate.all_ended() && watch.tables.is_whole());
    }
}

#[derive(Clone, Debug)]
enum Event {
    Call {
        thread: usize,
        nr: u32,
    },
    /// A thread ends in a call. `told` says whether the end is reported.
    End {
        thread: usize,
        nr: u32,
        told: bool,
        zombie: bool,
    },
    Reap,
    Drain,
}

fn event() -> impl Strategy<Value = Event> {
    let nr = || prop::sample::select(vec![EXIT, EXIT_GROUP, FUTEX]);
    prop_oneof![
        4 => (0..3_usize, 0..50_u32).prop_map(|(thread, nr)| Event::Call { thread, nr }),
        2 => (0..3_usize, nr(), any::<bool>(), any::<bool>())
            .prop_map(|(thread, nr, told, zombie)| Event::End { thread, nr, told, zombie }),
        1 => Just(Event::Reap),
        3 => Just(Event::Drain),
    ]
}

proptest! {
    /// No matter which ends are reported, every call is counted once, and every record is freed
    /// once.
    #[test]
    fn ends_that_are_noticed_are_like_those_that_are_reported(
        events in prop::collection::vec(event(), 1..80)
    ) {
        let mut watch = Watch::new(160);
        watch.host.misses_any = true;
        let mut threads: Vec<(u32, u32)> =
            (1..=3).map(|tid| (watch.tables.start(tid, tid), tid)).collect();
        let (mut next_tid, mut calls, mut unreturned, mut untold) = (3, 0, 0, 0);
        let mut end = |watch: &mut Watch, (record, tid): (u32, u32), nr, told, zombie| {
            watch.tables.enter(record, nr, 0, None);
            if told {
                watch.tables.end(record);
            } else {
                watch.is(tid, if zombie { Fate::Zombie } else { Fate::Gone });
                untold += 1;
            }
            (calls, unreturned) = (calls + 1, unreturned + 1);
        };
        let mut made = 0;
        for event in events {
            match event {
                Event::Call { thread, nr } => {
                    let call = watch.tables.enter(threads[thread].0, nr, 100, None);
                    watch.tables.leave(call);
                    made += 1;
                }
                Event::End { thread, nr, told, zombie } => {
                    end(&mut watch, threads[thread], nr, told, zombie);
                    next_tid += 1;
                    threads[thread] = (watch.tables.start(next_tid, next_tid), next_tid);
                }
                Event::Reap => {
                    watch.host.fates.values_mut().for_each(|fate| *fate = Fate::Gone);
                }
                Event::Drain => {
                    watch.drain();
                    prop_assert_eq!(watch.reader.breaches().count, 0);
                }
            }
        }
        for thread in threads {
            end(&mut watch, thread, EXIT_GROUP, false, false);
        }
        watch.host.fates.values_mut().for_each(|fate| *fate = Fate::Gone);
        // Enough drains to look up all threads that were read, and to take the second step.
        for _ in 0..12 {
            watch.drain();
        }
        let all = watch.aggregate.calls();
        let sum = |of: fn(&Figures) -> u64| all.iter().map(|row| of(&row.total)).sum::<u64>();
        prop_assert_eq!(sum(|f| f.calls), calls + made);
        prop_assert_eq!((sum(|f| f.returned), sum(|f| f.never_returned)), (made, unreturned));
        prop_assert_eq!(watch.reader.ends_noticed(), untold);
        prop_assert_eq!(watch.tables.freed_records.len(), next_tid as usize);
        prop_assert!(watch.tables.is_whole() && watch.aggregate.all_ended());
        prop_assert_eq!(watch.reader.breaches().count, 0);
    }
}
