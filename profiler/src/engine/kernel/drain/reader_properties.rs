//! Tests the reader on random histories. Whatever the threads do between and during readings, and
//! whenever the reader reads, every call is counted once.

use std::collections::BTreeMap;

use profiler_common::{
    call::OVERFLOW_SLOTS,
    hist,
    limits::ERRNOS,
    wire::{
        CallBefore, Cell, CellIndex, Control, Counters, OverflowSlot, TaskIdentity, ThreadRecord,
    },
};
use proptest::prelude::*;

use super::{
    fake::{Fake, Leaving},
    reader::Reader,
};
use crate::{
    aggregate::{Aggregate, KeepEnded},
    engine::{
        Intervals,
        kernel::tables::{Activity, Before, SlotCounts, Tables, UNOWNED, ZERO_OVERFLOW},
    },
    model::{Detail, Extremes, Figures, Snapshot, Timed},
};

/// Figures by process or thread, and by syscall number.
type ByProcess = BTreeMap<(Option<u32>, u32), Figures>;

/// Figures by syscall number.
type ByCall = BTreeMap<u32, Figures>;

/// What the threads did with one call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Done {
    calls: u64,
    never_returned: u64,
    total_ns: u64,
    errnos: BTreeMap<u16, u64>,
}

/// A reader, its tables, what it has read, and what the threads did.
struct Watch {
    tables: Fake,
    reader: Reader,
    aggregate: Aggregate,
    threads: Vec<u32>,
    next_tid: u32,
    done: BTreeMap<u32, Done>,
    /// Whether all threads belong to one process.
    one_process: bool,
}

const THREADS: usize = 3;

impl Watch {
    fn new(records: u32, extents: u32) -> Self {
        let mut tables = Fake::new(records, extents);
        let reader = Reader::new(&tables, Timed::All);
        let threads = (1..=THREADS as u32).map(|tid| tables.start(tid, tid)).collect();
        let aggregate = Aggregate::new(KeepEnded::Always);
        let done = BTreeMap::new();
        let (next_tid, one_process) = (THREADS as u32, false);
        Self { tables, reader, aggregate, threads, next_tid, done, one_process }
    }

    /// Same as [`Self::new`], but all threads belong to process 1.
    fn of_one_process(records: u32, extents: u32) -> Self {
        let this = Self::new(records, extents);
        let mut tables = Fake::new(records, extents);
        let threads = (1..=THREADS as u32).map(|tid| tables.start(1, tid)).collect();
        Self { tables, threads, one_process: true, ..this }
    }

    fn keep_threads(&mut self, on: bool) {
        self.reader.keep_threads(&self.tables, &mut self.aggregate, on);
    }

    /// Returns the figures by thread and syscall, and asserts that threads add up to their process.
    /// Omits the extremes, because those of ended threads may be bounds.
    fn by_thread(&self) -> ByProcess {
        let mut by_thread = ByProcess::new();
        for process in self.aggregate.processes(Detail::Threads) {
            let mut rest: ByCall =
                process.calls.iter().map(|row| (row.key.0, row.total.clone())).collect();
            for thread in &process.threads {
                let tid = thread.thread.as_ref().map(|thread| thread.tid);
                for row in thread.calls.iter() {
                    let left = rest.get_mut(&row.key.0).expect("a row of the process");
                    *left = left.since(&row.total);
                    let sum = by_thread.entry((tid, row.key.0)).or_default();
                    sum.merge(&row.total);
                    sum.extremes = None;
                }
            }
            assert!(rest.values().all(Figures::is_empty), "{rest:?}");
        }
        by_thread
    }

    fn read(&mut self) {
        self.reader.read(&mut self.tables, &mut self.aggregate);
    }

    fn happen(&mut self, event: &Event) {
        // Completes the calls in progress, so that only one event happens at a time.
        self.tables.settle();
        match *event {
            Event::Call { thread, nr, latency_ns, errno, meanwhile } => {
                let times = 1 + meanwhile.map_or(0, |meanwhile| u64::from(meanwhile.more));
                let done = self.done.entry(nr).or_default();
                done.calls += times;
                done.total_ns += times * latency_ns;
                if let Some(errno) = errno {
                    *done.errnos.entry(errno).or_default() += times;
                }
                let call = self.tables.enter(self.threads[thread], nr, latency_ns, errno);
                match meanwhile {
                    Some(Meanwhile { steps, pause, more }) => {
                        self.tables.go_on_meanwhile(call, steps, pause, more);
                    }
                    None => self.tables.leave(call),
                }
            }
            Event::End { thread, within_call } => {
                if within_call {
                    self.tables.enter(self.threads[thread], 231, 0, None);
                    let done = self.done.entry(231).or_default();
                    done.calls += 1;
                    done.never_returned += 1;
                }
                self.tables.end(self.threads[thread]);
                self.next_tid += 1;
                let tgid = if self.one_process { 1 } else { self.next_tid };
                self.threads[thread] = self.tables.start(tgid, self.next_tid);
            }
        }
    }

    /// Lets all threads end, and reads the rest.
    fn end(&mut self) {
        self.tables.settle();
        self.threads.iter().for_each(|&record| self.tables.end(record));
        self.read();
    }

    /// Checks that every call was counted once, and that all records and extents were freed once.
    /// All threads have ended.
    fn check_all(&self) -> Result<(), TestCaseError> {
        let (_, mut found) = self.all();
        for (nr, done) in &self.done {
            let figures = found.remove(nr).unwrap_or_default();
            let counted = Done {
                calls: figures.calls,
                never_returned: figures.never_returned,
                total_ns: figures.total_ns,
                errnos: figures.errnos.iter().copied().collect(),
            };
            prop_assert_eq!(&counted, done, "call {}", nr);
            prop_assert_eq!(figures.in_flight(), 0);
            prop_assert_eq!(figures.latency.count(), figures.returned);
        }
        prop_assert_eq!(found, ByCall::new(), "only calls that were made");
        prop_assert_eq!(self.reader.breaches().count, 0);
        prop_assert_eq!(self.tables.freed_records.len(), self.next_tid as usize);
        prop_assert!(self.tables.is_whole());
        prop_assert!(self.aggregate.all_ended());
        let used = self.reader.used(&self.tables);
        prop_assert_eq!((used.records.used, used.extents.used), (0, 0));
        Ok(())
    }

    /// Returns the figures by process and syscall, and by syscall.
    fn all(&self) -> (ByProcess, ByCall) {
        let processes = self.aggregate.processes(Detail::Processes);
        let by_process = processes.into_iter().flat_map(|process| {
            let tgid = process.process.tgid;
            let rows = process.calls.iter().cloned().collect::<Vec<_>>();
            rows.into_iter().map(move |row| ((tgid, row.key.0), row.total))
        });
        let by_call = self.aggregate.calls().into_iter().map(|row| (row.key.0, row.total));
        (by_process.collect(), by_call.collect())
    }
}

#[derive(Clone, Debug)]
enum Event {
    /// A call. If `meanwhile` is set, the call leaves during the next reading.
    Call {
        thread: usize,
        nr: u32,
        latency_ns: u64,
        errno: Option<u16>,
        meanwhile: Option<Meanwhile>,
    },
    /// A thread ends, and another takes its place.
    End { thread: usize, within_call: bool },
}

/// What a thread does while it is read.
#[derive(Clone, Copy, Debug)]
struct Meanwhile {
    /// Stores before the reading.
    steps: u32,
    /// Reads between two stores. `None` if the thread stops.
    pause: Option<u32>,
    /// How often the same call follows.
    more: u32,
}

fn latency() -> impl Strategy<Value = u64> {
    prop_oneof![0..300_u64, any::<u32>().prop_map(u64::from)]
}

fn event() -> impl Strategy<Value = Event> {
    let nr = prop::sample::select(vec![0_u32, 1, 31, 32, 59, 231, 454, 511]);
    let errno = prop::option::of(1..160_u16);
    let meanwhile = prop::option::of(
        (0..Leaving::STEPS, prop::option::weighted(0.8, 0..20_u32), 0..40_u32)
            .prop_map(|(steps, pause, more)| Meanwhile { steps, pause, more }),
    );
    let call = (0..THREADS, nr, latency(), errno, meanwhile);
    prop_oneof![
        8 => call.prop_map(|(thread, nr, latency_ns, errno, meanwhile)| {
            Event::Call { thread, nr, latency_ns, errno, meanwhile }
        }),
        1 => (0..THREADS, any::<bool>())
            .prop_map(|(thread, within_call)| Event::End { thread, within_call }),
    ]
}

/// Checks that a row is consistent, whenever it is read.
fn check(figures: &Figures) -> Result<(), TestCaseError> {
    let errnos = figures.errnos.iter().map(|&(_, count)| count).sum::<u64>();
    prop_assert_eq!(errnos + figures.errors_unlisted, figures.errors, "{:?}", figures);
    prop_assert!(figures.errors <= figures.returned, "{:?}", figures);
    prop_assert!(figures.calls >= figures.left() + figures.never_returned, "{:?}", figures);
    prop_assert_eq!(figures.latency.count(), figures.timed(), "{:?}", figures);
    if figures.timed() == 0 {
        prop_assert_eq!((figures.total_ns, figures.max_ns()), (0, 0));
        return Ok(());
    }
    let (mean_ns, extremes) = (figures.mean_ns(), figures.min_ns()..=figures.max_ns());
    prop_assert!(extremes.contains(&mean_ns), "{:?}", figures);
    Ok(())
}

/// Checks the row of an interval. The number of entered calls is not checked, because calls that
/// left in this interval may have entered in an earlier one.
fn check_interval(figures: &Figures) -> Result<(), TestCaseError> {
    check(&Figures { calls: u64::MAX, ..figures.clone() })
}

/// Each event, and whether a reading follows it.
fn history() -> impl Strategy<Value = Vec<(Event, bool)>> {
    prop::collection::vec((event(), prop::bool::weighted(0.3)), 1..120)
}

proptest! {
    /// Rows by thread that begin late include all calls that live threads have made since the
    /// start.
    #[test]
    fn rows_by_thread_are_the_same_whenever_they_begin(history in history(), begin in 0..60_usize) {
        let (mut early, mut late) =
            (Watch::of_one_process(160, 512), Watch::of_one_process(160, 512));
        early.keep_threads(true);
        for (at, (event, read)) in history.iter().enumerate() {
            for watch in [&mut early, &mut late] {
                watch.happen(event);
                if *read {
                    watch.read();
                }
            }
            if at == begin.min(history.len() - 1) {
                late.keep_threads(true);
            }
        }
        for watch in [&mut early, &mut late] {
            watch.tables.settle();
            watch.read();
        }
        let (early, late) = (early.by_thread(), late.by_thread());
        for (key, figures) in late.iter().filter(|((tid, _), _)| tid.is_some()) {
            prop_assert_eq!(&early[key], figures, "{:?}", key);
        }
        // The other threads had ended before the late rows began.
        let sum = |rows: &ByProcess| rows.values().collect::<Figures>();
        prop_assert_eq!(sum(&early), sum(&late));
    }

    #[test]
    fn every_call_is_counted_once_whenever_it_is_read(history in history()) {
        let (mut often, mut once) = (Watch::new(160, 512), Watch::new(160, 512));
        let mut intervals = ByCall::new();
        let mut consumer = Intervals::default();
        let mut add_recent = |aggregate: &Aggregate| {
            let shown = consumer.end_with(Snapshot {
                calls: aggregate.calls(),
                processes: aggregate.processes(Detail::Processes),
                ..Snapshot::default()
            });
            for row in &shown.calls {
                check(&row.total)?;
                check_interval(&row.recent)?;
                intervals.entry(row.key.0).or_default().merge(&row.recent);
            }
            for row in shown.processes.iter().flat_map(|p| p.calls.iter()) {
                check(&row.total)?;
                check_interval(&row.recent)?;
            }
            Ok::<_, TestCaseError>(())
        };
        for (event, read) in &history {
            often.happen(event);
            once.happen(event);
            if *read {
                often.read();
                add_recent(&often.aggregate)?;
            }
        }
        for watch in [&mut often, &mut once] {
            watch.end();
            watch.check_all()?;
        }
        add_recent(&often.aggregate)?;
        prop_assert_eq!(often.all(), once.all());
        // The intervals add up to the totals. Their extremes may be bounds.
        let no_extremes = |(nr, figures)| (nr, Figures { extremes: None, ..figures });
        let intervals: Vec<_> = intervals.into_iter().map(no_extremes).collect();
        let (_, all) = often.all();
        prop_assert_eq!(intervals, all.into_iter().map(no_extremes).collect::<Vec<_>>());
    }

    /// With as few records and extents as possible, each is reused many times. After each end of a
    /// thread, a reading frees them for the next thread.
    #[test]
    fn what_is_used_again_brings_nothing_along(history in history()) {
        let (mut tight, mut wide) = (Watch::new(4, 64), Watch::new(160, 512));
        for (event, read) in &history {
            tight.happen(event);
            wide.happen(event);
            if *read || matches!(event, Event::End { .. }) {
                tight.read();
            }
        }
        for watch in [&mut tight, &mut wide] {
            watch.end();
            watch.check_all()?;
        }
        prop_assert_eq!(tight.all(), wide.all());
    }

    /// Counts have 32 bits and wrap. The differences are right whatever the start value.
    #[test]
    fn counts_that_wrap_are_differences_still(
        rounds in prop::collection::vec((any::<u32>(), 1..40_u64), 1..12)
    ) {
        let mut watch = Watch::new(4, 64);
        let call = Event::Call { thread: 0, nr: 5, latency_ns: 100, errno: Some(2), meanwhile: None };
        watch.happen(&call);
        watch.read();
        for (base, times) in rounds {
            // A start value just below the wrap, or any other.
            let base = if base % 2 == 0 { u32::MAX - base % 40 } else { base };
            watch.tables.set_counts(watch.threads[0], 5, base);
            // A call, so that the reader reads the new counts.
            watch.happen(&call);
            watch.read();
            let before = watch.all().1[&5].clone();
            (0..times).for_each(|_| watch.happen(&call));
            watch.read();
            let after = watch.all().1[&5].clone();
            prop_assert_eq!(after.latency.count() - before.latency.count(), times);
            prop_assert_eq!(after.errors - before.errors, times);
            prop_assert_eq!(after.errnos[0].1 - before.errnos[0].1, times);
            prop_assert_eq!(after.calls - before.calls, times);
        }
    }

    /// The minimum and the maximum of an interval are the exact ones of its calls, or the outer
    /// bounds of their buckets.
    #[test]
    fn an_interval_s_extremes_are_in_the_right_buckets(
        intervals in prop::collection::vec(prop::collection::vec(latency(), 1..8), 1..12)
    ) {
        let mut watch = Watch::new(4, 64);
        let mut record = Extremes { min_ns: u64::MAX, max_ns: 0 };
        let mut consumer = Intervals::default();
        for latencies in intervals {
            for &latency_ns in &latencies {
                watch.happen(&Event::Call {
                    thread: 0, nr: 5, latency_ns, errno: None, meanwhile: None
                });
            }
            watch.read();
            let snapshot = Snapshot { calls: watch.aggregate.calls(), ..Snapshot::default() };
            let rows = consumer.end_with(snapshot).calls;
            let shown = rows[0].recent.extremes.expect("calls that left");
            let exact = Extremes {
                min_ns: latencies.iter().copied().min().unwrap_or_default(),
                max_ns: latencies.iter().copied().max().unwrap_or_default(),
            };
            prop_assert!(shown.min_ns <= exact.min_ns && shown.max_ns >= exact.max_ns);
            prop_assert_eq!(hist::bucket(shown.min_ns), hist::bucket(exact.min_ns));
            prop_assert_eq!(hist::bucket(shown.max_ns), hist::bucket(exact.max_ns));
            // An extreme is exact if it is a new record since the start.
            prop_assert!(exact.min_ns >= record.min_ns || shown.min_ns == exact.min_ns);
            prop_assert!(exact.max_ns <= record.max_ns || shown.max_ns == exact.max_ns);
            record = record.join(exact);
            prop_assert_eq!(rows[0].total.extremes, Some(record));
        }
    }
}

/// Tables with one overflow slot and nothing else.
struct OnlyOverflow(OverflowSlot);

/// The index of the overflow slot. Any index works.
const OVERFLOWING: u32 = 7;

impl Tables for OnlyOverflow {
    fn record_limit(&self) -> u32 {
        0
    }

    fn record_count(&self) -> u32 {
        0
    }

    fn extent_count(&self) -> u32 {
        1
    }

    fn activity(&self, _: u32) -> Activity {
        Activity::default()
    }

    fn record(&self, _: u32) -> ThreadRecord {
        UNOWNED
    }

    fn identity(&self, _: u32) -> TaskIdentity {
        TaskIdentity::default()
    }

    fn slot_counts(&self, _: CellIndex) -> SlotCounts {
        SlotCounts::default()
    }

    fn cell(&self, _: CellIndex) -> Cell {
        [0; _]
    }

    fn extent_owner(&self, _: u32) -> u32 {
        0
    }

    fn overflow(&self, index: u32) -> OverflowSlot {
        assert!(index < OVERFLOW_SLOTS);
        if index == OVERFLOWING { self.0 } else { ZERO_OVERFLOW }
    }

    fn overflow_extremes(&self, _: u32) -> Option<(u64, u64)> {
        None
    }

    fn counters(&self) -> Counters {
        // Refused extents: the overflow slot may have buckets and errnos of calls that are counted
        // elsewhere.
        Counters { extents_exhausted: 1, ..Counters::default() }
    }

    fn control(&self) -> Control {
        Control::default()
    }

    fn before(&self) -> Option<Before> {
        None
    }

    fn call_before(&self, _: u32) -> CallBefore {
        CallBefore::default()
    }

    fn set_wake_marks(&mut self, _: u64, _: u64) {}

    fn disown_record(&mut self, _: u32) {}

    fn end_record(&mut self, _: u32) {}

    fn free_record(&mut self, _: u32) {}

    fn free_extent(&mut self, _: u32) {}
}

proptest! {
    // Fewer cases, because each reading reads every overflow slot.
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// An overflow slot, whose calls have no process, is also read by difference, even if its
    /// counts are about to wrap.
    #[test]
    fn an_overflow_slot_is_read_by_difference_too(
        calls in prop::collection::vec((latency(), prop::option::of(1..134_usize), prop::bool::weighted(0.2)), 1..60),
        start in prop::sample::select(vec![0_u32, u32::MAX - 3, u32::MAX]),
    ) {
        let mut tables = OnlyOverflow(OverflowSlot {
            buckets: [start; _],
            errnos: [start; ERRNOS],
            entered: 1,
            ..ZERO_OVERFLOW
        });
        let mut reader = Reader::new(&tables, Timed::All);
        let mut aggregate = Aggregate::new(KeepEnded::Always);
        reader.read(&mut tables, &mut aggregate);
        let figures = |aggregate: &Aggregate| aggregate.calls()[0].total.clone();
        let before = figures(&aggregate);
        let mut total_ns = 0;
        let mut failed = 0;
        for &(latency_ns, errno, read) in &calls {
            let slot = &mut tables.0;
            slot.entered += 1;
            slot.returned += 1;
            slot.total_ns += latency_ns;
            total_ns += latency_ns;
            let bucket = &mut slot.buckets[hist::bucket(latency_ns) as usize];
            *bucket = bucket.wrapping_add(1);
            if let Some(errno) = errno {
                slot.errors += 1;
                slot.errnos[errno] = slot.errnos[errno].wrapping_add(1);
                failed += 1;
            }
            if read {
                reader.read(&mut tables, &mut aggregate);
            }
        }
        reader.read(&mut tables, &mut aggregate);
        let after = figures(&aggregate);
        let times = calls.len() as u64;
        prop_assert_eq!(after.calls - before.calls, times);
        prop_assert_eq!(after.returned - before.returned, times);
        prop_assert_eq!(after.total_ns - before.total_ns, total_ns);
        prop_assert_eq!(after.errors - before.errors, failed);
        prop_assert_eq!(after.latency.count() - before.latency.count(), times);
        let errnos = |of: &Figures| of.errnos.iter().map(|&(_, count)| count).sum::<u64>();
        prop_assert_eq!(errnos(&after) - errnos(&before), failed);
        prop_assert_eq!(reader.overflowed(), times + 1);
    }
}
