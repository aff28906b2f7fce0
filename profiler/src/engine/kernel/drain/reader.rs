//! From map values to figures: the differences to the last reading.
//!
//! The kernel side only adds, and nothing is ever reset. So no call can fall between two readings:
//! the reader subtracts a copy of the last reading. A thread that did nothing costs one read of its
//! record's first cache line.
//!
//! Counts in chunks have 32 bits and wrap. The subtraction undoes that.

use std::collections::HashMap;

use profiler_common::{
    call::{CallKey, OVERFLOW_SLOTS},
    limits::CELLS_PER_EXTENT,
    wire::{CellIndex, OverflowSlot, RecordState},
};

use super::{
    batch::{self, Batch},
    books::Breaches,
    departed::Departed,
    freeing::Usage,
    judging::Judge,
    off_cpu,
    shadow::Shadow,
    slot::{Samplers, SlotReading},
    thread_reading::Thread,
    users::Changes,
};
use crate::{
    aggregate::Aggregate,
    engine::kernel::tables::{Activity, SlotCounts, Tables},
    model::Timed,
};

/// Reads tables, and computes differences to what it read last.
pub(crate) struct Reader {
    /// The first cache line of each record at the last reading. Apart from `threads`, because only
    /// this is read of a thread that did nothing.
    pub(super) activities: Vec<Activity>,
    /// The threads, by the index of their records.
    pub(super) threads: Vec<Option<Box<Thread>>>,
    /// The pool of cells at the last reading.
    pub(super) cells: Shadow,
    /// The overflow slots at the last reading.
    pub(super) overflow: Vec<Option<Box<OverflowSlot>>>,
    /// How many calls the overflow slots counted.
    pub(super) overflowed: u64,
    /// By slot: how many calls whose exit was missed are in the figures.
    pub(super) lost: HashMap<CellIndex, u64>,
    /// The time off the CPU that was reported so far, by slot.
    pub(super) off_cpu: off_cpu::Reported,
    /// The same, by overflow slot.
    pub(super) overflow_off_cpu: off_cpu::Reported,
    /// Whether the programs follow the time off the CPU.
    pub(super) follows_off_cpu: bool,
    /// With adaptive sampling: the samplers at the last reading.
    pub(super) samplers: Samplers,
    pub(super) breaches: Breaches,
    batch: Batch,
    pub(super) slot: SlotReading,
    /// The slots of the thread that is being read whose reported counts differ from its books.
    pub(super) corrections: Vec<(CallKey, CellIndex, SlotCounts, SlotCounts)>,
    /// How much of the pools is in use.
    pub(super) usage: Usage,
    pub(super) timed: Timed,
    pub(super) changes: Changes,
    /// Records of threads that may have changed their user, and live.
    pub(super) unknown_users: Vec<u32>,
    /// Threads that may be gone without a report of their end.
    pub(super) departed: Departed,
}

impl Reader {
    /// A reader that has read nothing. `timed` says which calls the programs time.
    pub(crate) fn new(tables: &impl Tables, timed: Timed) -> Self {
        let cells = tables.extent_count() as usize * CELLS_PER_EXTENT as usize;
        Self {
            activities: Vec::new(),
            threads: Vec::new(),
            cells: Shadow::new(cells),
            overflow: (0..OVERFLOW_SLOTS).map(|_| None).collect(),
            overflowed: 0,
            lost: HashMap::new(),
            off_cpu: off_cpu::Reported::default(),
            overflow_off_cpu: off_cpu::Reported::default(),
            follows_off_cpu: tables.follows_off_cpu(),
            samplers: Samplers::new(),
            breaches: Breaches::default(),
            batch: Batch::default(),
            slot: SlotReading::default(),
            corrections: Vec::new(),
            usage: Usage::default(),
            timed,
            changes: Changes::new(),
            unknown_users: Vec::new(),
            departed: Departed::new(),
        }
    }

    /// Sets which calls say that a user may have changed.
    pub(crate) fn with_changes(self, changes: Changes) -> Self {
        Self { changes, ..self }
    }

    /// Adds the differences to `into`, and frees the records and extents of ended threads. A slot that
    /// cannot be read consistently, because its thread goes on, is left to the next reading.
    pub(crate) fn read(&mut self, tables: &mut impl Tables, into: &mut Aggregate) {
        self.read_until(tables, into, (false, None));
    }

    /// Reads everything that is left, after all programs are detached.
    pub(crate) fn read_last(&mut self, tables: &mut impl Tables, into: &mut Aggregate) {
        self.read_until(tables, into, (true, None));
    }

    /// Same as [`Self::read`] or, if `last`, [`Self::read_last`]. `judge` says what becomes of the
    /// records of a cgroup.
    pub(crate) fn read_judged(
        &mut self,
        tables: &mut impl Tables,
        into: &mut Aggregate,
        (last, judge): (bool, Judge<'_>),
    ) {
        self.read_until(tables, into, (last, Some(judge)));
    }

    fn read_until(
        &mut self,
        tables: &mut impl Tables,
        into: &mut Aggregate,
        (last, judge): (bool, Option<Judge<'_>>),
    ) {
        self.usage.note_taken(&tables.control());
        let records = self.usage.record_limit(tables);
        self.activities.resize(records as usize, Activity::default());
        self.threads.resize_with(records as usize, || None);
        let mut active: Vec<u32> =
            (0..records).filter(|&index| self.is_active(tables, index)).collect();
        let mut ended = Vec::new();
        if let Some(judge) = judge {
            active.retain(|&index| self.counts(tables, into, index, (judge, &mut ended)));
        }
        let mut batch = std::mem::take(&mut self.batch);
        let mut batches = active.chunks(batch::THREADS).peekable();
        while let Some(threads) = batches.next() {
            let next = batches.peek().copied().unwrap_or_default();
            batch.read(tables, &self.cells, threads, next);
            for (visit, changed) in batch.visits() {
                self.read_thread(tables, into, (visit, changed), last);
                if RecordState::is_final(visit.before.state) {
                    ended.push(visit.index);
                }
            }
        }
        self.batch = batch;
        self.read_overflow(tables, into, last);
        into.breaches().into_iter().for_each(|what| self.breaches.add(what));
        self.free_ended(tables, ended);
    }

    /// Whether a thread did something since its record was last read.
    fn is_active(&self, tables: &impl Tables, index: u32) -> bool {
        let activity = tables.activity(index);
        activity.state != RecordState::Free as u16 && activity != self.activities[index as usize]
    }

    /// Books that did not balance.
    pub(crate) fn breaches(&self) -> &Breaches {
        &self.breaches
    }

    /// The threads that have been read, by the index of their records.
    pub(crate) fn known(&mut self) -> impl Iterator<Item = (u32, &mut Thread)> {
        let threads = (0_u32..).zip(&mut self.threads);
        threads.filter_map(|(index, thread)| Some((index, thread.as_deref_mut()?)))
    }
}
