//! Checks the accounting equation for each thread.
//!
//! The kernel side counts each call four times: at its entry and at its exit, both in the record of
//! the thread and in the slot of the call. No count is computed from another count. So if the
//! following holds, no call was lost or counted twice:
//!
//! - Every call that entered is in a slot or an overflow slot.
//! - Every call that left is in a slot or an overflow slot.
//! - A slot has one open call (entered, but not left) if the thread is in that call, and otherwise
//!   none. A call whose exit was missed also stays open. Such a call counts as lost.
//!
//! If a thread makes calls while it is read, only bounds can be checked. The programs write slots
//! before records. So the sum over the slots is at least the count of the record before the
//! reading, and at most the count of the record after the reading, plus one.

use profiler_common::{
    call::CallKey,
    wire::{CellIndex, OVERFLOWED, RecordState, ThreadRecord},
};

use crate::{
    aggregate::Account,
    engine::kernel::tables::{Activity, SlotCounts},
};

/// Breaches of the accounting equation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Breaches {
    /// How often the equation did not hold, for a thread, a process, a syscall or the host.
    pub(crate) count: u64,
    /// A description of the last breach, for people.
    pub(crate) last: String,
}

impl Breaches {
    /// Counts a breach.
    pub(super) fn add(&mut self, what: String) {
        self.count += 1;
        self.last = what;
    }
}

/// Sums over the slots of a thread.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Books {
    entered: u64,
    left: u64,
    denied: u32,
    /// Slots with open calls, which entered but have not left.
    open: Vec<(CallKey, CellIndex, i64)>,
}

impl Books {
    /// Adds the counts of a slot.
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

    /// Replaces the counts `added` of a slot by `counts`, the counts that the thread's figures
    /// include.
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

    /// Checks the accounting equation, and describes the first breach. `record` was read between
    /// the two activities, and the slots after the record.
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
                .or_else(|| between("entered, compared with left", record.entered, gone, gone));
        }
        let open = u64::from(in_flight(record));
        equal("entered, by slots and by record", entered, record.entered)
            .or_else(|| {
                equal("entered, and left or in flight", record.entered, gone.wrapping_add(open))
            })
            .or_else(|| self.left_between(record, record.left, record.left.wrapping_sub(1)))
            .or_else(|| {
                let astray: u64 = self.astray(record).map(|(_, _, n)| n.unsigned_abs()).sum();
                // An overflow slot has no counts per thread, so it does not say whose exit was
                // missed.
                let missed = record.missed_exits;
                let apart =
                    if record.overflowed == 0 { astray == missed } else { astray <= missed };
                (!apart)
                    .then(|| format!("open calls not in flight: {astray}, missed exits: {missed}"))
            })
            .or_else(|| {
                let denied = record.denied;
                // Both counts wrap, so their difference is compared with 0.
                (self.denied.wrapping_sub(denied).cast_signed() > 0).then(|| {
                    format!("denied, by slots and by record: {} and {denied}", self.denied)
                })
            })
    }

    /// Checks that the slots count at least `before` calls that left, and at most `after` plus one.
    /// If an overflow slot counted calls of the thread, there is no lower bound, because overflow
    /// slots have no counts per thread.
    fn left_between(&self, record: &ThreadRecord, before: u64, after: u64) -> Option<String> {
        let before = if record.overflowed == 0 { before } else { 0 };
        between("left", self.left, before, after)
    }

    /// Returns the slots whose number of open calls differs from the calls in flight, and the
    /// difference.
    fn astray(&self, record: &ThreadRecord) -> impl Iterator<Item = (CallKey, CellIndex, i64)> {
        let flying = (in_flight(record) && record.in_flight_slot != OVERFLOWED)
            .then_some((CallKey(record.in_flight_key), record.in_flight_slot));
        let missing = flying.filter(|&(_, slot)| self.open.iter().all(|&(_, s, _)| s != slot));
        let open = self.open.iter().map(move |&(key, slot, open)| {
            (key, slot, open - i64::from(flying.is_some_and(|(_, s)| s == slot)))
        });
        open.chain(missing.map(|(key, slot)| (key, slot, -1))).filter(|&(_, _, n)| n != 0)
    }

    /// Returns the number of calls whose exit was missed, by slot, since the start of the thread.
    /// Empty if the thread made calls meanwhile or is in a program, because the number is then
    /// unknown.
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

    /// Returns the thread's account, for the checks of its process and of each syscall. The account
    /// excludes open calls that already count as lost or as never returned. `settled` returns how
    /// many.
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

/// Whether the record has a call in flight. The entry program stores the call in flight last, and
/// the exit program clears it first. So if a call is in flight, no program runs for this thread.
fn in_flight(record: &ThreadRecord) -> bool {
    record.in_call()
}

/// Describes the breach if `a` and `b` differ.
fn equal(what: &str, a: u64, b: u64) -> Option<String> {
    (a != b).then(|| format!("{what}: {a} and {b}"))
}

/// Describes the breach if `of_slots` is below `before`, or above `after` plus one.
fn between(what: &str, of_slots: u64, before: u64, after: u64) -> Option<String> {
    let most = after.wrapping_add(1);
    let within = of_slots.wrapping_sub(before) <= most.wrapping_sub(before);
    (!within).then(|| format!("{what}: {of_slots} instead of {before} to {most}"))
}
