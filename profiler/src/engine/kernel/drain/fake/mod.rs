//! [`Tables`] without a kernel: fake threads make calls, and the drain reads them.

mod programs;

use std::cell::RefCell;

use profiler_common::{
    call::{CallKey, OVERFLOW_SLOTS},
    limits::CELLS_PER_EXTENT,
    wire::{
        CallBefore, Cell, CellIndex, Control, Counters, OffCpu, OffCpuCall, RecordState, Slot,
        TaskIdentity, ThreadRecord,
    },
};

use crate::engine::kernel::tables::{Activity, Before, SlotCounts, Tables, ZERO_OVERFLOW};
pub(super) use programs::Leaving;
use programs::{FREE, State};

/// Fake tables. Each read advances the calls of [`Self::leave_meanwhile`].
pub(super) struct Fake {
    state: RefCell<State>,
    before: Option<Before>,
    calls_before: Vec<CallBefore>,
    /// The owner of each record.
    pub(super) identities: Vec<TaskIdentity>,
    pub(super) freed_records: Vec<u32>,
    pub(super) freed_extents: Vec<u32>,
}

impl Fake {
    /// Creates tables with `records` records and `extents` extents.
    pub(super) fn new(records: u32, extents: u32) -> Self {
        Self {
            state: RefCell::new(State::new(records, extents)),
            before: None,
            calls_before: Vec::new(),
            identities: vec![TaskIdentity::default(); records as usize],
            freed_records: Vec::new(),
            freed_extents: Vec::new(),
        }
    }

    /// Lists calls that entered before the attach. A call has a process, a thread and a number.
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

    /// Lets the listed call of a thread leave.
    pub(super) fn leave_before(&mut self, tid: u32) {
        let call = self.calls_before.iter_mut().find(|call| call.tid == tid);
        call.expect("a call of this thread").key = CallKey::NONE.0;
    }

    /// Starts a thread. Returns its record.
    pub(super) fn start(&mut self, tgid: u32, tid: u32) -> u32 {
        let record = self.state.get_mut().take_record(tgid, tid);
        self.identities[record as usize] = TaskIdentity { uid: tgid, ..TaskIdentity::default() };
        record
    }

    /// Enters a call. Returns the argument for [`Self::leave`].
    pub(super) fn enter(
        &mut self,
        record: u32,
        nr: u32,
        latency_ns: u64,
        errno: Option<u16>,
    ) -> Leaving {
        self.state.get_mut().enter(record, nr, latency_ns, errno)
    }

    /// Enters a call at the time `entry_ns`. The call stays in flight.
    pub(super) fn enter_at(&mut self, record: u32, nr: u32, entry_ns: u64) -> Leaving {
        let call = self.enter(record, nr, 0, None);
        self.state.get_mut().records[record as usize].entry_ns = entry_ns;
        call
    }

    /// Lets a call leave.
    pub(super) fn leave(&mut self, call: Leaving) {
        self.state.get_mut().leave(call);
    }

    /// Lets a call leave during the reading: it makes `steps` stores now, and one store before each
    /// of the next reads.
    pub(super) fn leave_meanwhile(&mut self, call: Leaving, steps: u32) {
        self.go_on_meanwhile(call, steps, Some(0), 0);
    }

    /// Same as [`Self::leave_meanwhile`], with `pause` reads between two stores. If `pause` is
    /// `None`, the thread stops until [`Self::settle`]. After the call, the thread makes the same
    /// call `more` times.
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

    /// Completes all calls that leave during the reading.
    pub(super) fn settle(&mut self) {
        let state = self.state.get_mut();
        std::mem::take(&mut state.leaving).into_iter().for_each(|call| state.leave(call));
    }

    /// Lets a thread leave its CPU during its call, wait, become runnable, and return to a CPU, as
    /// in profiler-ebpf/src/off_cpu.rs.
    pub(super) fn leave_cpu(&mut self, record: u32, waiting_ns: u64, runnable_ns: u64) {
        let state = self.state.get_mut();
        let owner = state.records[record as usize];
        let call = &mut state.off_cpu_calls[record as usize];
        if call.entered != owner.entered {
            if call.missed_exits == owner.missed_exits as u32 {
                let sums = &mut state.off_cpu[call.slot as usize];
                sums.waiting_ns += call.time.waiting_ns;
                sums.runnable_ns += call.time.runnable_ns;
            }
            *call = OffCpuCall {
                entered: owner.entered,
                slot: owner.in_flight_slot,
                missed_exits: owner.missed_exits as u32,
                ..OffCpuCall::default()
            };
        }
        call.time.waiting_ns += waiting_ns;
        call.time.runnable_ns += runnable_ns;
    }

    /// Ends a thread, which may be in a call.
    pub(super) fn end(&mut self, record: u32) {
        self.settle();
        let record = &mut self.state.get_mut().records[record as usize];
        record.owner = 0;
        record.state = RecordState::Ended as u16;
    }

    /// Sets every bucket and every errno count of a slot that is not 0 to `value`, as after many
    /// calls.
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

    /// Counts an entry in a slot, but not in the record.
    pub(super) fn miscount(&mut self, record: u32, nr: u32) {
        self.state.get_mut().count_entry(record, nr);
    }

    /// Records that a call left without its exit program, as the next entry does.
    pub(super) fn miss_exit(&mut self, record: u32) {
        let record = &mut self.state.get_mut().records[record as usize];
        record.missed_exits += 1;
        record.in_flight_key = CallKey::NONE.0;
    }

    /// Whether every extent is free or owned by a record.
    pub(super) fn is_whole(&self) -> bool {
        let state = self.state.borrow();
        let owned = state.owners.iter().filter(|&&owner| owner != 0).count();
        owned + state.free_extents.len() + 1 == state.owners.len()
    }
}

impl Tables for Fake {
    fn identity(&self, record: u32) -> TaskIdentity {
        self.identities[record as usize]
    }

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
        // Reads in the order of the real tables. The thread makes its stores in between.
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

    fn follows_off_cpu(&self) -> bool {
        true
    }

    fn off_cpu(&self, record: u32, slot: CellIndex) -> Option<(OffCpuCall, OffCpu)> {
        let state = self.state.borrow();
        Some((state.off_cpu_calls[record as usize], state.off_cpu[slot as usize]))
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

    fn disown_record(&mut self, record: u32) {
        self.state.get_mut().records[record as usize].owner = 0;
    }

    fn end_record(&mut self, record: u32) {
        let record = &mut self.state.get_mut().records[record as usize];
        assert_eq!(record.state, RecordState::Live as u16, "only a live record can end");
        record.state = RecordState::Ended as u16;
    }

    fn free_record(&mut self, record: u32) {
        let state = self.state.get_mut();
        let freed = &mut state.records[record as usize];
        assert_eq!(freed.state, RecordState::Ended as u16, "only an ended record is freed");
        *freed = FREE;
        state.off_cpu_calls[record as usize] = OffCpuCall::default();
        state.free_records.push(record);
        self.freed_records.push(record);
    }

    fn free_extent(&mut self, extent: u32) {
        let state = self.state.get_mut();
        assert_ne!(state.owners[extent as usize], 0, "only an owned extent is freed");
        state.owners[extent as usize] = 0;
        let first = (extent * CELLS_PER_EXTENT) as usize;
        state.cells[first..first + CELLS_PER_EXTENT as usize].fill([0; 32]);
        state.off_cpu[first..first + CELLS_PER_EXTENT as usize].fill(OffCpu::default());
        state.free_extents.push(extent);
        self.freed_extents.push(extent);
    }
}
