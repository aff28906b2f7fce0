//! Tests of the calls in flight, on fake tables.

use std::sync::Arc;

use super::{oldest::MOST_OF_A_KIND, *};
use crate::{
    aggregate::KeepEnded,
    engine::kernel::drain::{fake::Fake, reader::Reader},
    model::{Kind, Timed},
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

/// The reader forgets the previous call of the thread, and the previous owner of the record.
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
    // Drains without reading the calls in flight.
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
    // The record is checked before the drain reads it, and after.
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

/// Calls that entered before the attach count from the end of the listing. They have no row,
/// because the accounting equation would not hold for such a row.
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
        // The first thread has waited the longest.
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
        [(READ, 1, 0, 499_500), (FSYNC, 2, 0, 499_200), (FUTEX, u64::from(WAITING), 0, NOW - 1)]
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
