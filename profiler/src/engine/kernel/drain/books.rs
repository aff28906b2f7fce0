//! Checks that the books of a thread balance.
//!
//! The kernel side counts each call four times: at its entry and at its exit, in the record of the
//! thread and in the slot of the call. No count is computed from another one. So if the counts
//! agree, nothing was lost or counted twice:
//!
//! - Every call that entered is in a slot or an overflow slot.
//! - Every call that left is in a slot or an overflow slot.
//! - A slot has one open call (entered and not left) if the thread is in that call, and none
//!   otherwise. Calls whose exit was missed are also open; they are lost.
//!
//! If a thread goes on while it is read, only bounds can be checked. The programs write slots before
//! records. So the sum over the slots lies between the record before the reading, and the record
//! after it plus one call.

use profiler_common::{
    call::CallKey,
    wire::{CellIndex, OVERFLOWED, RecordState, ThreadRecord},
};

use crate::{
    aggregate::Account,
    engine::kernel::tables::{Activity, SlotCounts},
};

/// Books that did not balance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Breaches {
    /// How many books of threads, processes, calls and of the host did not balance.
    pub(crate) count: u64,
    /// The last one, and what did not balance, for people.
    pub(crate) last: String,
}

impl Breaches {
    /// Counts a breach.
    pub(super) fn add(&mut self, what: String) {
        self.count += 1;
        self.last = what;
    }
}

/// The sums over the slots of a thread.
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

    /// Replaces the counts `added` of a slot by `counts`, which are in the figures of the thread.
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

    /// Says what does not balance, if anything. `record` was read between the two activities, and the
    /// slots after the record.
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
            // The thread may be in one of the programs, stopped between two stores.
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
                // Overflow slots do not say whose exit was missed.
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

    /// Compares the calls that left by the slots with those by the record: from `before` to one more
    /// than `after`. Overflow slots do not count by thread.
    fn left_between(&self, record: &ThreadRecord, before: u64, after: u64) -> Option<String> {
        let before = if record.overflowed == 0 { before } else { 0 };
        between("left", self.left, before, after)
    }

    /// The slots whose open calls are not those in flight, and by how many they differ.
    fn astray(&self, record: &ThreadRecord) -> impl Iterator<Item = (CallKey, CellIndex, i64)> {
        let flying = (in_flight(record) && record.in_flight_slot != OVERFLOWED)
            .then_some((CallKey(record.in_flight_key), record.in_flight_slot));
        let missing = flying.filter(|&(_, slot)| self.open.iter().all(|&(_, s, _)| s != slot));
        let open = self.open.iter().map(move |&(key, slot, open)| {
            (key, slot, open - i64::from(flying.is_some_and(|(_, s)| s == slot)))
        });
        open.chain(missing.map(|(key, slot)| (key, slot, -1))).filter(|&(_, _, n)| n != 0)
    }

    /// How many calls missed their exit, by slot, since the start of the thread. Empty if the thread
    /// went on or is in a program, because then the number is unknown.
    pub(super) fn lost(
        &self,
        record: &ThreadRecord,
        before: &Activity,
        after: &Activity,
    ) -> Vec<(CallKey, CellIndex, u64)> {
        let ended = RecordState::is_final(before.state);
        if record.missed_exits == 0 || before != after || !(in_flight(record) || ended) {
            return Vec::new();
        }
        let lost = |(key, slot, n): (CallKey, CellIndex, i64)| {
            u64::try_from(n).ok().map(|n| (key, slot, n))
        };
        self.astray(record).filter_map(lost).collect()
    }

    /// The sums for the books of the process and of each call. They exclude open calls that are
    /// counted as lost or as never returned; `settled` says how many.
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

/// Whether a call is in flight by the record. The entry program writes that last and the exit program
/// clears it first. So if it is set, no program runs for this thread.
fn in_flight(record: &ThreadRecord) -> bool {
    record.in_call()
}

/// Says so if `a` and `b` differ.
fn equal(what: &str, a: u64, b: u64) -> Option<String> {
    (a != b).then(|| format!("{what}: {a} and {b}"))
}

/// Says so if `of_slots` is not between `before` and `after` plus one.
fn between(what: &str, of_slots: u64, before: u64, after: u64) -> Option<String> {
    let most = after.wrapping_add(1);
    let within = of_slots.wrapping_sub(before) <= most.wrapping_sub(before);
    (!within).then(|| format!("{what}: {of_slots} instead of {before} to {most}"))
}
