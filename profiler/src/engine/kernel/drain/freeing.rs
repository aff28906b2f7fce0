//! Frees the records of ended threads with their extents, and tracks how much of the pools is in
//! use.

use profiler_common::{limits::CELLS_PER_EXTENT, wire::Control};

use super::reader::Reader;
use crate::{
    engine::kernel::tables::{Activity, Tables},
    model::Use,
};

/// Upper bound of the records that were taken and are not yet counted: at most one per CPU.
const BEING_TAKEN: u32 = 1_024;

/// How much of the pools is in use.
#[derive(Default)]
pub(super) struct Usage {
    /// The most records that were in use at one time.
    most_records: u64,
    records_freed: u64,
    extents_freed: u64,
    records_used: u64,
    extents_used: u64,
}

impl Usage {
    /// Notes how many records are in use at the start of a reading.
    pub(super) fn note_taken(&mut self, control: &Control) {
        let used = control.records.all.taken.saturating_sub(self.records_freed);
        self.most_records = self.most_records.max(used);
    }

    /// Returns a number above the index of every record that can be in use.
    pub(super) fn record_limit(&self, tables: &impl Tables) -> u32 {
        let limit = tables.record_limit();
        if !tables.records_are_dense() {
            return limit;
        }
        // The index of a record is below the maximum number of records that were in use at one
        // time.
        u32::try_from(self.most_records).unwrap_or(limit).saturating_add(BEING_TAKEN).min(limit)
    }

    /// Notes how many records are in use at the end of a reading. `freed_before` is the number of
    /// records that were freed before this reading.
    fn note_freed(&mut self, control: &Control, freed_before: u64) {
        // Some records may have been taken before this reading freed its first one.
        let most = control.records.all.taken.saturating_sub(freed_before);
        self.most_records = self.most_records.max(most);
        self.records_used = control.records.all.taken.saturating_sub(self.records_freed);
        self.extents_used = control.extents.all.taken.saturating_sub(self.extents_freed);
    }
}

/// How full the pools are.
pub(crate) struct Used {
    pub(crate) records: Use,
    pub(crate) extents: Use,
}

impl Reader {
    /// Frees the records in `ended` at the end of a reading, except for those of zombies.
    pub(super) fn free_ended(&mut self, tables: &mut impl Tables, mut ended: Vec<u32>) {
        let freed_before = self.usage.records_freed;
        ended.retain(|&index| !self.keep_zombie(index));
        ended.sort_unstable();
        self.free(tables, &ended);
        self.usage.note_freed(&tables.control(), freed_before);
    }

    /// Frees the records in `ended`, which must be sorted, and their extents.
    pub(super) fn free(&mut self, tables: &mut impl Tables, ended: &[u32]) {
        if ended.is_empty() {
            return;
        }
        for extent in 1..tables.extent_limit() {
            let owner = tables.extent_owner(extent);
            if owner != 0 && ended.binary_search(&(owner - 1)).is_ok() {
                for cell in 0..CELLS_PER_EXTENT {
                    let cell = extent * CELLS_PER_EXTENT + cell;
                    self.lost.remove(&cell);
                    self.off_cpu.forget(cell);
                    self.samplers.remove(&cell);
                    self.cells.clear(cell);
                }
                tables.free_extent(extent);
                self.usage.extents_freed += 1;
            }
        }
        for &index in ended {
            self.activities[index as usize] = Activity::default();
            self.threads[index as usize] = None;
            tables.free_record(index);
            self.usage.records_freed += 1;
        }
    }

    /// Whether an ended record cannot be freed yet because its thread is a zombie. If so, forgets
    /// the thread: no later reading reads its record.
    fn keep_zombie(&mut self, index: u32) -> bool {
        let is_zombie = self.departed.is_zombie(index);
        if is_zombie {
            self.threads[index as usize] = None;
        }
        is_zombie
    }

    /// How full the pools are.
    pub(crate) fn used(&self, tables: &impl Tables) -> Used {
        Used {
            records: Use {
                used: self.usage.records_used,
                capacity: u64::from(tables.record_count()),
            },
            extents: Use {
                used: self.usage.extents_used,
                // Extent 0 is never used.
                capacity: u64::from(tables.extent_count()) - 1,
            },
        }
    }
}
