//! The call that a thread is in, from its record.
//!
//! The kernel side stores the time before the call. So a record is read until two readings agree. It is
//! not read again while the thread is in the same call.

use profiler_common::{
    sampling::adaptive::Sample,
    wire::{OVERFLOWED, RecordState, ThreadRecord},
};

use crate::engine::kernel::tables::Tables;

/// How often the record of a thread is read while it changes. A call that ends within so few reads
/// is too short to be shown as in flight.
const LOOKS: usize = 4;

/// The call that a thread is in. It is not read again until the thread enters another call, because
/// most threads of a host sleep for a long time.
#[derive(Clone, Copy)]
pub(crate) struct Flight {
    /// How many calls the thread had entered, with this one.
    entered: u64,
    /// When it entered. If the call was not timed: when it was first found in flight.
    pub(super) entry_ns: u64,
    /// Whether `entry_ns` is an upper bound, because the call was not timed.
    pub(super) at_least: bool,
    pub(super) key: u32,
    pub(super) tid: u32,
    pub(super) overflowed: bool,
}

/// The call that a thread is in, if any. `known` is the last call that was found.
pub(super) fn read(
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

#[cfg(test)]
mod tests {
    use profiler_common::call::CallKey;

    use super::*;

    const FSYNC: u32 = 74;

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
