//! Whether a thread's books balance.
//!
//! The kernel side counts a call four times over: at its entry and at its exit, in the
//! thread's record and in the call's slot. No two of these come from one another, so
//! that they agree says that nothing was lost or counted twice:
//!
//! - all that entered is in a slot or an overflow slot,
//! - all that left likewise,
//! - and of each call as many are open, entered and not left, as are in flight, one of
//!   the one and none of all others; but for those whose exit was missed, which are lost.
//!
//! A thread that goes on while it is read cannot be held to that, but to bounds: what
//! its slots say lies between what its record said before and after, one call more at
//! most, as slots are written first.

use profiler_common::{
    call::CallKey,
    wire::{CellIndex, OVERFLOWED, RecordState, ThreadRecord},
};

use crate::{
    aggregate::Account,
    engine::kernel::tables::{Activity, SlotCounts},
};

/// The sums over a thread's slots, as they stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Books {
    entered: u64,
    left: u64,
    denied: u32,
    /// Slots with open calls: entered, and not left.
    open: Vec<(CallKey, CellIndex, i64)>,
}

impl Books {
    /// Adds a slot of the thread.
    pub(super) fn add(&mut self, key: CallKey, slot: CellIndex, counts: SlotCounts) {
        let left = counts.returned.wrapping_add(counts.restarted);
        let open = counts.entered.wrapping_sub(left).cast_signed();
        self.entered = self.entered.wrapping_add(counts.entered);
        self.left = self.left.wrapping_add(left);
        self.denied = self.denied.wrapping_add(counts.denied);
        if open != 0 {
            self.open.push((key, slot, open));
        }
    }

    /// Corrects a slot that was added: `counts` of it are in the thread's figures.
    pub(super) fn correct(
        &mut self,
        (key, slot): (CallKey, CellIndex),
        added: SlotCounts,
        counts: SlotCounts,
    ) {
        if added == counts {
            return;
        }
        let left = |counts: SlotCounts| counts.returned.wrapping_add(counts.restarted);
        self.entered = self.entered.wrapping_sub(added.entered);
        self.left = self.left.wrapping_sub(left(added));
        self.denied = self.denied.wrapping_sub(added.denied);
        self.open.retain(|&(_, open, _)| open != slot);
        self.add(key, slot, counts);
    }

    /// What does not balance, if anything. `record` was read between the two activities,
    /// and the slots after it.
    pub(super) fn breach(
        &self,
        record: &ThreadRecord,
        before: &Activity,
        after: &Activity,
    ) -> Option<String> {
        let entered = self.entered.wrapping_add(record.overflowed);
        if before != after {
            return between("entered", entered, before.entered, after.entered)
                .or_else(|| self.left_between(record, before.left, after.left));
        }
        let gone = record.left.wrapping_add(record.missed_exits);
        if !in_flight(record) && before.state == RecordState::Live as u16 {
            // Perhaps within one of the programs, stopped between two of its stores.
            return between("entered", entered, record.entered, record.entered)
                .or_else(|| self.left_between(record, record.left, record.left))
                .or_else(|| between("entered and not left", record.entered, gone, gone));
        }
        let open = u64::from(in_flight(record));
        equal("entered by its slots and by its record", entered, record.entered)
            .or_else(|| equal("entered and left", record.entered, gone.wrapping_add(open)))
            .or_else(|| self.left_between(record, record.left, record.left.wrapping_sub(1)))
            .or_else(|| {
                let astray: u64 = self.astray(record).map(|(_, _, n)| n.unsigned_abs()).sum();
                // Of calls in overflow slots it is not told whose exit was missed.
                let missed = record.missed_exits;
                let apart =
                    if record.overflowed == 0 { astray == missed } else { astray <= missed };
                (!apart).then(|| format!("{astray} open calls astray, {missed} exits missed"))
            })
            .or_else(|| {
                let denied = record.denied;
                // Both wrap.
                (self.denied.wrapping_sub(denied).cast_signed() > 0)
                    .then(|| format!("denied by its slots {}, by its record {denied}", self.denied))
            })
    }

    /// What left by the slots against what left by the record, `after` at most and one
    /// more. What is counted in overflow slots cannot be told by thread.
    fn left_between(&self, record: &ThreadRecord, before: u64, after: u64) -> Option<String> {
        let before = if record.overflowed == 0 { before } else { 0 };
        between("left", self.left, before, after)
    }

    /// Slots with other open calls than those in flight: how many too many, or too few.
    fn astray(&self, record: &ThreadRecord) -> impl Iterator<Item = (CallKey, CellIndex, i64)> {
        let flying = (in_flight(record) && record.in_flight_slot != OVERFLOWED)
            .then_some((CallKey(record.in_flight_key), record.in_flight_slot));
        let missing = flying.filter(|&(_, slot)| self.open.iter().all(|&(_, s, _)| s != slot));
        let open = self.open.iter().map(move |&(key, slot, open)| {
            (key, slot, open - i64::from(flying.is_some_and(|(_, s)| s == slot)))
        });
        open.chain(missing.map(|(key, slot)| (key, slot, -1))).filter(|&(_, _, n)| n != 0)
    }

    /// Calls whose exit was missed, by slot; all of them since the thread's first. Empty
    /// while that cannot be told, for the thread went on or is within a program.
    pub(super) fn lost(
        &self,
        record: &ThreadRecord,
        before: &Activity,
        after: &Activity,
    ) -> Vec<(CallKey, CellIndex, u64)> {
        let ended = before.state == RecordState::Ended as u16;
        if record.missed_exits == 0 || before != after || !(in_flight(record) || ended) {
            return Vec::new();
        }
        let lost = |(key, slot, n): (CallKey, CellIndex, i64)| {
            u64::try_from(n).ok().map(|n| (key, slot, n))
        };
        self.astray(record).filter_map(lost).collect()
    }

    /// The same sums, for the books of the thread's process and of each call: without
    /// those of its open calls that `settled` says are accounted for as lost or as never
    /// returned.
    pub(super) fn account(&self, settled: impl Fn(CallKey, CellIndex) -> u64) -> Account {
        let open = |&(key, slot, open): &(CallKey, CellIndex, i64)| {
            (key, open - settled(key, slot).cast_signed())
        };
        Account {
            entered: self.entered,
            left: self.left,
            open: self.open.iter().map(open).filter(|&(_, open)| open != 0).collect(),
        }
    }
}

/// Whether a call is in flight by the record, which is written last at the entry and
/// first at the exit: then none of our programs is at work for this thread.
fn in_flight(record: &ThreadRecord) -> bool {
    record.in_call()
}

fn equal(what: &str, a: u64, b: u64) -> Option<String> {
    (a != b).then(|| format!("{what}: {a} and {b}"))
}

/// Whether `of_slots` lies outside `before` and one more than `after`.
fn between(what: &str, of_slots: u64, before: u64, after: u64) -> Option<String> {
    let most = after.wrapping_add(1);
    let within = of_slots.wrapping_sub(before) <= most.wrapping_sub(before);
    (!within).then(|| format!("{what}: {of_slots} instead of {before} to {most}"))
}
