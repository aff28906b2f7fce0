//! Reads from a record the call that its thread is in.
//!
//! The kernel side stores the time before the call. So a reader can find the time of one call with
//! the key of another. The record is therefore read until two readings agree. It is not read again
//! while the thread is in the same call.

use profiler_common::{
    sampling::adaptive::Sample,
    wire::{OVERFLOWED, RecordState, ThreadRecord},
};

use crate::engine::kernel::tables::Tables;

/// How often the record of a thread is read at most while it changes. If a call ends within so few
/// reads, it is too short to be shown as in flight.
const LOOKS: usize = 4;

/// The call that a thread is in. This value is kept until the thread enters another call, because
/// most threads of a host sleep for a long time.
#[derive(Clone, Copy)]
pub(crate) struct Flight {
    /// How many calls the thread had entered, including this one.
    entered: u64,
    /// When the call entered. If the call was not timed: when it was first found in flight.
    pub(super) entry_ns: u64,
    /// Whether `entry_ns` is an upper bound, because the call was not timed.
    pub(super) at_least: bool,
    pub(super) key: u32,
    pub(super) tid: u32,
    pub(super) overflowed: bool,
}

/// Returns the call that a thread is in, if any. `known` is the call that was found last.
pub(super) fn read(
    tables: &impl Tables,
    index: u32,
    known: &mut Option<Flight>,
    now_ns: u64,
) -> Option<Flight> {
    let activity = tables.activity(index);
    // If a thread has ended or is between two calls, nothing more is read.
    if activity.state != RecordState::Live as u16 || activity.entered == activity.left {
        return None;
    }
    // If a thread is in the same call as before, nothing more is read either.
    let same = |flight: &Flight| {
        (flight.entered, flight.key) == (activity.entered, activity.in_flight_key)
    };
    if let Some(flight) = known.filter(same) {
        return Some(flight);
    }
    let record = settled(|| tables.record(index))?;
    *known = Some(Flight {
        entered: record.entered,
        // With adaptive sampling, the upper bits hold the shift.
        entry_ns: if record.entry_ns == 0 { now_ns } else { Sample(record.entry_ns).ns() },
        at_least: record.entry_ns == 0,
        key: record.in_flight_key,
        tid: record.tid,
        overflowed: record.in_flight_slot == OVERFLOWED,
    });
    *known
}

/// Reads a record until two readings in a row agree, so that the time belongs to the call. The
/// thread stores the time before the call. So a reading can get the time of one call and the key of
/// another. A second reading then differs.
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

#[cfg(test)]
mod tests {
    use profiler_common::call::CallKey;

    use super::*;

    const FSYNC: u32 = 74;

    /// The stores of a thread between two reads, in the order of profiler-ebpf/src/entry.rs.
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
        // The time from before the store, and the key from after the store.
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
        // A record that differs at each read is in no call for long.
        let mut changing = [entered; LOOKS];
        for (n, record) in (10..).zip(&mut changing) {
            record.entered = n;
        }
        assert_eq!(read(&changing), None);
    }
}
