//! Holds back or excludes the records of cgroups, if the user side decides which cgroups count.

use profiler_common::{
    call::CallKey,
    wire::{OVERFLOWED, RecordState},
};

use super::{overflow, reader::Reader};
use crate::{
    aggregate::Aggregate,
    engine::kernel::{cgroups::Verdict, tables::Tables},
};

/// Decides whether the records of a cgroup count, are held back, or are excluded.
pub(super) type Judge<'a> = &'a mut dyn FnMut(u64) -> Verdict;

impl Reader {
    /// Whether the figures of an active record count now. If they never will, and the thread has
    /// ended, this function adds the record to `ended`.
    pub(super) fn counts(
        &self,
        tables: &impl Tables,
        into: &mut Aggregate,
        index: u32,
        (judge, ended): (&mut dyn FnMut(u64) -> Verdict, &mut Vec<u32>),
    ) -> bool {
        if self.threads[index as usize].is_some() {
            return true;
        }
        match judge(tables.identity(index).cgroup) {
            Verdict::Count => return true,
            Verdict::Hold => {}
            Verdict::LeaveOut => {
                let state = tables.activity(index).state;
                if RecordState::is_final(state) {
                    if state == RecordState::Ended as u16 {
                        // An overflow slot has counted the entry of the call.
                        let record = tables.record(index);
                        if record.in_call() && record.in_flight_slot == OVERFLOWED {
                            overflow::add_unreturned(into, CallKey(record.in_flight_key));
                        }
                    }
                    ended.push(index);
                }
            }
        }
        false
    }
}
