//! Computes figures from map values, as differences from the last reading.
//!
//! The kernel side only adds to counts, and never resets them. The reader subtracts a copy of the
//! last reading. So no call can get lost between two readings. For an idle thread, the reader reads
//! one cache line: the first line of its record.
//!
//! The counts in chunks have 32 bits and wrap. The subtraction undoes a wrap.

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

/// Reads tables, and computes the differences from the last reading.
pub(crate) struct Reader {
    /// The first cache line of each record at the last reading. Not in `threads`, because this line
    /// is all that the reader needs for an idle thread.
    pub(super) activities: Vec<Activity>,
    /// The threads, by the index of their records.
    pub(super) threads: Vec<Option<Box<Thread>>>,
    /// The pool of cells at the last reading.
    pub(super) cells: Shadow,
    /// The overflow slots at the last reading.
    pub(super) overflow: Vec<Option<Box<OverflowSlot>>>,
    /// How many calls the overflow slots counted.
    pub(super) overflowed: u64,
    /// By slot: how many calls whose exit was missed are already in the figures.
    pub(super) lost: HashMap<CellIndex, u64>,
    /// The time off the CPU that was reported so far, by slot.
    pub(super) off_cpu: off_cpu::Reported,
    /// The time off the CPU that was reported so far, by overflow slot.
    pub(super) overflow_off_cpu: off_cpu::Reported,
    /// Whether the programs follow the time off the CPU.
    pub(super) follows_off_cpu: bool,
    /// With adaptive sampling: the samplers at the last reading.
    pub(super) samplers: Samplers,
    pub(super) breaches: Breaches,
    batch: Batch,
    pub(super) slot: SlotReading,
    /// The slots of the thread being read whose reported counts differ from the counts in its
    /// [`Books`].
    pub(super) corrections: Vec<(CallKey, CellIndex, SlotCounts, SlotCounts)>,
    /// How much of the pools is in use.
    pub(super) usage: Usage,
    pub(super) timed: Timed,
    pub(super) changes: Changes,
    /// Records of live threads that may have changed their user.
    pub(super) unknown_users: Vec<u32>,
    /// Threads that may have ended without a report by the programs.
    pub(super) departed: Departed,
}

impl Reader {
    /// Creates a reader that has read nothing. `timed` says which calls the programs time.
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

    /// Sets which syscalls can change the user of a process.
    pub(crate) fn with_changes(self, changes: Changes) -> Self {
        Self { changes, ..self }
    }

    /// Adds the differences to `into`, and frees the records and extents of ended threads. If a
    /// slot cannot be read consistently because its thread makes calls, the slot is left to the
    /// next reading.
    pub(crate) fn read(&mut self, tables: &mut impl Tables, into: &mut Aggregate) {
        self.read_until(tables, into, (false, None));
    }

    /// Reads everything that is left. All programs must be detached.
    pub(crate) fn read_last(&mut self, tables: &mut impl Tables, into: &mut Aggregate) {
        self.read_until(tables, into, (true, None));
    }

    /// Same as [`Self::read`] or, if `last`, [`Self::read_last`]. `judge` decides which cgroups
    /// count.
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

    /// Whether a thread was active since its record was last read.
    fn is_active(&self, tables: &impl Tables, index: u32) -> bool {
        let activity = tables.activity(index);
        activity.state != RecordState::Free as u16 && activity != self.activities[index as usize]
    }

    /// Returns the breaches of the accounting equation.
    pub(crate) fn breaches(&self) -> &Breaches {
        &self.breaches
    }

    /// Returns the threads that have been read, by the index of their records.
    pub(crate) fn known(&mut self) -> impl Iterator<Item = (u32, &mut Thread)> {
        let threads = (0_u32..).zip(&mut self.threads);
        threads.filter_map(|(index, thread)| Some((index, thread.as_deref_mut()?)))
    }
}
