//! [`Tables`] without a kernel: threads that make calls, written as the programs write
//! them, one store after another, so that a reading can fall between any two.

use std::cell::RefCell;

use profiler_common::{
    call::{CallKey, OVERFLOW_SLOTS},
    hist::{self, BUCKETS_PER_CHUNK},
    limits::{CELLS_PER_EXTENT, ERRNOS_PER_PAGE},
    wire::{
        CALLS_PER_PAGE, CallBefore, Cell, CellIndex, Control, Counters, RecordState, Slot,
        ThreadRecord,
    },
};

use super::reader::ZERO_OVERFLOW;
use crate::engine::kernel::tables::{Activity, Before, SlotCounts, Tables, UNOWNED};

/// A record that nobody owns.
const FREE: ThreadRecord =
    ThreadRecord { in_flight_key: CallKey::NONE.0, last_key: CallKey::NONE.0, ..UNOWNED };

/// A call that leaves, store by store.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leaving {
    record: u32,
    nr: u32,
    slot: CellIndex,
    latency_ns: u64,
    errno: Option<u16>,
    /// Stores that were made.
    step: u32,
    /// Reads between two stores, so far and in all; `None` while the thread is stopped
    /// where it is.
    pause: (u32, Option<u32>),
    /// How often the same call is made again after that.
    more: u32,
}

impl Leaving {
    /// Stores until the call has left.
    pub(super) const STEPS: u32 = 9;
    /// Stores of an entry, which follow where the same call is made again.
    const ENTRY: u32 = 3;

    fn is_over(&self) -> bool {
        self.more == 0 && self.step >= Self::STEPS
    }
}

struct State {
    records: Vec<ThreadRecord>,
    cells: Vec<Cell>,
    owners: Vec<u32>,
    free_records: Vec<u32>,
    free_extents: Vec<u32>,
    control: Control,
    /// Calls that leave while they are read: one store before each read.
    leaving: Vec<Leaving>,
}

/// The tables. Reading them lets [`Self::leave_meanwhile`]'s calls go on.
pub(super) struct Fake {
    state: RefCell<State>,
    before: Option<Before>,
    calls_before: Vec<CallBefore>,
    pub(super) freed_records: Vec<u32>,
    pub(super) freed_extents: Vec<u32>,
}

fn put_u64(cell: &mut Cell, at: usize, add: u64) {
    let value = (u64::from(cell[at]) | u64::from(cell[at + 1]) << 32) + add;
    cell[at] = value as u32;
    cell[at + 1] = (value >> 32) as u32;
}

/// Where the fields of a [`Slot`] are, in words.
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
        assert_eq!(self.cells[taken as usize], [0; 32], "cells are given back zeroed");
        taken
    }

    fn cell_at(&mut self, record: u32, holder: CellIndex, place: usize) -> CellIndex {
        if self.cells[holder as usize][place] == 0 {
            let cell = self.take_cell(record);
            self.cells[holder as usize][place] = cell;
        }
        self.cells[holder as usize][place]
    }

    fn slot_of(&mut self, record: u32, nr: u32) -> CellIndex {
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

    /// One store of a call that leaves, in the order of profiler-ebpf/src/exit.rs, and of
    /// the entry of the next one, in that of entry.rs.
    fn step(&mut self, leaving: &mut Leaving) {
        let Leaving { record, nr, slot, latency_ns, errno, step, .. } = *leaving;
        let (at_slot, owner) = (slot as usize, record as usize);
        let figures = Slot::from_cell(&self.cells[at_slot]);
        match step {
            0 => self.records[owner].in_flight_key = CallKey::NONE.0,
            1 => {
                if latency_ns > figures.max_ns {
                    put_u64(&mut self.cells[at_slot], at::MAX, latency_ns - figures.max_ns);
                }
            }
            2 => put_u64(&mut self.cells[at_slot], at::TOTAL, latency_ns),
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
            6 => put_u64(&mut self.cells[at_slot], at::ERRORS, errno.is_some().into()),
            7 => put_u64(&mut self.cells[at_slot], at::RETURNED, 1),
            8 => self.records[owner].left += 1,
            9 => put_u64(&mut self.cells[at_slot], at::ENTERED, 1),
            10 => self.records[owner].entered += 1,
            _ => self.records[owner].in_flight_key = nr,
        }
        leaving.step += 1;
        if leaving.more > 0 && leaving.step == Leaving::STEPS + Leaving::ENTRY {
            leaving.step = 0;
            leaving.more -= 1;
        }
    }

    /// Lets each call that leaves meanwhile go on, which a read gives time to.
    fn go_on(&mut self) {
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

impl Fake {
    pub(super) fn new(records: u32, extents: u32) -> Self {
        Self {
            state: RefCell::new(State {
                records: vec![FREE; records as usize],
                cells: vec![[0; 32]; (extents * CELLS_PER_EXTENT) as usize],
                owners: vec![0; extents as usize],
                free_records: (0..records).rev().collect(),
                free_extents: (1..extents).rev().collect(),
                control: Control::default(),
                leaving: Vec::new(),
            }),
            before: None,
            calls_before: Vec::new(),
            freed_records: Vec::new(),
            freed_extents: Vec::new(),
        }
    }

    /// Calls from before: process, thread and number.
    pub(super) fn list_before(&mut self, until_ns: u64, calls: &[(u32, u32, u32)]) {
        let call = |&(tgid, tid, key)| CallBefore {
            key,
            tid,
            tgid,
            process_start_ns: tgid.into(),
            comm: *b"before\0\0\0\0\0\0\0\0\0\0",
            ..CallBefore::default()
        };
        self.calls_before = calls.iter().map(call).collect();
        self.before = Some(Before { count: calls.len() as u32, until_ns });
    }

    /// One of them leaves.
    pub(super) fn leave_before(&mut self, tid: u32) {
        let call = self.calls_before.iter_mut().find(|call| call.tid == tid);
        call.expect("a call of this thread").key = CallKey::NONE.0;
    }

    /// A thread begins; its record.
    pub(super) fn start(&mut self, tgid: u32, tid: u32) -> u32 {
        let state = self.state.get_mut();
        let index = state.free_records.pop().expect("a free record");
        let record = &mut state.records[index as usize];
        assert_eq!(record.state, RecordState::Free as u16, "nobody owns a free record");
        *record = ThreadRecord { owner: 1, tgid, tid, process_start_ns: tgid.into(), ..FREE };
        record.state = RecordState::Live as u16;
        state.control.records.all.taken += 1;
        index
    }

    /// A call enters; what is to be passed to [`Self::leave`].
    pub(super) fn enter(
        &mut self,
        record: u32,
        nr: u32,
        latency_ns: u64,
        errno: Option<u16>,
    ) -> Leaving {
        let state = self.state.get_mut();
        let slot = state.slot_of(record, nr);
        put_u64(&mut state.cells[slot as usize], at::ENTERED, 1);
        let owner = &mut state.records[record as usize];
        owner.in_flight_slot = slot;
        owner.entered += 1;
        owner.in_flight_key = nr;
        let pause = (0, Some(0));
        Leaving { record, nr, slot, latency_ns, errno, step: 0, pause, more: 0 }
    }

    /// A call enters at a time, and stays.
    pub(super) fn enter_at(&mut self, record: u32, nr: u32, entry_ns: u64) -> Leaving {
        let call = self.enter(record, nr, 0, None);
        self.state.get_mut().records[record as usize].entry_ns = entry_ns;
        call
    }

    /// A call leaves.
    pub(super) fn leave(&mut self, mut call: Leaving) {
        while call.step < Leaving::STEPS {
            self.state.get_mut().step(&mut call);
        }
    }

    /// A call leaves while the tables are read: `steps` stores now, and one before
    /// each read that follows.
    pub(super) fn leave_meanwhile(&mut self, call: Leaving, steps: u32) {
        self.go_on_meanwhile(call, steps, Some(0), 0);
    }

    /// Likewise, with `pause` reads between two stores, or none at all until
    /// [`Self::settle`]; and the same call is made so many times `more`.
    pub(super) fn go_on_meanwhile(
        &mut self,
        mut call: Leaving,
        steps: u32,
        pause: Option<u32>,
        more: u32,
    ) {
        (call.pause, call.more) = ((0, pause), more);
        let state = self.state.get_mut();
        (0..steps.min(Leaving::STEPS)).for_each(|_| state.step(&mut call));
        if !call.is_over() {
            state.leaving.push(call);
        }
    }

    /// Lets all calls leave that do so meanwhile.
    pub(super) fn settle(&mut self) {
        let state = self.state.get_mut();
        for mut call in std::mem::take(&mut state.leaving) {
            while !call.is_over() {
                state.step(&mut call);
            }
        }
    }

    /// A thread ends, within a call or not.
    pub(super) fn end(&mut self, record: u32) {
        self.settle();
        let record = &mut self.state.get_mut().records[record as usize];
        record.owner = 0;
        record.state = RecordState::Ended as u16;
    }

    /// Sets every bucket and errno count of a record's that is not 0, as after very
    /// many calls that were read.
    pub(super) fn set_counts(&mut self, record: u32, nr: u32, value: u32) {
        let state = self.state.get_mut();
        let slot = state.slot_of(record, nr);
        let figures = Slot::from_cell(&state.cells[slot as usize]);
        for cell in figures.chunks.into_iter().chain(figures.errno_pages).filter(|&c| c != 0) {
            for count in state.cells[cell as usize].iter_mut().filter(|count| **count != 0) {
                *count = value;
            }
        }
    }

    /// Counts an entry into a slot that the record knows nothing of.
    pub(super) fn miscount(&mut self, record: u32, nr: u32) {
        let state = self.state.get_mut();
        let slot = state.slot_of(record, nr);
        put_u64(&mut state.cells[slot as usize], at::ENTERED, 1);
    }

    /// A thread's call left, and its exit was missed: it is found at the next entry.
    pub(super) fn miss_exit(&mut self, record: u32) {
        let record = &mut self.state.get_mut().records[record as usize];
        record.missed_exits += 1;
        record.in_flight_key = CallKey::NONE.0;
    }

    /// Extents that are neither free nor of a record.
    pub(super) fn is_whole(&self) -> bool {
        let state = self.state.borrow();
        let owned = state.owners.iter().filter(|&&owner| owner != 0).count();
        owned + state.free_extents.len() + 1 == state.owners.len()
    }
}

impl Tables for Fake {
    fn record_limit(&self) -> u32 {
        self.record_count()
    }

    fn record_count(&self) -> u32 {
        self.state.borrow().records.len() as u32
    }

    fn extent_count(&self) -> u32 {
        self.state.borrow().owners.len() as u32
    }

    fn activity(&self, record: u32) -> Activity {
        // In the order of the real one, the thread going on in between.
        let read = || {
            self.state.borrow_mut().go_on();
            self.state.borrow().records[record as usize]
        };
        let ThreadRecord { state, .. } = read();
        let ThreadRecord { in_flight_key, .. } = read();
        let ThreadRecord { denied, .. } = read();
        let ThreadRecord { left, .. } = read();
        let ThreadRecord { entered, .. } = read();
        Activity { state, entered, left, denied, in_flight_key }
    }

    fn record(&self, record: u32) -> ThreadRecord {
        self.state.borrow_mut().go_on();
        self.state.borrow().records[record as usize]
    }

    fn slot_counts(&self, cell: CellIndex) -> SlotCounts {
        self.state.borrow_mut().go_on();
        let read = || {
            self.state.borrow_mut().go_on();
            Slot::from_cell(&self.state.borrow().cells[cell as usize])
        };
        let Slot { returned, .. } = read();
        let Slot { entered, restarted, denied, .. } = read();
        SlotCounts { entered, returned, restarted, denied }
    }

    fn cell(&self, cell: CellIndex) -> Cell {
        self.state.borrow_mut().go_on();
        self.state.borrow().cells[cell as usize]
    }

    fn extent_owner(&self, extent: u32) -> u32 {
        self.state.borrow().owners[extent as usize]
    }

    fn overflow(&self, index: u32) -> profiler_common::wire::OverflowSlot {
        assert!(index < OVERFLOW_SLOTS);
        ZERO_OVERFLOW
    }

    fn overflow_extremes(&self, _: u32) -> Option<(u64, u64)> {
        None
    }

    fn counters(&self) -> Counters {
        Counters::default()
    }

    fn control(&self) -> Control {
        self.state.borrow().control
    }

    fn before(&self) -> Option<Before> {
        self.before
    }

    fn call_before(&self, index: u32) -> CallBefore {
        self.calls_before[index as usize]
    }

    fn set_wake_marks(&mut self, _: u64, _: u64) {}

    fn free_record(&mut self, record: u32) {
        let state = self.state.get_mut();
        let freed = &mut state.records[record as usize];
        assert_eq!(freed.state, RecordState::Ended as u16, "only what has ended is freed");
        *freed = FREE;
        state.free_records.push(record);
        self.freed_records.push(record);
    }

    fn free_extent(&mut self, extent: u32) {
        let state = self.state.get_mut();
        assert_ne!(state.owners[extent as usize], 0, "only what is owned is freed");
        state.owners[extent as usize] = 0;
        let first = (extent * CELLS_PER_EXTENT) as usize;
        state.cells[first..first + CELLS_PER_EXTENT as usize].fill([0; 32]);
        state.free_extents.push(extent);
        self.freed_extents.push(extent);
    }
}
