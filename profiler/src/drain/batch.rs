//! The slots of a thread, read in passes rather than one after another.
//!
//! What is new lies scattered over megabytes, in the maps and in the copy of what was read
//! last, so that a drain is a series of cache misses. In a pass that does little else than
//! to read, the CPU waits for many of them at once.

use profiler_common::{
    call::{Abi, CallKey},
    hist::{self, BUCKETS_PER_CHUNK},
    wire::{CALLS_PER_PAGE, Cell, CellIndex, Slot},
};

use crate::kernel::{SlotCounts, Tables};

use super::{books::Books, shadow::Shadow};

/// Filled anew for each thread.
#[derive(Default)]
pub(super) struct Batch {
    slots: Vec<(CallKey, CellIndex)>,
    counts: Vec<SlotCounts>,
    changed: Vec<Changed>,
    cells: Vec<Cell>,
    chunks: Vec<Cell>,
}

/// A slot that has changed.
#[derive(Clone, Copy)]
pub(super) struct Changed {
    pub(super) key: CallKey,
    pub(super) index: CellIndex,
    pub(super) counts: SlotCounts,
    /// The chunk in which new latencies are looked for first.
    pub(super) likely: usize,
}

impl Batch {
    /// Begins with a thread.
    pub(super) fn clear(&mut self) {
        self.slots.clear();
        self.counts.clear();
        self.changed.clear();
        self.cells.clear();
        self.chunks.clear();
    }

    /// Adds the slots of these pages.
    pub(super) fn add_pages(&mut self, tables: &impl Tables, abi: Abi, pages: &[CellIndex]) {
        for (page, &cell) in (0_u32..).zip(pages).filter(|&(_, &cell)| cell != 0) {
            let slots = tables.cell(cell);
            let used = (0_u32..).zip(slots).filter(|&(_, slot)| slot != 0);
            let key = |nr| CallKey::of(abi, page * CALLS_PER_PAGE + nr);
            self.slots.extend(used.map(|(nr, slot)| (key(nr), slot)));
        }
    }

    /// Reads them all, sums first and figures after, and enters the sums into the books.
    pub(super) fn read(&mut self, tables: &impl Tables, shadow: &Shadow, books: &mut Books) {
        self.counts.extend(self.slots.iter().map(|&(_, index)| tables.slot_counts(index)));
        for (&(key, index), &counts) in self.slots.iter().zip(&self.counts) {
            books.add(key, index, counts);
            if shadow.get(index).is_some_and(|known| counts != counts_of(known)) {
                self.changed.push(Changed { key, index, counts, likely: 0 });
            }
        }
        self.cells.extend(self.changed.iter().map(|slot| tables.cell(slot.index)));
        for (slot, cell) in self.changed.iter_mut().zip(&self.cells) {
            let new = Slot::from_cell(cell);
            slot.likely = shadow.get(slot.index).map_or(0, |known| likely_chunk(slot, &new, known));
            let chunk = new.chunks[slot.likely];
            self.chunks.push(if chunk == 0 { [0; _] } else { tables.cell(chunk) });
        }
    }

    /// What has changed: slots, their cells, and the likely chunk of each.
    pub(super) fn changed(&self) -> impl Iterator<Item = (&Changed, &Cell, &Cell)> {
        let figures = self.cells.iter().zip(&self.chunks);
        self.changed.iter().zip(figures).map(|(slot, (cell, chunk))| (slot, cell, chunk))
    }
}

/// The chunk of the mean of the new latencies: of a single one its very own.
fn likely_chunk(slot: &Changed, new: &Slot, known: &Cell) -> usize {
    let old = Slot::from_cell(known);
    let left = |returned: u64, restarted: u64| returned.wrapping_add(restarted);
    let calls = left(slot.counts.returned, slot.counts.restarted)
        .wrapping_sub(left(old.returned, old.restarted));
    let mean_ns = new.total_ns.wrapping_sub(old.total_ns).checked_div(calls).unwrap_or(0);
    hist::bucket(mean_ns) as usize / BUCKETS_PER_CHUNK
}

fn counts_of(cell: &Cell) -> SlotCounts {
    let Slot { entered, returned, restarted, denied, .. } = Slot::from_cell(cell);
    SlotCounts { entered, returned, restarted, denied }
}
