//! What the programs recorded, value by value.

use std::{cell::OnceCell, io, ops::Range, os::fd::AsFd, sync::Arc};

use aya::{
    Ebpf, Pod,
    maps::{Map, MapData, PerCpuArray, Stack},
};
use profiler_common::{
    arena,
    call::{CallKey, OVERFLOW_SLOTS},
    limits::{CACHE_LINE, CELLS_PER_EXTENT},
    maps, share,
    wire::{
        CallBefore, Cell, CellIndex, Control, Counters, Extremes, LINES, Line, OverflowSlot, Slot,
        ThreadRecord,
    },
};

use super::{
    KernelError, MemoryLimit, Options,
    load::{map_fd, map_memory, take_map},
    mapping::{Mapping, Memory},
    memory,
    users::Users,
};

/// Bytes of an extent's cells.
const EXTENT_BYTES: u64 = CELLS_PER_EXTENT as u64 * size_of::<Cell>() as u64;

/// So much memory left to this process is ample: as if there were no limit.
const AMPLE: u64 = 192 * 1024 * 1024;

/// Records on the free stack at first, at most, where memory is ample: more follow only with
/// a drain, which may come late. 20 MiB of them.
const RECORDS_AT_START: u32 = share::with_reserve(65_536);

/// Extents on the free stack at first, at least, where memory is ample.
const EXTENTS_AT_START: u32 = 16_384;

/// Extents for each task of the host at first.
const EXTENTS_A_TASK: u32 = 2;

/// The most of each that one drain adds, so that it does not take long: 64 MiB.
const RECORDS_A_DRAIN: u32 = 262_144;
/// See [`RECORDS_A_DRAIN`].
const EXTENTS_A_DRAIN: u32 = 65_536;

/// What the programs recorded. A trait, so that what reads it can be tested
/// without a kernel.
pub trait Tables {
    /// Records that can be in use by now, the indexes being below.
    fn record_limit(&self) -> u32;
    /// Records there are.
    fn record_count(&self) -> u32;
    /// Whether records are given out in ascending order: the one with the next index only
    /// while all below are in use.
    fn records_are_dense(&self) -> bool {
        false
    }
    /// Extents there are, the indexes being below; extent 0 is never used.
    fn extent_count(&self) -> u32;
    /// Extents that can be in use by now, the indexes being below.
    fn extent_limit(&self) -> u32 {
        self.extent_count()
    }
    /// The first cache line's counters of a record: the cheap question whether
    /// anything happened.
    fn activity(&self, record: u32) -> Activity;
    /// A whole record.
    fn record(&self, record: u32) -> ThreadRecord;
    /// Has a record on its way, for who reads it soon.
    fn prefetch_record(&self, _record: u32) {}
    /// The counters of the slot in a cell; zeros for an index that is none. Read
    /// before the cell itself, which then holds all figures of these calls.
    fn slot_counts(&self, cell: CellIndex) -> SlotCounts;
    /// A cell of the pool; zeros for an index that is none.
    fn cell(&self, cell: CellIndex) -> Cell;
    /// A line of a cell, the first being 0; zeros for an index that is none.
    fn line(&self, cell: CellIndex, line: usize) -> Line {
        self.cell(cell).as_chunks().0[line]
    }
    /// Has a line on its way, for who reads it soon.
    fn prefetch(&self, _cell: CellIndex, _line: usize) {}
    /// Record index plus one of an extent's owner; 0 is none.
    fn extent_owner(&self, extent: u32) -> u32;
    /// The overflow slot at `index`.
    fn overflow(&self, index: u32) -> OverflowSlot;
    /// Least and greatest latency of an overflow slot, over all CPUs.
    fn overflow_extremes(&self, index: u32) -> Option<(u64, u64)>;
    /// Rare events, over all CPUs.
    fn counters(&self) -> Counters;
    /// How much was taken since the start.
    fn control(&self) -> Control;
    /// The calls from before the programs attached; `None` where none could be listed.
    fn before(&self) -> Option<Before>;
    /// The one at `index` of them.
    fn call_before(&self, index: u32) -> CallBefore;
    /// The user id that holds the largest part of either pool; `None` where nobody holds any,
    /// or that cannot be told.
    fn greediest_user(&self) -> Option<u32> {
        None
    }
    /// When to be woken.
    fn set_wake_marks(&mut self, records_taken: u64, extents_taken: u64);
    /// Gives an ended record back.
    fn free_record(&mut self, record: u32);
    /// Gives an extent back, its cells zeroed.
    fn free_extent(&mut self, extent: u32);
}

/// See [`Tables::before`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Before {
    /// How many were listed, of which some may be over by now.
    pub count: u32,
    /// All of them had entered by this time, `CLOCK_MONOTONIC` nanoseconds.
    pub until_ns: u64,
}

/// See [`Tables::activity`].
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

/// See [`Tables::slot_counts`].
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

/// The maps themselves.
pub struct MapTables {
    records: Mapping<ThreadRecord>,
    cells: Mapping<Cell>,
    owners: Mapping<u32>,
    /// Mapped once something is in it: a mapping counts as ours, read or not.
    overflow: OnceCell<Mapping<OverflowSlot>>,
    overflow_map: Map,
    control: Mapping<Control>,
    users: Users,
    calls_before: Option<Mapping<CallBefore>>,
    before: Option<Before>,
    counters: PerCpuArray<MapData, Counters>,
    extremes: PerCpuArray<MapData, Extremes>,
    free_records: Stack<MapData, u32>,
    free_extents: Stack<MapData, u32>,
    /// Indexes not yet on the free stacks: those from here up.
    unfilled_records: u32,
    unfilled_extents: u32,
    /// Whether all records were put on the free stack at once, which keeps them in order.
    filled_at_once: bool,
    memory_bytes: u64,
    /// What this process may take.
    limit: Option<MemoryLimit>,
    /// Whether the tables could not grow, which is told once.
    is_stuck: bool,
    /// Whether records and cells are in an arena, and have no pages before they are given out.
    in_arena: bool,
}

fn open<T: Pod>(
    ebpf: &mut Ebpf,
    name: &'static str,
    len: u32,
    memory: &mut u64,
) -> Result<Mapping<T>, KernelError> {
    let map = take_map(ebpf, name)?;
    let Map::Array(data) = &map else {
        return Err(KernelError::Object(format!("{name} is no array")));
    };
    *memory += map_memory(data.fd().as_fd());
    // The mapping keeps the map alive (bpf_map_mmap takes a reference).
    Mapping::new(&data.fd().as_fd(), len)
        .map_err(|source| KernelError::Refused { what: format!("map {name}"), source })
}

macro_rules! offset {
    ($type:ty, $($field:ident).+) => {
        std::mem::offset_of!($type, $($field).+)
    };
}

impl MapTables {
    /// `room_before` is that for calls from before the programs attach, where the object has
    /// such a table.
    pub(super) fn new(
        ebpf: &mut Ebpf,
        options: &Options,
        room_before: Option<u32>,
        arena: Option<Arc<Memory>>,
        limit: Option<&MemoryLimit>,
    ) -> Result<Self, KernelError> {
        let mut memory_bytes = 0;
        let m = &mut memory_bytes;
        let cell_count = options.max_extents * CELLS_PER_EXTENT;
        let record_count = share::with_reserve(options.max_threads);
        let in_arena = arena.is_some();
        let (records, cells) = match arena {
            Some(memory) => {
                *m += u64::from(arena::CELLS);
                let at = arena::records(options.max_extents) as usize;
                (
                    Mapping::within(Arc::clone(&memory), at, record_count),
                    Mapping::within(memory, arena::CELLS as usize, cell_count),
                )
            }
            None => (
                open(ebpf, maps::RECORDS, record_count, m)?,
                open(ebpf, maps::CELLS, cell_count, m)?,
            ),
        };
        let owners = open(ebpf, maps::EXTENT_OWNERS, options.max_extents, m)?;
        let control = open(ebpf, maps::CONTROL, 1, m)?;
        let users = Users(open(ebpf, maps::USERS, share::USERS, m)?);
        let before = |room| open(ebpf, maps::BEFORE, room, m);
        let calls_before = room_before.map(before).transpose()?;
        let mut take = |name: &'static str| {
            let map = take_map(ebpf, name)?;
            memory_bytes += map_fd(&map).map_or(0, map_memory);
            Ok::<_, KernelError>(map)
        };
        let failed = |e: aya::maps::MapError| KernelError::Object(e.to_string());
        let mut this = Self {
            counters: PerCpuArray::try_from(take(maps::COUNTERS)?).map_err(failed)?,
            extremes: PerCpuArray::try_from(take(maps::OVERFLOW_EXTREMES)?).map_err(failed)?,
            free_records: Stack::try_from(take(maps::FREE_RECORDS)?).map_err(failed)?,
            free_extents: Stack::try_from(take(maps::FREE_EXTENTS)?).map_err(failed)?,
            records,
            cells,
            owners,
            overflow: OnceCell::new(),
            overflow_map: take(maps::OVERFLOW)?,
            control,
            users,
            calls_before,
            before: None,
            unfilled_records: 0,
            unfilled_extents: 1,
            filled_at_once: true,
            memory_bytes,
            limit: limit.cloned(),
            is_stuck: false,
            in_arena,
        };
        this.set_wake_marks(u64::MAX, u64::MAX);
        // One user, such as root, may have all of them.
        let tasks = share::with_reserve(memory::tasks());
        let extents = tasks.saturating_mul(EXTENTS_A_TASK);
        let is_ample = limit.is_none_or(|limit| limit.available >= AMPLE);
        let (records, extents) = if is_ample {
            (RECORDS_AT_START, extents.max(EXTENTS_AT_START))
        } else {
            (tasks, extents)
        };
        this.fill(records, extents)
            .map_err(|e| KernelError::from_any("fill the free lists".into(), &e))?;
        Ok(this)
    }

    /// Tells the programs whether all of them are attached.
    pub(super) fn set_attached(&mut self, attached: bool) {
        self.control.write_u64(0, offset!(Control, attached), attached.into());
    }

    /// The calls from before the programs attached have been listed, by this time.
    pub(super) fn listed_before(&mut self, until_ns: u64) {
        let found = self.control().calls_before;
        let room = self.calls_before.as_ref().map_or(0, Mapping::len);
        let count = u32::try_from(found).unwrap_or(u32::MAX).min(room);
        if found > u64::from(count) {
            let more = found - u64::from(count);
            tracing::warn!("{more} calls that entered before are not shown, for want of room");
        }
        self.before = Some(Before { count, until_ns });
    }

    /// Puts more on the free stacks where more than half of what one user can hold is in use,
    /// if there is the memory for it.
    pub fn refill(&mut self, records_used: u64, extents_used: u64) {
        let grown = |given: u32, used: u64, most: u32| {
            let is_low = used > share::limit(given.into()) / 2;
            let more = if is_low { given.min(most) } else { 0 };
            given.saturating_add(more)
        };
        let records = grown(self.unfilled_records, records_used, RECORDS_A_DRAIN);
        let extents = grown(self.unfilled_extents, extents_used, EXTENTS_A_DRAIN);
        let (records, extents) = (records.min(self.records.len()), extents.min(self.owners.len()));
        let new = u64::from(records - self.unfilled_records) * size_of::<ThreadRecord>() as u64
            + u64::from(extents - self.unfilled_extents) * EXTENT_BYTES;
        // The reader's copy takes as much again.
        if new == 0 || self.limit.as_ref().is_some_and(|limit| !limit.allows(2 * new)) {
            if new > 0 && !std::mem::replace(&mut self.is_stuck, true) {
                tracing::warn!(
                    "the memory cgroup has no room for more threads and figures; further ones \
                     are counted, but not by process"
                );
            }
            return;
        }
        // A failure leaves them unfilled, and the next drain tries again.
        let _ = self.fill(records, extents);
    }

    /// Puts indexes below the limits on the free stacks, the lowest on top.
    fn fill(&mut self, records: u32, extents: u32) -> Result<(), aya::maps::MapError> {
        let records = records.min(self.records.len());
        let extents = extents.min(self.owners.len());
        self.populate(self.unfilled_records..records, self.unfilled_extents..extents)?;
        self.filled_at_once &= self.unfilled_records == 0 || records <= self.unfilled_records;
        for index in (self.unfilled_records..records).rev() {
            self.free_records.push(index, 0)?;
        }
        self.unfilled_records = self.unfilled_records.max(records);
        let filled = u64::from(self.unfilled_records);
        self.control.write_u64(0, offset!(Control, records.filled), filled);
        for index in (self.unfilled_extents..extents).rev() {
            self.free_extents.push(index, 0)?;
        }
        self.unfilled_extents = self.unfilled_extents.max(extents);
        // Extent 0 is none.
        let filled = u64::from(self.unfilled_extents) - 1;
        self.control.write_u64(0, offset!(Control, extents.filled), filled);
        Ok(())
    }

    /// Gives what is to be given out its pages, in an arena.
    fn populate(&mut self, records: Range<u32>, extents: Range<u32>) -> io::Result<()> {
        if !self.in_arena {
            return Ok(());
        }
        if !records.is_empty() {
            self.records.populate(records.clone())?;
            self.memory_bytes += records.len() as u64 * size_of::<ThreadRecord>() as u64;
        }
        if !extents.is_empty() {
            let cells = extents.start * CELLS_PER_EXTENT..extents.end * CELLS_PER_EXTENT;
            self.cells.populate(cells.clone())?;
            self.memory_bytes += cells.len() as u64 * size_of::<Cell>() as u64;
        }
        Ok(())
    }

    /// What the kernel charges for these maps, bytes.
    pub(super) fn memory_bytes(&self) -> u64 {
        self.memory_bytes
    }
}

impl Tables for MapTables {
    fn record_limit(&self) -> u32 {
        self.unfilled_records
    }

    fn record_count(&self) -> u32 {
        self.records.len()
    }

    fn records_are_dense(&self) -> bool {
        self.filled_at_once
    }

    fn extent_count(&self) -> u32 {
        self.owners.len()
    }

    fn extent_limit(&self) -> u32 {
        self.unfilled_extents
    }

    fn activity(&self, record: u32) -> Activity {
        // The state first: a record that has ended is then known to be complete.
        let state = self.records.read_u16(record, offset!(ThreadRecord, state));
        let read = |offset| self.records.read_u64(record, offset);
        // The call in flight before the counters, of which entries come last: if they have
        // not moved between two readings, that call has not left in between.
        let in_flight_key = self.records.read_u32(record, offset!(ThreadRecord, in_flight_key));
        let in_flight_key = CallKey(in_flight_key).without_mark().0;
        let denied = self.records.read_u32(record, offset!(ThreadRecord, denied));
        let left = read(offset!(ThreadRecord, left));
        let entered = read(offset!(ThreadRecord, entered));
        Activity { state, entered, left, denied, in_flight_key }
    }

    fn record(&self, record: u32) -> ThreadRecord {
        let mut record: ThreadRecord = self.records.read(record);
        record.in_flight_key = CallKey(record.in_flight_key).without_mark().0;
        record
    }

    fn prefetch_record(&self, record: u32) {
        if record < self.records.len() {
            let lines = (0..size_of::<ThreadRecord>()).step_by(CACHE_LINE);
            lines.for_each(|offset| self.records.prefetch(record, offset));
        }
    }

    fn slot_counts(&self, cell: CellIndex) -> SlotCounts {
        if cell >= self.cells.len() {
            return SlotCounts::default();
        }
        // The entries last: a call that leaves between two of these reads has then
        // entered too.
        SlotCounts {
            returned: self.cells.read_u64(cell, offset!(Slot, returned)),
            restarted: self.cells.read_u64(cell, offset!(Slot, restarted)),
            entered: self.cells.read_u64(cell, offset!(Slot, entered)),
            denied: self.cells.read_u32(cell, offset!(Slot, denied)),
        }
    }

    fn cell(&self, cell: CellIndex) -> Cell {
        if cell < self.cells.len() { self.cells.read(cell) } else { [0; 32] }
    }

    fn line(&self, cell: CellIndex, line: usize) -> Line {
        let known = cell < self.cells.len() && line < LINES;
        if known { self.cells.read_part(cell, line) } else { [0; 16] }
    }

    fn prefetch(&self, cell: CellIndex, line: usize) {
        if cell < self.cells.len() {
            self.cells.prefetch(cell, line * size_of::<Line>());
        }
    }

    fn extent_owner(&self, extent: u32) -> u32 {
        self.owners.read(extent)
    }

    fn overflow(&self, index: u32) -> OverflowSlot {
        // The entries last, as in `slot_counts`.
        let read = |overflow: &Mapping<OverflowSlot>| {
            let slot = overflow.read(index);
            OverflowSlot {
                entered: overflow.read_u64(index, offset!(OverflowSlot, entered)),
                ..slot
            }
        };
        if let Some(overflow) = self.overflow.get() {
            return read(overflow);
        }
        // Without memory for it there is nothing new, and all of it at the next reading.
        let mapped = map_fd(&self.overflow_map).map(|fd| Mapping::new(&fd, OVERFLOW_SLOTS));
        match mapped {
            Some(Ok(overflow)) => read(self.overflow.get_or_init(|| overflow)),
            Some(Err(error)) => {
                tracing::warn!("cannot map what found no room: {error}");
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

    fn counters(&self) -> Counters {
        let mut sum = Counters::default();
        if let Ok(per_cpu) = self.counters.get(&0, 0) {
            per_cpu.iter().for_each(|one| sum.add(one));
        }
        sum
    }

    fn control(&self) -> Control {
        self.control.read(0)
    }

    fn before(&self) -> Option<Before> {
        self.before
    }

    fn call_before(&self, index: u32) -> CallBefore {
        // Counted only where they are mapped.
        self.calls_before.as_ref().map_or(NO_CALL, |calls| calls.read(index))
    }

    fn greediest_user(&self) -> Option<u32> {
        self.users.greediest(&self.control())
    }

    fn set_wake_marks(&mut self, records_taken: u64, extents_taken: u64) {
        self.control.write_u64(0, offset!(Control, records.wake_at), records_taken);
        self.control.write_u64(0, offset!(Control, extents.wake_at), extents_taken);
    }

    fn free_record(&mut self, record: u32) {
        // Before the record is zeroed.
        let user = self.records.read_u16(record, offset!(ThreadRecord, user));
        self.records.write(record, UNOWNED);
        if self.free_records.push(record, 0).is_ok() {
            self.users.returned_record(&self.control, user);
        }
    }

    fn free_extent(&mut self, extent: u32) {
        for cell in 0..CELLS_PER_EXTENT {
            self.cells.write(extent * CELLS_PER_EXTENT + cell, [0; 32]);
        }
        // Its owner's record is given back after all of its extents.
        let owner = self.owners.read(extent).checked_sub(1).filter(|&r| r < self.records.len());
        let user = owner.map(|record| self.records.read_u16(record, offset!(ThreadRecord, user)));
        self.owners.write(extent, 0);
        if self.free_extents.push(extent, 0).is_ok()
            && let Some(user) = user
        {
            self.users.returned_extent(&self.control, user);
        }
    }
}

/// A call that is over.
const NO_CALL: CallBefore = CallBefore {
    key: CallKey::NONE.0,
    tid: 0,
    tgid: 0,
    _pad: 0,
    process_start_ns: 0,
    comm: [0; _],
};

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

/// An overflow slot in which nothing is.
pub(crate) const ZERO_OVERFLOW: OverflowSlot = OverflowSlot {
    entered: 0,
    returned: 0,
    restarted: 0,
    total_ns: 0,
    errors: 0,
    denied: 0,
    never_returned: 0,
    errors_unlisted: 0,
    buckets: [0; _],
    errnos: [0; _],
};
