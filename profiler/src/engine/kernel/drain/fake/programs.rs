//! Makes the stores of the programs one at a time, so that a reading can fall between any two
//! stores.

use profiler_common::{
    call::CallKey,
    hist::{self, BUCKETS_PER_CHUNK},
    limits::{CELLS_PER_EXTENT, ERRNOS_PER_PAGE},
    wire::{
        CALLS_PER_PAGE, Cell, CellIndex, Control, OffCpu, OffCpuCall, RecordState, Slot,
        ThreadRecord,
    },
};

use crate::engine::kernel::tables::UNOWNED;

/// A record that nobody owns.
pub(super) const FREE: ThreadRecord =
    ThreadRecord { in_flight_key: CallKey::NONE.0, last_key: CallKey::NONE.0, ..UNOWNED };

/// A call that leaves, store by store.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Leaving {
    pub(super) record: u32,
    pub(super) nr: u32,
    pub(super) slot: CellIndex,
    pub(super) latency_ns: u64,
    pub(super) errno: Option<u16>,
    /// How many stores the call has made.
    pub(super) step: u32,
    /// Reads since the last store, and reads between two stores; `None` if the thread is stopped.
    pub(super) pause: (u32, Option<u32>),
    /// How often the thread makes the same call again.
    pub(super) more: u32,
}

impl Leaving {
    /// How many stores a call makes until it has left.
    pub(in super::super) const STEPS: u32 = 9;
    /// How many stores an entry makes if the thread makes the same call again.
    const ENTRY: u32 = 3;

    pub(super) fn is_over(&self) -> bool {
        self.more == 0 && self.step >= Self::STEPS
    }
}

pub(super) struct State {
    pub(super) records: Vec<ThreadRecord>,
    pub(super) cells: Vec<Cell>,
    pub(super) owners: Vec<u32>,
    pub(super) free_records: Vec<u32>,
    pub(super) free_extents: Vec<u32>,
    pub(super) control: Control,
    /// By record.
    pub(super) off_cpu_calls: Vec<OffCpuCall>,
    /// By cell.
    pub(super) off_cpu: Vec<OffCpu>,
    /// Calls that leave during the reading.
    pub(super) leaving: Vec<Leaving>,
}

/// Adds to the `u64` at word `at` of a cell.
fn add_u64(cell: &mut Cell, at: usize, add: u64) {
    let value = (u64::from(cell[at]) | u64::from(cell[at + 1]) << 32) + add;
    cell[at] = value as u32;
    cell[at + 1] = (value >> 32) as u32;
}

/// The offsets of the fields of a [`Slot`], in words.
mod at {
    pub(super) const ENTERED: usize = 0;
    pub(super) const RETURNED: usize = 2;
    pub(super) const TOTAL: usize = 6;
    pub(super) const MIN: usize = 8;
    pub(super) const MAX: usize = 10;
    pub(super) const ERRORS: usize = 12;
    pub(super) const CHUNKS: usize = 16;
    pub(super) const ERRNOS: usize = CHUNKS + profiler_common::hist::CHUNKS;
}

impl State {
    /// Creates pools of `records` records and `extents` extents.
    pub(super) fn new(records: u32, extents: u32) -> Self {
        Self {
            records: vec![FREE; records as usize],
            cells: vec![[0; 32]; (extents * CELLS_PER_EXTENT) as usize],
            owners: vec![0; extents as usize],
            free_records: (0..records).rev().collect(),
            free_extents: (1..extents).rev().collect(),
            control: Control::default(),
            off_cpu_calls: vec![OffCpuCall::default(); records as usize],
            off_cpu: vec![OffCpu::default(); (extents * CELLS_PER_EXTENT) as usize],
            leaving: Vec::new(),
        }
    }

    /// Takes a record for a thread.
    pub(super) fn take_record(&mut self, tgid: u32, tid: u32) -> u32 {
        let index = self.free_records.pop().expect("a free record");
        let record = &mut self.records[index as usize];
        assert_eq!(record.state, RecordState::Free as u16, "nobody owns a free record");
        *record = ThreadRecord { owner: 1, tgid, tid, process_start_ns: tgid.into(), ..FREE };
        record.state = RecordState::Live as u16;
        self.control.records.all.taken += 1;
        index
    }

    /// Counts an entry in the slot of a call. Returns the slot.
    pub(super) fn count_entry(&mut self, record: u32, nr: u32) -> CellIndex {
        let slot = self.slot_of(record, nr);
        add_u64(&mut self.cells[slot as usize], at::ENTERED, 1);
        slot
    }

    /// Enters a call.
    pub(super) fn enter(
        &mut self,
        record: u32,
        nr: u32,
        latency_ns: u64,
        errno: Option<u16>,
    ) -> Leaving {
        let slot = self.count_entry(record, nr);
        let owner = &mut self.records[record as usize];
        owner.in_flight_slot = slot;
        owner.entered += 1;
        owner.in_flight_key = nr;
        Leaving { record, nr, slot, latency_ns, errno, step: 0, pause: (0, Some(0)), more: 0 }
    }

    /// Makes the remaining stores of a call.
    pub(super) fn leave(&mut self, mut call: Leaving) {
        while !call.is_over() {
            self.step(&mut call);
        }
    }

    /// Takes a cell from the pool for a record.
    fn take_cell(&mut self, record: u32) -> CellIndex {
        let next = &mut self.records[record as usize].next_cell;
        if next.is_multiple_of(CELLS_PER_EXTENT) {
            let extent = self.free_extents.pop().expect("a free extent");
            self.owners[extent as usize] = record + 1;
            self.control.extents.all.taken += 1;
            *next = extent * CELLS_PER_EXTENT;
        }
        *next += 1;
        let taken = *next - 1;
        assert_eq!(self.cells[taken as usize], [0; 32], "a free cell is zeroed");
        taken
    }

    /// Returns the cell that word `place` of the cell `holder` refers to. Takes a new cell if there
    /// is none.
    fn cell_at(&mut self, record: u32, holder: CellIndex, place: usize) -> CellIndex {
        if self.cells[holder as usize][place] == 0 {
            let cell = self.take_cell(record);
            self.cells[holder as usize][place] = cell;
        }
        self.cells[holder as usize][place]
    }

    /// Returns the slot of a call. Takes a new slot if there is none.
    pub(super) fn slot_of(&mut self, record: u32, nr: u32) -> CellIndex {
        let page = (nr / CALLS_PER_PAGE) as usize;
        if self.records[record as usize].native_pages[page] == 0 {
            let cell = self.take_cell(record);
            self.records[record as usize].native_pages[page] = cell;
        }
        let page = self.records[record as usize].native_pages[page] as usize;
        let place = (nr % CALLS_PER_PAGE) as usize;
        if self.cells[page][place] == 0 {
            let slot = self.take_cell(record);
            self.cells[slot as usize][at::MIN..at::MAX].fill(u32::MAX);
            self.cells[page][place] = slot;
        }
        self.cells[page][place]
    }

    /// Makes the next store of a call that leaves, in the order of profiler-ebpf/src/exit.rs. After
    /// the call, makes the stores of the next entry, in the order of entry.rs.
    pub(super) fn step(&mut self, leaving: &mut Leaving) {
        let Leaving { record, nr, slot, latency_ns, errno, step, .. } = *leaving;
        let (at_slot, owner) = (slot as usize, record as usize);
        let figures = Slot::from_cell(&self.cells[at_slot]);
        match step {
            0 => self.records[owner].in_flight_key = CallKey::NONE.0,
            1 => {
                if latency_ns > figures.max_ns {
                    add_u64(&mut self.cells[at_slot], at::MAX, latency_ns - figures.max_ns);
                }
            }
            2 => add_u64(&mut self.cells[at_slot], at::TOTAL, latency_ns),
            3 => {
                if latency_ns < figures.min_ns {
                    let cell = &mut self.cells[at_slot];
                    cell[at::MIN] = latency_ns as u32;
                    cell[at::MIN + 1] = (latency_ns >> 32) as u32;
                }
            }
            4 => {
                let bucket = hist::bucket(latency_ns) as usize;
                let chunk = self.cell_at(record, slot, at::CHUNKS + bucket / BUCKETS_PER_CHUNK);
                let count = &mut self.cells[chunk as usize][bucket % BUCKETS_PER_CHUNK];
                *count = count.wrapping_add(1);
            }
            5 => {
                if let Some(errno) = errno.map(usize::from) {
                    let page = self.cell_at(record, slot, at::ERRNOS + errno / ERRNOS_PER_PAGE);
                    let count = &mut self.cells[page as usize][errno % ERRNOS_PER_PAGE];
                    *count = count.wrapping_add(1);
                }
            }
            6 => add_u64(&mut self.cells[at_slot], at::ERRORS, errno.is_some().into()),
            7 => add_u64(&mut self.cells[at_slot], at::RETURNED, 1),
            8 => self.records[owner].left += 1,
            9 => add_u64(&mut self.cells[at_slot], at::ENTERED, 1),
            10 => self.records[owner].entered += 1,
            _ => self.records[owner].in_flight_key = nr,
        }
        leaving.step += 1;
        if leaving.more > 0 && leaving.step == Leaving::STEPS + Leaving::ENTRY {
            leaving.step = 0;
            leaving.more -= 1;
        }
    }

    /// Advances each call that leaves during the reading. Called before each read.
    pub(super) fn go_on(&mut self) {
        let mut leaving = std::mem::take(&mut self.leaving);
        for call in &mut leaving {
            let (reads, pause) = &mut call.pause;
            *reads += 1;
            if pause.is_some_and(|pause| *reads > pause) {
                *reads = 0;
                self.step(call);
            }
        }
        leaving.retain(|call| !call.is_over());
        self.leaving = leaving;
    }
}
