//! Tests of the reader on fake tables, with one thread. `reader_properties.rs` tests random
//! histories.

use profiler_common::call::CallKey;

use super::{
    books::Breaches,
    fake::{Fake, Leaving},
    reader::Reader,
};
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

/// A reading can find an error before its errno. A later reading finds the errno.
#[test]
fn an_errno_that_comes_after_its_error_is_found() {
    for steps in 0..=Leaving::STEPS {
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

/// While a thread is in the exit program, its call is not yet reported. Once the thread has left
/// the program, the whole call is reported, even if the thread is idle from then on.
#[test]
fn a_slot_of_a_thread_within_a_program_is_left_to_the_next_reading() {
    for steps in 1..Leaving::STEPS {
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

/// After the programs are detached, there is no next reading.
#[test]
fn the_last_reading_leaves_nothing() {
    let mut tables = Fake::new(1, 16);
    let (mut reader, mut aggregate) = reader(&tables);
    let record = tables.start(1, 1);
    let call = tables.enter(record, 5, 300, None);
    tables.go_on_meanwhile(call, Leaving::STEPS - 1, None, 0);
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

/// While a call enters, its slot may count one call more than the record. If the thread is in
/// another call, no program runs for the thread, so the surplus is a breach.
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

/// A surplus of two calls cannot be one call that enters.
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
    // The thread is killed in its last call.
    tables.enter(record, 7, 0, None);
    tables.end(record);
    reader.read(&mut tables, &mut aggregate);
    assert_eq!(reader.breaches().count, 0);
    assert_eq!(total(&aggregate, 7).never_returned, 1);
}

/// The call counts as lost in its row, once. The call is not in flight, and causes no breach.
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
    assert_eq!(*reader.breaches(), Breaches::default());
}

/// However long a thread is stopped in a program, its counts are no breach.
#[test]
fn a_thread_stopped_within_a_program_is_no_breach() {
    let mut tables = Fake::new(1, 16);
    let (mut reader, mut aggregate) = reader(&tables);
    let record = tables.start(1, 1);
    let call = tables.enter(record, 5, 100, None);
    tables.leave(call);
    // The slot counts the entry, and the record does not yet.
    tables.miscount(record, 5);
    for _ in 0..5 {
        reader.read(&mut tables, &mut aggregate);
    }
    assert_eq!(reader.breaches().count, 0);
}
