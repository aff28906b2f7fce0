//! The tables, read from the maps.

use std::{cell::OnceCell, mem::offset_of, sync::Arc};

use aya::{
    Ebpf,
    maps::{Array, Map, MapData, MapError, PerCpuArray, Stack},
};
use profiler_common::{
    call::{CallKey, OVERFLOW_SLOTS},
    limits::CACHE_LINE,
    maps as names,
    sampling::sampler::Sampler,
    wire::{
        CallBefore, Cell, CellIndex, Control, Counters, Extremes, LINES, Line, OffCpu, OffCpuCall,
        OverflowSlot, RecordState, Slot, TaskIdentity, ThreadRecord,
    },
};

use super::{
    Activity, Before, SlotCounts, Tables, ZERO_OVERFLOW,
    filler::Filler,
    owners::Owners,
    pools::Pools,
    shared::{OffCpuTables, Shared, map_array},
};
use crate::engine::kernel::{
    error::KernelError, mapping::Mapping, maps, memory_limit::MemoryLimit, options::Options,
    region::Region,
};

/// The maps of the object that counts calls.
pub struct MapTables {
    shared: Shared,
    pools: Pools,
    /// Mapped when the first call overflows, because a mapping counts as memory of this process.
    overflow: OnceCell<Mapping<OverflowSlot>>,
    overflow_map: Map,
    calls_before: Option<Mapping<CallBefore>>,
    before: Option<Before>,
    owners: Owners,
    counters: PerCpuArray<MapData, Counters>,
    extremes: PerCpuArray<MapData, Extremes>,
    overflow_off_cpu: Array<MapData, OffCpu>,
    /// Kernel memory of the maps, bytes.
    memory_bytes: u64,
}

impl MapTables {
    /// Takes the maps out of an object and fills the pools. `calls_before` is the size of the list
    /// of calls that entered before the attach, if the object has such a list. `region` is the
    /// arena, if the object has one.
    pub(in crate::engine::kernel) fn new(
        ebpf: &mut Ebpf,
        options: &Options,
        calls_before: Option<u32>,
        region: Option<Arc<Region>>,
        limit: Option<&MemoryLimit>,
    ) -> Result<Self, KernelError> {
        let mut memory_bytes = 0;
        let shared = Shared::map(ebpf, options, region, &mut memory_bytes)?;
        let calls_before = calls_before
            .map(|len| map_array(ebpf, names::CALLS_BEFORE, len, &mut memory_bytes))
            .transpose()?;
        let mut take = |name: &'static str| {
            let map = maps::take(ebpf, name)?;
            memory_bytes += maps::fd(&map).map_or(0, maps::memory_bytes);
            Ok::<_, KernelError>(map)
        };
        let failed = |e: MapError| KernelError::Object(e.to_string());
        let counters = PerCpuArray::try_from(take(names::COUNTERS)?).map_err(failed)?;
        let extremes = PerCpuArray::try_from(take(names::OVERFLOW_EXTREMES)?).map_err(failed)?;
        let overflow_off_cpu = Array::try_from(take(names::OFF_CPU_OVERFLOW)?).map_err(failed)?;
        let (free_records, free_extents) = (take(names::FREE_RECORDS)?, take(names::FREE_EXTENTS)?);
        let filler = Filler::load_for(&free_records, &free_extents);
        let free_records = Stack::try_from(free_records).map_err(failed)?;
        let free_extents = Stack::try_from(free_extents).map_err(failed)?;
        let overflow_map = take(names::OVERFLOW)?;
        let mut this = Self {
            pools: Pools::new(free_records, free_extents, limit.cloned()),
            shared,
            overflow: OnceCell::new(),
            overflow_map,
            calls_before,
            before: None,
            owners: Owners::default(),
            counters,
            extremes,
            overflow_off_cpu,
            memory_bytes,
        };
        this.set_wake_marks(u64::MAX, u64::MAX);
        this.pools
            .fill_at_start(&this.shared, filler)
            .map_err(|e| KernelError::from_any("fill the free lists".into(), &e))?;
        Ok(this)
    }

    /// Takes the maps by task out of an object, if it has them. `status_offset` is that of
    /// [`ThreadRecord::status_address`].
    pub(in crate::engine::kernel) fn take_owners(&mut self, ebpf: &mut Ebpf, status_offset: u32) {
        self.owners = Owners::take(ebpf, status_offset);
        self.memory_bytes += self.owners.memory_bytes();
    }

    /// Tells the programs whether all of them are attached.
    pub(in crate::engine::kernel) fn set_attached(&mut self, attached: bool) {
        self.shared.control.write_u64(0, offset_of!(Control, attached), attached.into());
    }

    /// Whether an operation of io_uring was counted since the last call.
    pub(in crate::engine::kernel) fn take_operations(&mut self) -> bool {
        let offset = offset_of!(Control, operations);
        let counted = self.shared.control.read_u64(0, offset) != 0;
        if counted {
            // Clear this before the rows are read. Operations that are counted later set it again.
            self.shared.control.write_u64(0, offset, 0);
        }
        counted
    }

    /// Notes that the calls in flight were listed by `until_ns`.
    pub(in crate::engine::kernel) fn set_listed_before(&mut self, until_ns: u64) {
        let found = self.control().calls_before;
        let room = self.calls_before.as_ref().map_or(0, Mapping::len);
        let count = u32::try_from(found).unwrap_or(u32::MAX).min(room);
        if found > u64::from(count) {
            let more = found - u64::from(count);
            tracing::warn!(
                "{more} calls that entered before the attach are not shown, because their table is full"
            );
        }
        self.before = Some(Before { count, until_ns });
    }

    /// Lets the pools grow if more than half of what one user can hold is in use.
    pub fn refill(&mut self, records_used: u64, extents_used: u64) {
        self.pools.refill(&self.shared, records_used, extents_used);
    }

    /// Kernel memory of these maps, bytes, as the kernel accounts it.
    pub(in crate::engine::kernel) fn memory_bytes(&self) -> u64 {
        self.memory_bytes + self.pools.populated_bytes()
    }
}

impl Tables for MapTables {
    fn record_limit(&self) -> u32 {
        self.pools.filled_records()
    }

    fn record_count(&self) -> u32 {
        self.shared.records.len()
    }

    fn records_are_dense(&self) -> bool {
        self.pools.are_records_in_order()
    }

    fn extent_count(&self) -> u32 {
        self.shared.owners.len()
    }

    fn extent_limit(&self) -> u32 {
        self.pools.filled_extents()
    }

    fn activity(&self, record: u32) -> Activity {
        // Read the state first: if the record has ended, the rest is complete.
        let state = self.shared.records.read_u16(record, offset_of!(ThreadRecord, state));
        let read = |offset| self.shared.records.read_u64(record, offset);
        // Read the call in flight before the counters, and entries last. If the counters are equal
        // in two readings, that call has not left in between.
        let in_flight_key =
            self.shared.records.read_u32(record, offset_of!(ThreadRecord, in_flight_key));
        let in_flight_key = CallKey(in_flight_key).without_mark().0;
        let denied = self.shared.records.read_u32(record, offset_of!(ThreadRecord, denied));
        let left = read(offset_of!(ThreadRecord, left));
        let entered = read(offset_of!(ThreadRecord, entered));
        Activity { state, entered, left, denied, in_flight_key }
    }

    fn record(&self, record: u32) -> ThreadRecord {
        let mut record: ThreadRecord = self.shared.records.read(record);
        record.in_flight_key = CallKey(record.in_flight_key).without_mark().0;
        record
    }

    fn identity(&self, record: u32) -> TaskIdentity {
        self.shared.identities.read(record)
    }

    fn prefetch_record(&self, record: u32) {
        if record < self.shared.records.len() {
            let lines = (0..size_of::<ThreadRecord>()).step_by(CACHE_LINE);
            lines.for_each(|offset| self.shared.records.prefetch(record, offset));
        }
    }

    fn slot_counts(&self, cell: CellIndex) -> SlotCounts {
        if cell >= self.shared.cells.len() {
            return SlotCounts::default();
        }
        // Read the entries last, so that they include a call that leaves between two of these
        // reads.
        SlotCounts {
            returned: self.shared.cells.read_u64(cell, offset_of!(Slot, returned)),
            restarted: self.shared.cells.read_u64(cell, offset_of!(Slot, restarted)),
            entered: self.shared.cells.read_u64(cell, offset_of!(Slot, entered)),
            denied: self.shared.cells.read_u32(cell, offset_of!(Slot, denied)),
        }
    }

    fn cell(&self, cell: CellIndex) -> Cell {
        if cell < self.shared.cells.len() { self.shared.cells.read(cell) } else { [0; 32] }
    }

    fn line(&self, cell: CellIndex, line: usize) -> Line {
        let known = cell < self.shared.cells.len() && line < LINES;
        if known { self.shared.cells.read_part(cell, line) } else { [0; 16] }
    }

    fn prefetch(&self, cell: CellIndex, line: usize) {
        if cell < self.shared.cells.len() {
            self.shared.cells.prefetch(cell, line * size_of::<Line>());
        }
    }

    fn sampler(&self, cell: CellIndex) -> Sampler {
        let samplers = self.shared.samplers.as_ref().filter(|samplers| cell < samplers.len());
        samplers.map_or(Sampler::default(), |samplers| samplers.read(cell))
    }

    fn extent_owner(&self, extent: u32) -> u32 {
        self.shared.owners.read(extent)
    }

    fn overflow(&self, index: u32) -> OverflowSlot {
        // Read the entries last, as in `slot_counts`.
        let read = |overflow: &Mapping<OverflowSlot>| {
            let slot = overflow.read(index);
            OverflowSlot {
                entered: overflow.read_u64(index, offset_of!(OverflowSlot, entered)),
                ..slot
            }
        };
        if let Some(overflow) = self.overflow.get() {
            return read(overflow);
        }
        // If there is no memory for the mapping, the next reading finds these calls.
        let mapped = maps::fd(&self.overflow_map).map(|fd| Mapping::new(&fd, OVERFLOW_SLOTS));
        match mapped {
            Some(Ok(overflow)) => read(self.overflow.get_or_init(|| overflow)),
            Some(Err(error)) => {
                tracing::warn!(
                    "cannot map the overflow slots, so their calls are missing until the next reading: {error}"
                );
                ZERO_OVERFLOW
            }
            None => ZERO_OVERFLOW,
        }
    }

    fn overflow_extremes(&self, index: u32) -> Option<(u64, u64)> {
        let per_cpu = self.extremes.get(&index, 0).ok()?;
        per_cpu
            .iter()
            .filter(|e| e.min_ns_inverted != 0)
            .map(|e| (!e.min_ns_inverted, e.max_ns))
            .reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))
    }

    fn follows_off_cpu(&self) -> bool {
        self.shared.off_cpu.is_some()
    }

    fn off_cpu(&self, record: u32, slot: CellIndex) -> Option<(OffCpuCall, OffCpu)> {
        let OffCpuTables { calls, slots } = self.shared.off_cpu.as_ref()?;
        if record >= calls.len() || slot >= slots.len() {
            return Some(Default::default());
        }
        let sequence = || calls.read_u64(record, offset_of!(OffCpuCall, sequence));
        (0..OFF_CPU_LOOKS).find_map(|_| {
            let before = sequence();
            let found = (calls.read(record), slots.read(slot));
            (before.is_multiple_of(2) && sequence() == before).then_some(found)
        })
    }

    fn overflow_off_cpu(&self, index: u32) -> OffCpu {
        self.overflow_off_cpu.get(&index, 0).unwrap_or_default()
    }

    fn counters(&self) -> Counters {
        let mut sum = Counters::default();
        if let Ok(per_cpu) = self.counters.get(&0, 0) {
            per_cpu.iter().for_each(|one| sum.add(one));
        }
        sum
    }

    fn control(&self) -> Control {
        self.shared.control.read(0)
    }

    fn before(&self) -> Option<Before> {
        self.before
    }

    fn call_before(&self, index: u32) -> CallBefore {
        // Such calls exist only if the list is mapped.
        self.calls_before.as_ref().map_or(NO_CALL, |calls| calls.read(index))
    }

    fn greediest_user(&self) -> Option<u32> {
        self.shared.users.greediest(&self.control())
    }

    fn set_wake_marks(&mut self, records_taken: u64, extents_taken: u64) {
        self.shared.control.write_u64(0, offset_of!(Control, records.wake_at), records_taken);
        self.shared.control.write_u64(0, offset_of!(Control, extents.wake_at), extents_taken);
    }

    fn invalidate_decisions(&mut self) {
        let changes = self.control().scope_changes + 1;
        self.shared.control.write_u64(0, offset_of!(Control, scope_changes), changes);
    }

    fn disown_record(&mut self, record: u32) {
        self.shared.records.write_u64(record, offset_of!(ThreadRecord, owner), 0);
        self.owners.forget(&self.record(record));
    }

    fn end_record(&mut self, record: u32) {
        self.disown_record(record);
        let state = RecordState::Ended as u16;
        self.shared.records.write_u16(record, offset_of!(ThreadRecord, state), state);
    }

    fn free_record(&mut self, record: u32) {
        self.pools.free_record(&self.shared, record);
    }

    fn free_extent(&mut self, extent: u32) {
        self.pools.free_extent(&self.shared, extent);
    }
}

/// How often the time off the CPU of a thread is read again while the kernel side writes it. A
/// write takes some ten nanoseconds.
const OFF_CPU_LOOKS: usize = 64;

/// A call that has left.
const NO_CALL: CallBefore = CallBefore {
    key: CallKey::NONE.0,
    tid: 0,
    tgid: 0,
    _pad: 0,
    process_start_ns: 0,
    comm: [0; _],
};
