//! The pools: which records and extents can be taken, and how the pools grow.
//!
//! The programs take indexes from two free stacks. The stacks start small and grow with the use,
//! because what is on a stack has memory.

use std::{mem::offset_of, ops::Range};

use aya::maps::{MapData, MapError, Stack};
use profiler_common::{
    fill,
    limits::CELLS_PER_EXTENT,
    sampling::sampler::Sampler,
    share,
    wire::{Cell, Control, OffCpu, OffCpuCall, TaskIdentity, ThreadRecord},
};

use super::{UNOWNED, filler::Filler, shared::Shared};
use crate::engine::kernel::{host_tasks, memory_limit::MemoryLimit};

/// Size of the cells of an extent, bytes.
const EXTENT_BYTES: u64 = CELLS_PER_EXTENT as u64 * size_of::<Cell>() as u64;

/// Size of the samplers of an extent, bytes.
const SAMPLERS_BYTES: u64 = CELLS_PER_EXTENT as u64 * size_of::<Sampler>() as u64;

/// If this process may use this many more bytes, memory is ample, and there is no need to start
/// small.
const AMPLE: u64 = 192 * 1024 * 1024;

/// The maximum number of records on the free stack at the start, if memory is ample: 20 MiB. Only a
/// drain adds more, and a drain may be late.
const RECORDS_AT_START: u32 = share::with_reserve(65_536);

/// The minimum number of extents on the free stack at the start, if memory is ample.
const EXTENTS_AT_START: u32 = 16_384;

/// Extents per task of the host at the start.
const EXTENTS_PER_TASK: u32 = 2;

/// The maximum number of records that a drain adds: 64 MiB. This bounds the duration of the drain.
const RECORDS_PER_DRAIN: u32 = 262_144;

/// The maximum number of extents that a drain adds: 64 MiB. This bounds the duration of the drain.
const EXTENTS_PER_DRAIN: u32 = 65_536;

/// The free stacks.
pub(super) struct Pools {
    free_records: Stack<MapData, u32>,
    free_extents: Stack<MapData, u32>,
    /// Records from this index on have not been on the free stack yet.
    filled_records: u32,
    /// Extents from this index on have not been on the free stack yet.
    filled_extents: u32,
    /// Whether all records came onto the free stack at once, which keeps them in order.
    filled_at_once: bool,
    /// Kernel memory of the pages that were populated, bytes.
    populated_bytes: u64,
    /// The memory limit of this process, if it has one.
    limit: Option<MemoryLimit>,
    /// Whether the limit has kept the pools from growing. The log says so once.
    is_stuck: bool,
}

impl Pools {
    /// Empty pools.
    pub(super) fn new(
        free_records: Stack<MapData, u32>,
        free_extents: Stack<MapData, u32>,
        limit: Option<MemoryLimit>,
    ) -> Self {
        Self {
            free_records,
            free_extents,
            filled_records: 0,
            // Extent 0 is none.
            filled_extents: 1,
            filled_at_once: true,
            populated_bytes: 0,
            limit,
            is_stuck: false,
        }
    }

    /// Records below this index can be in use.
    pub(super) fn filled_records(&self) -> u32 {
        self.filled_records
    }

    /// Extents below this index can be in use.
    pub(super) fn filled_extents(&self) -> u32 {
        self.filled_extents
    }

    /// Whether all records came onto the free stack at once.
    pub(super) fn are_records_in_order(&self) -> bool {
        self.filled_at_once
    }

    /// Kernel memory of the pages that were populated, bytes.
    pub(super) fn populated_bytes(&self) -> u64 {
        self.populated_bytes
    }

    /// Fills the free stacks at the start, in proportion to the tasks of the host, and more if
    /// memory is ample. `filler` does that faster than syscalls.
    pub(super) fn fill_at_start(
        &mut self,
        shared: &Shared,
        filler: Option<Filler>,
    ) -> Result<(), MapError> {
        // One user, such as root, may have all tasks.
        let tasks = share::with_reserve(host_tasks::count());
        let extents = tasks.saturating_mul(EXTENTS_PER_TASK);
        let is_ample = self.limit.as_ref().is_none_or(|limit| limit.available >= AMPLE);
        if is_ample {
            self.fill(shared, RECORDS_AT_START, extents.max(EXTENTS_AT_START), filler)
        } else {
            self.fill(shared, tasks, extents, filler)
        }
    }

    /// Fills the free stacks further, if more than half of what one user can hold is in use and
    /// the memory limit allows it.
    pub(super) fn refill(&mut self, shared: &Shared, records_used: u64, extents_used: u64) {
        let grown = |given: u32, used: u64, most: u32| {
            let is_low = used > share::limit(given.into()) / 2;
            let more = if is_low { given.min(most) } else { 0 };
            given.saturating_add(more)
        };
        let records = grown(self.filled_records, records_used, RECORDS_PER_DRAIN);
        let extents = grown(self.filled_extents, extents_used, EXTENTS_PER_DRAIN);
        let records = records.min(shared.records.len());
        let extents = extents.min(shared.owners.len());
        let of_record = size_of::<ThreadRecord>() + size_of::<TaskIdentity>();
        let of_samplers = shared.samplers.as_ref().map_or(0, |_| SAMPLERS_BYTES);
        let new = u64::from(records - self.filled_records) * of_record as u64
            + u64::from(extents - self.filled_extents) * (EXTENT_BYTES + of_samplers);
        // The reader's copy uses the same amount again.
        if new == 0 || self.limit.as_ref().is_some_and(|limit| !limit.allows(2 * new)) {
            if new > 0 && !std::mem::replace(&mut self.is_stuck, true) {
                tracing::warn!(
                    "the memory limit of the cgroup is reached; calls of new threads are counted \
                     without their process"
                );
            }
            return;
        }
        // If this fails, the next drain tries again. A daemon lacks the privilege to run a filler.
        let _ = self.fill(shared, records, extents, None);
    }

    /// Puts indexes below these limits onto the free stacks, the lowest on top.
    fn fill(
        &mut self,
        shared: &Shared,
        records: u32,
        extents: u32,
        mut filler: Option<Filler>,
    ) -> Result<(), MapError> {
        // Puts the greatest of these indexes onto a stack, and returns the end of the others.
        let mut push_by_program = |stack, indexes: Range<u32>| {
            let count = indexes.end.saturating_sub(indexes.start);
            let filler = filler.as_mut();
            indexes.end - filler.map_or(0, |filler| filler.push(stack, indexes.end, count))
        };
        let records = records.min(shared.records.len());
        let extents = extents.min(shared.owners.len());
        self.populated_bytes +=
            shared.populate(self.filled_records..records, self.filled_extents..extents)?;
        self.filled_at_once &= self.filled_records == 0 || records <= self.filled_records;
        let end = push_by_program(fill::RECORDS, self.filled_records..records);
        for index in (self.filled_records..end).rev() {
            self.free_records.push(index, 0)?;
        }
        self.filled_records = self.filled_records.max(records);
        let filled = u64::from(self.filled_records);
        shared.control.write_u64(0, offset_of!(Control, records.filled), filled);
        let end = push_by_program(fill::EXTENTS, self.filled_extents..extents);
        for index in (self.filled_extents..end).rev() {
            self.free_extents.push(index, 0)?;
        }
        self.filled_extents = self.filled_extents.max(extents);
        // Extent 0 is none.
        let filled = u64::from(self.filled_extents) - 1;
        shared.control.write_u64(0, offset_of!(Control, extents.filled), filled);
        Ok(())
    }

    /// Zeroes a record and returns it to its pool.
    pub(super) fn free_record(&mut self, shared: &Shared, record: u32) {
        // Read the user before the record is zeroed.
        let user = shared.records.read_u16(record, offset_of!(ThreadRecord, user));
        shared.records.write(record, UNOWNED);
        if let Some(off_cpu) = &shared.off_cpu {
            off_cpu.calls.write(record, OffCpuCall::default());
        }
        if self.free_records.push(record, 0).is_ok() {
            shared.users.count_returned_record(&shared.control, user);
        }
    }

    /// Zeroes the cells of an extent and returns it to its pool.
    pub(super) fn free_extent(&mut self, shared: &Shared, extent: u32) {
        for cell in 0..CELLS_PER_EXTENT {
            shared.cells.write(extent * CELLS_PER_EXTENT + cell, [0; 32]);
            if let Some(off_cpu) = &shared.off_cpu {
                off_cpu.slots.write(extent * CELLS_PER_EXTENT + cell, OffCpu::default());
            }
        }
        // The record of the owner is freed after all of its extents.
        let record_count = shared.records.len();
        let owner = shared.owners.read(extent).checked_sub(1).filter(|&r| r < record_count);
        let user = owner.map(|r| shared.records.read_u16(r, offset_of!(ThreadRecord, user)));
        shared.owners.write(extent, 0);
        if self.free_extents.push(extent, 0).is_ok()
            && let Some(user) = user
        {
            shared.users.count_returned_extent(&shared.control, user);
        }
    }
}
