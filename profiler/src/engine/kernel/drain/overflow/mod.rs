//! Reads the overflow slots, which count calls of threads without space of their own.

mod surplus;

use profiler_common::{
    call::{CallKey, OVERFLOW_SLOTS},
    hist::BUCKETS,
    wire::{Counters, OverflowSlot},
};

use super::{off_cpu, reader::Reader, slot::untimed};
use crate::{
    aggregate::{Account, Aggregate},
    engine::kernel::tables::{Tables, ZERO_OVERFLOW},
    model::{Extremes, Figures, OffCpu},
};

impl Reader {
    /// Adds the differences of the overflow slots.
    pub(super) fn read_overflow(&mut self, tables: &impl Tables, into: &mut Aggregate, last: bool) {
        let c: Counters = tables.counters();
        if c.records_refused() + c.extents_refused() + c.denied_unrecorded == 0 {
            return;
        }
        for index in 0..OVERFLOW_SLOTS {
            let mut new = tables.overflow(index);
            let untouched = new.entered == 0 && new.denied == 0 && new.errors == 0;
            if untouched && new.buckets.iter().all(|&n| n == 0) {
                continue;
            }
            let Some(key) = CallKey::from_overflow_index(index) else { continue };
            let extremes =
                tables.overflow_extremes(index).map(|(min_ns, max_ns)| Extremes { min_ns, max_ns });
            let old = self.overflow[index as usize].take();
            let old = old.as_deref().unwrap_or(&ZERO_OVERFLOW);
            if !last {
                // If a thread got no extent, an overflow slot can have the bucket and the errno of
                // a call that the thread's own slot counted.
                let alone = c.extents_refused() == 0;
                surplus::hold_over(&mut new, old, extremes, (self.timed, alone));
            }
            let mut figures = differences(&new, extremes, old);
            figures.untimed = untimed(&figures, self.timed);
            if self.follows_off_cpu {
                let time = off_cpu::of_wire(tables.overflow_off_cpu(index));
                self.overflow_off_cpu.report(index, time, &mut figures);
            }
            into.settle(None, &account(key, old), &account(key, &new));
            self.overflowed += figures.calls;
            self.overflow[index as usize] = Some(Box::new(new));
            if !figures.is_empty() || !figures.latency.is_empty() || figures.errors > 0 {
                into.add(None, key, &figures);
            }
        }
    }

    /// Returns how many calls the overflow slots counted.
    pub(crate) fn overflowed(&self) -> u64 {
        self.overflowed
    }
}

/// Adds a call in which a thread ended, if an overflow slot has counted the entry of the call.
pub(super) fn add_unreturned(into: &mut Aggregate, key: CallKey) {
    into.add(None, key, &Figures { never_returned: 1, ..Figures::default() });
    // The overflow slot does not count that the call never returned.
    let open = Account { open: vec![(key, 1)], ..Account::default() };
    into.settle(None, &open, &Account::default());
}

/// Returns the account of an overflow slot.
fn account(key: CallKey, slot: &OverflowSlot) -> Account {
    let left = slot.returned.wrapping_add(slot.restarted);
    let gone = left.wrapping_add(slot.never_returned);
    let open = slot.entered.wrapping_sub(gone).cast_signed();
    Account { entered: slot.entered, left, open: vec![(key, open)] }
}

/// Returns the differences in an overflow slot. `extremes` are the extremes since the start.
fn differences(new: &OverflowSlot, extremes: Option<Extremes>, old: &OverflowSlot) -> Figures {
    let mut figures = Figures {
        calls: new.entered.wrapping_sub(old.entered),
        returned: new.returned.wrapping_sub(old.returned),
        restarted: new.restarted.wrapping_sub(old.restarted),
        errors: new.errors.wrapping_sub(old.errors),
        denied: new.denied.wrapping_sub(old.denied),
        never_returned: new.never_returned.wrapping_sub(old.never_returned),
        lost: 0,
        untimed: 0,
        total_ns: new.total_ns.wrapping_sub(old.total_ns),
        off_cpu: OffCpu::default(),
        extremes,
        errnos: Vec::new(),
        errors_unlisted: new.errors_unlisted.wrapping_sub(old.errors_unlisted),
        latency: (0..BUCKETS)
            .map(|b| (b, u64::from(new.buckets[b].wrapping_sub(old.buckets[b]))))
            .collect(),
        extra: new.extra.wrapping_sub(old.extra),
        extra_ns: new.extra_ns.wrapping_sub(old.extra_ns),
        squares: new.squares.wrapping_sub(old.squares),
    };
    for (errno, (new, old)) in new.errnos.iter().zip(&old.errnos).enumerate() {
        figures.add_errno(errno as u16, u64::from(new.wrapping_sub(*old)));
    }
    figures
}
