//! The calls in flight, from the records of the threads.
//!
//! They are not computed by subtraction, because a call whose exit was missed would be in flight
//! forever.
//!
//! The kernel side stores the time before the call. So a record is read until two readings agree. It is
//! not read again while the thread is in the same call. The oldest calls are listed by kind, and each
//! kind has its own bound: thousands of threads that sleep in `futex` must not hide one `fsync`. Calls
//! that entered before the attach are as old as the end of their listing, and are in no figures.

use std::{cmp::Reverse, collections::BTreeMap, sync::Arc, time::Duration};

use profiler_common::{
    call::CallKey,
    sampling::adaptive::Sample,
    wire::{CallBefore, OVERFLOWED, RecordState, ThreadRecord},
};

use super::reader::Thread;
use crate::{
    aggregate::{Aggregate, Identity, ProcessIndex},
    engine::kernel::tables::{Before, Tables},
    model::{CallInFlight, InFlight, Kind, Process, ThreadInFlight},
    names::{syscalls, waits::kind},
    text::Untrusted,
};

/// How many threads of each kind are listed. With one bound for all kinds, thousands of threads that
/// sleep for days would hide the one that should not.
const MOST_OF_A_KIND: usize = 256;

/// How often the record of a thread is read while it changes. A call that ends within so few reads
/// is too short to be shown as in flight.
const LOOKS: usize = 4;

/// A thread in a call.
struct Open {
    key: CallKey,
    age_ns: u64,
    tid: u32,
    whose: Whose,
    /// Whether the age is a lower bound.
    at_least: bool,
    /// Whether its entry is counted in an overflow slot.
    overflowed: bool,
}

/// Where the process of a thread is.
#[derive(Clone, Copy)]
enum Whose {
    /// In the aggregate.
    Known(ProcessIndex),
    /// In the call of this index that entered before the attach, which is in no figures.
    Before(u32),
}

impl Open {
    fn is_before(&self) -> bool {
        matches!(self.whose, Whose::Before(_))
    }
}

/// The call that a thread is in. It is not read again until the thread enters another call, because
/// most threads of a host sleep for a long time.
#[derive(Clone, Copy)]
pub(crate) struct Flight {
    /// How many calls the thread had entered, with this one.
    entered: u64,
    /// When it entered. If the call was not timed: when it was first found in flight.
    entry_ns: u64,
    /// Whether `entry_ns` is an upper bound, because the call was not timed.
    at_least: bool,
    key: u32,
    tid: u32,
    overflowed: bool,
}

/// Reads the calls in flight at `now_ns`: those of the threads `known` from their records, and those
/// of threads without a record from the counts in `of`.
pub(crate) fn read<'a>(
    tables: &impl Tables,
    known: impl Iterator<Item = (u32, &'a mut Thread)>,
    of: &Aggregate,
    now_ns: u64,
) -> InFlight {
    let mut open: Vec<Open> = known
        .filter_map(|(index, thread)| {
            let flight = in_call(tables, index, &mut thread.flight, now_ns)?;
            Some(Open {
                // The same key as in the aggregate.
                key: syscalls::fold_unknown(CallKey(flight.key)),
                // A call may enter after the time was read.
                age_ns: now_ns.saturating_sub(flight.entry_ns),
                tid: flight.tid,
                whose: Whose::Known(thread.process),
                at_least: flight.at_least,
                overflowed: flight.overflowed,
            })
        })
        .collect();
    let before = tables.before();
    if let Some(Before { count, until_ns }) = before {
        open.extend((0..count).filter_map(|index| {
            let call = still_before(tables, index)?;
            Some(Open {
                key: syscalls::fold_unknown(CallKey(call.key)),
                age_ns: now_ns.saturating_sub(until_ns),
                tid: call.tid,
                whose: Whose::Before(index),
                at_least: true,
                overflowed: false,
            })
        }));
    }
    InFlight {
        calls: by_call(&open, of),
        oldest: oldest(open, tables, of),
        sees_before: before.is_some(),
    }
}

/// A call that entered before the attach, if it is still in flight.
fn still_before(tables: &impl Tables, index: u32) -> Option<CallBefore> {
    Some(tables.call_before(index)).filter(|call| call.key != CallKey::NONE.0)
}

/// The call that a thread is in, if any. `known` is the last call that was found.
fn in_call(
    tables: &impl Tables,
    index: u32,
    known: &mut Option<Flight>,
    now_ns: u64,
) -> Option<Flight> {
    let activity = tables.activity(index);
    // This is all that a thread between two calls costs, or one that has ended.
    if activity.state != RecordState::Live as u16 || activity.entered == activity.left {
        return None;
    }
    // A thread that is in the same call as before costs no more either.
    let same = |flight: &Flight| {
        (flight.entered, flight.key) == (activity.entered, activity.in_flight_key)
    };
    if let Some(flight) = known.filter(same) {
        return Some(flight);
    }
    let record = settled(|| tables.record(index))?;
    *known = Some(Flight {
        entered: record.entered,
        // With adaptive sampling, the shift is in the upper bits.
        entry_ns: if record.entry_ns == 0 { now_ns } else { Sample(record.entry_ns).ns() },
        at_least: record.entry_ns == 0,
        key: record.in_flight_key,
        tid: record.tid,
        overflowed: record.in_flight_slot == OVERFLOWED,
    });
    *known
}

/// Reads a record until its call and its time belong together. The thread stores the time before the
/// call. So a reading can get the time of one call and the key of the next. A second reading then
/// finds another time.
fn settled(mut read: impl FnMut() -> ThreadRecord) -> Option<ThreadRecord> {
    let call = |r: &ThreadRecord| (r.in_flight_key, r.entry_ns, r.entered);
    let mut record = read();
    for _ in 1..LOOKS {
        if !record.in_call() {
            return None;
        }
        let again = read();
        if call(&again) == call(&record) {
            return Some(record);
        }
        record = again;
    }
    None
}

fn by_call(open: &[Open], of: &Aggregate) -> Vec<CallInFlight> {
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
    // Threads without a record have only sums. If the pool was full, the sums also contain calls of
    // threads with records, which are counted above.
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

fn oldest(open: Vec<Open>, tables: &impl Tables, of: &Aggregate) -> Vec<ThreadInFlight> {
    let age = |thread: &Open| (Reverse(thread.age_ns), thread.tid);
    let mut kinds = Kind::ALL.map(|_| Vec::new());
    for thread in open {
        kinds[kind(thread.key) as usize].push(thread);
    }
    for threads in &mut kinds {
        if threads.len() > MOST_OF_A_KIND {
            threads.select_nth_unstable_by_key(MOST_OF_A_KIND, age);
            threads.truncate(MOST_OF_A_KIND);
        }
        threads.sort_unstable_by_key(age);
    }
    kinds
        .into_iter()
        .flatten()
        .filter_map(|thread| {
            let process = match thread.whose {
                Whose::Known(process) => Arc::clone(of.process(process)?),
                Whose::Before(index) => process_before(&still_before(tables, index)?, of),
            };
            Some(ThreadInFlight {
                process,
                tid: thread.tid,
                key: thread.key,
                kind: kind(thread.key),
                at_least: thread.at_least,
                age: Duration::from_nanos(thread.age_ns),
            })
        })
        .collect()
}

/// The process of a call that entered before the attach: from the aggregate, or from the list if the
/// process has made no call since.
fn process_before(call: &CallBefore, of: &Aggregate) -> Arc<Process> {
    let identity = Identity { tgid: call.tgid, start_ns: call.process_start_ns };
    let known = of.process_by_identity(identity).map(Arc::clone);
    known.unwrap_or_else(|| {
        let comm = Untrusted::from_comm(&call.comm);
        Arc::new(Process::new(call.tgid, call.process_start_ns, comm))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timed;
    use crate::{
        aggregate::KeepEnded,
        engine::kernel::drain::{fake::Fake, reader::Reader},
        model::Figures,
    };

    const FSYNC: u32 = 74;
    const READ: u32 = 0;
    const FUTEX: u32 = 202;
    const NOW: u64 = 1_000_000;

    struct Host {
        tables: Fake,
        reader: Reader,
        aggregate: Aggregate,
    }

    impl Host {
        fn new(threads: u32) -> Self {
            let tables = Fake::new(threads, 3 * threads + 1);
            let reader = Reader::new(&tables, Timed::All);
            Self { tables, reader, aggregate: Aggregate::new(KeepEnded::Always) }
        }

        fn read(&mut self) -> InFlight {
            self.reader.read(&mut self.tables, &mut self.aggregate);
            read(&self.tables, self.reader.known(), &self.aggregate, NOW)
        }
    }

    fn threads(in_flight: &InFlight) -> Vec<(u32, u32, u64)> {
        let ages = in_flight.oldest.iter();
        ages.map(|t| (t.tid, t.key.nr(), t.age.as_nanos() as u64)).collect()
    }

    fn calls(in_flight: &InFlight) -> Vec<(u32, u64, u64, u64)> {
        let calls = in_flight.calls.iter();
        calls.map(|c| (c.key.nr(), c.threads, c.unrecorded, c.oldest.as_nanos() as u64)).collect()
    }

    #[test]
    fn a_call_is_in_flight_until_it_leaves() {
        let mut host = Host::new(2);
        let record = host.tables.start(1, 7);
        assert_eq!(threads(&host.read()), []);
        let call = host.tables.enter_at(record, FSYNC, NOW - 600);
        let in_flight = host.read();
        assert_eq!(threads(&in_flight), [(7, FSYNC, 600)]);
        assert_eq!(in_flight.oldest[0].process.tgid, Some(1));
        assert_eq!(calls(&in_flight), [(FSYNC, 1, 0, 600)]);
        host.tables.leave(call);
        assert_eq!((threads(&host.read()), calls(&host.read())), (vec![], vec![]));
    }

    /// What is known of the call before, or of the record's last owner, is forgotten.
    #[test]
    fn the_same_call_entered_anew_is_another() {
        let mut host = Host::new(1);
        let record = host.tables.start(1, 7);
        let call = host.tables.enter_at(record, FSYNC, NOW - 600);
        assert_eq!(threads(&host.read()), [(7, FSYNC, 600)]);
        assert_eq!(threads(&host.read()), [(7, FSYNC, 600)]);
        host.tables.leave(call);
        host.tables.enter_at(record, FSYNC, NOW - 5);
        assert_eq!(threads(&host.read()), [(7, FSYNC, 5)]);
        host.tables.end(record);
        // Without a look at what is in flight.
        host.reader.read(&mut host.tables, &mut host.aggregate);
        assert_eq!(host.tables.start(2, 8), record);
        for _ in 0..2 {
            host.tables.enter_at(record, FSYNC, NOW - 3);
        }
        assert_eq!(threads(&host.read()), [(8, FSYNC, 3)]);
    }

    #[test]
    fn a_thread_that_ended_in_a_call_is_not_in_it() {
        let mut host = Host::new(1);
        let record = host.tables.start(1, 1);
        host.tables.enter_at(record, FSYNC, 5);
        assert_eq!(threads(&host.read()).len(), 1);
        host.tables.end(record);
        // Before it is read, and after.
        let unread = read(&host.tables, host.reader.known(), &host.aggregate, NOW);
        assert_eq!((threads(&unread), calls(&unread)), (vec![], vec![]));
        assert_eq!(threads(&host.read()), []);
    }

    #[test]
    fn what_enters_while_it_is_read_is_of_age_zero() {
        let mut host = Host::new(1);
        let record = host.tables.start(1, 1);
        host.tables.enter_at(record, FSYNC, NOW + 3);
        assert_eq!(threads(&host.read()), [(1, FSYNC, 0)]);
    }

    /// They have lasted since all were listed, and have no figures: a row of theirs would
    /// break the law.
    #[test]
    fn calls_from_before_last_at_least_since_then() {
        let mut host = Host::new(1);
        let record = host.tables.start(1, 7);
        host.tables.enter_at(record, FSYNC, NOW - 300);
        host.tables.list_before(NOW - 500, &[(1, 9, FSYNC), (2, 8, FUTEX)]);
        let in_flight = host.read();
        assert_eq!(threads(&in_flight), [(9, FSYNC, 500), (7, FSYNC, 300), (8, FUTEX, 500)]);
        let said: Vec<_> = (in_flight.oldest.iter())
            .map(|t| (t.at_least, t.process.tgid, t.process.comm.raw()))
            .collect();
        assert_eq!(said, [(true, Some(1), ""), (false, Some(1), ""), (true, Some(2), "before")]);
        assert!(Arc::ptr_eq(&in_flight.oldest[0].process, &in_flight.oldest[1].process));
        assert_eq!(calls(&in_flight), [(FSYNC, 2, 0, 500), (FUTEX, 1, 0, 500)]);
        assert_eq!((in_flight.sees_before, in_flight.count_before()), (true, 2));
        let rows = host.aggregate.calls();
        assert_eq!(rows.iter().map(|row| row.total.calls).sum::<u64>(), 1);
        host.tables.leave_before(9);
        let in_flight = host.read();
        assert_eq!(threads(&in_flight), [(7, FSYNC, 300), (8, FUTEX, 500)]);
        assert_eq!(in_flight.count_before(), 1);
    }

    #[test]
    fn thousands_that_wait_hide_no_other() {
        const WAITING: u32 = 3_000;
        let mut host = Host::new(WAITING + 3);
        for tid in 1..=WAITING {
            let record = host.tables.start(1, tid);
            // The first has waited the longest.
            host.tables.enter_at(record, FUTEX, tid.into());
        }
        for (tid, nr, entry_ns) in [(4_001, READ, 500), (4_002, FSYNC, 900), (4_003, FSYNC, 800)] {
            let record = host.tables.start(2, tid);
            host.tables.enter_at(record, nr, entry_ns + 500_000);
        }
        let in_flight = host.read();
        let listed = threads(&in_flight);
        assert_eq!(
            listed[..4],
            [
                (4_003, FSYNC, 499_200),
                (4_002, FSYNC, 499_100),
                (4_001, READ, 499_500),
                (1, FUTEX, NOW - 1)
            ]
        );
        let waiting: Vec<u32> = listed[3..].iter().map(|&(tid, ..)| tid).collect();
        assert_eq!(waiting, (1..=MOST_OF_A_KIND as u32).collect::<Vec<_>>());
        assert_eq!(
            calls(&in_flight),
            [
                (READ, 1, 0, 499_500),
                (FSYNC, 2, 0, 499_200),
                (FUTEX, u64::from(WAITING), 0, NOW - 1)
            ]
        );
        assert_eq!(Kind::ALL.map(|kind| in_flight.count(kind)), [2, 1, WAITING.into()]);
    }

    #[test]
    fn numbers_that_no_table_knows_are_one_call() {
        let mut host = Host::new(2);
        for (tid, nr) in [(1, 500), (2, 501)] {
            let record = host.tables.start(tid, tid);
            host.tables.enter_at(record, nr, u64::from(tid));
        }
        assert_eq!(calls(&host.read()), [(511, 2, 0, NOW - 1)]);
    }

    /// Five are open in overflow slots, of which one is of a thread with a record.
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

    /// What a thread stores between two reads, in the order of profiler-ebpf/src/entry.rs.
    #[test]
    fn a_call_never_has_the_time_of_the_one_before() {
        let before = ThreadRecord {
            entered: 1,
            left: 1,
            entry_ns: 10,
            in_flight_key: CallKey::NONE.0,
            ..crate::engine::kernel::tables::UNOWNED
        };
        let counted = ThreadRecord { entered: 2, ..before };
        let timed = ThreadRecord { entry_ns: 900, ..counted };
        let entered = ThreadRecord { in_flight_key: FSYNC, ..timed };
        // The time before it was stored, the call after.
        let torn = ThreadRecord { in_flight_key: FSYNC, ..counted };
        let read = |records: &[ThreadRecord]| {
            let mut records = records.iter();
            let call = settled(|| *records.next().expect("as many reads"));
            call.map(|record| (record.in_flight_key, record.entry_ns))
        };
        assert_eq!(read(&[before]), None);
        assert_eq!(read(&[timed]), None);
        assert_eq!(read(&[entered, entered]), Some((FSYNC, 900)));
        assert_eq!(read(&[torn, entered, entered]), Some((FSYNC, 900)));
        assert_eq!(read(&[torn, entered, before]), None);
        // One that is never the same twice is in no call for long.
        let mut changing = [entered; LOOKS];
        for (n, record) in (10..).zip(&mut changing) {
            record.entered = n;
        }
        assert_eq!(read(&changing), None);
    }
}
