//! The tables that the programs write: a trait for the drain, and its implementation with maps.

mod filler;
mod mapped;
mod owners;
mod pools;
mod shared;
mod users;

use profiler_common::sampling::sampler::Sampler;
use profiler_common::wire::{
    CallBefore, Cell, CellIndex, Control, Counters, Line, OffCpu, OffCpuCall, OverflowSlot,
    TaskIdentity, ThreadRecord,
};

pub use mapped::MapTables;

/// Reads what the programs recorded. Tests implement the trait without a kernel.
pub trait Tables {
    /// Upper bound of the indexes of records that can be in use.
    fn record_limit(&self) -> u32;
    /// How many records there are.
    fn record_count(&self) -> u32;
    /// Whether records are taken in ascending order: a record is taken only while all records
    /// with lower indexes are in use.
    fn records_are_dense(&self) -> bool {
        false
    }
    /// How many extents there are. Their indexes are below this number. Extent 0 is never used.
    fn extent_count(&self) -> u32;
    /// Upper bound of the indexes of extents that can be in use.
    fn extent_limit(&self) -> u32 {
        self.extent_count()
    }
    /// The counters in the first cache line of a record. They show cheaply whether the thread did
    /// anything.
    fn activity(&self, record: u32) -> Activity;
    /// A copy of a record.
    fn record(&self, record: u32) -> ThreadRecord;
    /// The identity of the owner of a record.
    fn identity(&self, record: u32) -> TaskIdentity;
    /// Prefetches a record.
    fn prefetch_record(&self, _record: u32) {}
    /// The counters of the slot in a cell; zeros if there is no such cell. A caller reads them
    /// before the cell, which then has all figures of the counted calls.
    fn slot_counts(&self, cell: CellIndex) -> SlotCounts;
    /// A copy of a cell; zeros if there is no such cell.
    fn cell(&self, cell: CellIndex) -> Cell;
    /// A copy of a cache line of a cell, counted from 0; zeros if there is no such line.
    fn line(&self, cell: CellIndex, line: usize) -> Line {
        self.cell(cell).as_chunks().0[line]
    }
    /// Prefetches a cache line of a cell.
    fn prefetch(&self, _cell: CellIndex, _line: usize) {}
    /// The sampler of the slot in a cell; zeros if sampling is not adaptive.
    fn sampler(&self, _cell: CellIndex) -> Sampler {
        Sampler::default()
    }
    /// The record that owns an extent, as its index plus one; 0 if nobody owns the extent.
    fn extent_owner(&self, extent: u32) -> u32;
    /// The overflow slot at `index`.
    fn overflow(&self, index: u32) -> OverflowSlot;
    /// Minimum and maximum latency of an overflow slot over all CPUs, nanoseconds.
    fn overflow_extremes(&self, index: u32) -> Option<(u64, u64)>;
    /// The time off the CPU of the last call of a thread that left its CPU, and the sums of a slot
    /// of that thread, as they were at one moment. `None` if the kernel side wrote them during each
    /// of several readings, or does not measure them.
    fn off_cpu(&self, _record: u32, _slot: CellIndex) -> Option<(OffCpuCall, OffCpu)> {
        None
    }
    /// Whether the kernel side measures the time off the CPU.
    fn follows_off_cpu(&self) -> bool {
        false
    }
    /// The time off the CPU of an overflow slot, including calls in flight.
    fn overflow_off_cpu(&self, _index: u32) -> OffCpu {
        OffCpu::default()
    }
    /// Counters of rare events, summed over all CPUs.
    fn counters(&self) -> Counters;
    /// How many records and extents were taken since the start, in all and by user.
    fn control(&self) -> Control;
    /// The calls that entered before the attach; `None` if the kernel cannot list them.
    fn before(&self) -> Option<Before>;
    /// The call at `index` of [`Self::before`].
    fn call_before(&self, index: u32) -> CallBefore;
    /// The user that holds the largest share of either pool; `None` if nobody holds any, or if the
    /// shares are unknown.
    fn greediest_user(&self) -> Option<u32> {
        None
    }
    /// Sets the numbers of taken records and extents at which the kernel side wakes the user side.
    fn set_wake_marks(&mut self, records_taken: u64, extents_taken: u64);
    /// Marks the decisions about tasks as stale, because cgroups were removed from the scope.
    fn invalidate_decisions(&mut self) {}
    /// Clears the owner of a record whose thread has ended without a report, so that no thread
    /// finds the record any more.
    fn disown_record(&mut self, record: u32);
    /// Marks a record as ended whose thread has ended without a report.
    fn end_record(&mut self, record: u32);
    /// Returns the record of an ended thread to its pool.
    fn free_record(&mut self, record: u32);
    /// Zeroes the cells of an extent, and returns the extent to its pool.
    fn free_extent(&mut self, extent: u32);
}

/// The calls that entered before the attach ([`Tables::before`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Before {
    /// How many were listed. Some of them may have left by now.
    pub count: u32,
    /// The time by which all of them had entered, `CLOCK_MONOTONIC` nanoseconds.
    pub until_ns: u64,
}

/// The counters in the first cache line of a record ([`Tables::activity`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Activity {
    /// A [`RecordState`](profiler_common::wire::RecordState).
    pub state: u16,
    /// [`ThreadRecord::entered`].
    pub entered: u64,
    /// [`ThreadRecord::left`].
    pub left: u64,
    /// [`ThreadRecord::denied`].
    pub denied: u32,
    /// [`ThreadRecord::in_flight_key`].
    pub in_flight_key: u32,
}

/// The counters of a slot ([`Tables::slot_counts`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SlotCounts {
    /// [`Slot::entered`](profiler_common::wire::Slot::entered).
    pub entered: u64,
    /// [`Slot::returned`](profiler_common::wire::Slot::returned).
    pub returned: u64,
    /// [`Slot::restarted`](profiler_common::wire::Slot::restarted).
    pub restarted: u64,
    /// [`Slot::denied`](profiler_common::wire::Slot::denied).
    pub denied: u32,
}

/// A record that nobody owns: all zeros.
pub(crate) const UNOWNED: ThreadRecord = ThreadRecord {
    owner: 0,
    entry_ns: 0,
    entered: 0,
    left: 0,
    status_address: 0,
    in_flight_slot: 0,
    in_flight_key: 0,
    last_key: 0,
    last_slot: 0,
    state: 0,
    user: 0,
    denied: 0,
    native_pages: [0; _],
    foreign_roots: [0; _],
    tgid: 0,
    tid: 0,
    process_start_ns: 0,
    comm: [0; _],
    overflowed: 0,
    missed_exits: 0,
    generation: 0,
    index: 0,
    next_cell: 0,
    first_turn: 0,
    exits_seen: [0; _],
    interrupted_by: 0,
    named_ns: 0,
    interrupted_ns: 0,
};

/// An empty overflow slot: all zeros.
pub(crate) const ZERO_OVERFLOW: OverflowSlot = OverflowSlot {
    entered: 0,
    returned: 0,
    restarted: 0,
    total_ns: 0,
    errors: 0,
    denied: 0,
    never_returned: 0,
    errors_unlisted: 0,
    extra: 0,
    extra_ns: 0,
    squares: 0,
    _pad: [0; _],
    buckets: [0; _],
    errnos: [0; _],
};
