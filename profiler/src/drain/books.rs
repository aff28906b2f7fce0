//! Whether a thread's books balance.
//!
//! The kernel side counts a call four times over: at its entry and at its exit, in the
//! thread's record and in the call's slot. No two of these come from one another, so
//! that they agree says that nothing was lost or counted twice:
//!
//! - all that entered is in a slot or an overflow slot,
//! - all that left likewise,
//! - and of each call as many are open, entered and not left, as are in flight: one of
//!   the one, none of all others.

use profiler_common::{
    call::CallKey,
    wire::{CellIndex, OVERFLOWED, ThreadRecord},
};

use crate::kernel::SlotCounts;

/// The sums over a thread's slots.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Books {
    entered: u64,
    left: u64,
    denied: u64,
    /// Slots with open calls, beside the one whose call is in flight.
    astray: u64,
    /// Open calls of the slot whose call is in flight.
    in_flight: u64,
}

impl Books {
    /// Adds a slot of the thread whose record this is.
    pub(super) fn add(&mut self, record: &ThreadRecord, slot: CellIndex, counts: SlotCounts) {
        let left = counts.returned.wrapping_add(counts.restarted);
        let open = counts.entered.wrapping_sub(left);
        self.entered = self.entered.wrapping_add(counts.entered);
        self.left = self.left.wrapping_add(left);
        self.denied = self.denied.wrapping_add(u64::from(counts.denied));
        if in_flight(record) && record.in_flight_slot == slot {
            self.in_flight = open;
        } else if open != 0 {
            self.astray += 1;
        }
    }

    /// Whether they agree with the record, the thread having stood still meanwhile.
    pub(super) fn balance(&self, record: &ThreadRecord) -> bool {
        let open = u64::from(in_flight(record));
        let all_entered = self.entered.wrapping_add(record.overflowed) == record.entered;
        let all_left =
            record.left.wrapping_add(open).wrapping_add(record.missed_exits) == record.entered;
        // What is counted in overflow slots cannot be told by thread.
        let apart = if record.overflowed == 0 {
            self.left == record.left && self.denied <= record.denied
        } else {
            self.left <= record.left
        };
        let has_slot = open == 1 && record.in_flight_slot != OVERFLOWED;
        // A missed exit leaves a call open for good; it is known, and counted as lost.
        let by_call =
            record.missed_exits > 0 || (self.astray == 0 && self.in_flight == u64::from(has_slot));
        all_entered && all_left && apart && by_call
    }
}

fn in_flight(record: &ThreadRecord) -> bool {
    record.in_flight_key != CallKey::NONE.0
}
