//! Reads the threads that did something, several at a time and in passes.
//!
//! The values that changed are scattered over megabytes, in the maps and in the copy of the last
//! reading. So a drain is a series of cache misses. Each pass prefetches what the next pass reads, so
//! that the CPU waits for many misses at once.
//!
//! The passes read records, then the pages of their tables, then slots, then counts. Each pass reads
//! only the cache lines that it needs:
//!
//! - of a slot the sums, and the rest only if the sums have changed
//! - of a histogram as many lines as there can be new latencies, first the line of their mean
//! - of the errnos the same
//!
//! The copy has the same lines, aligned like those of the cache. With 1,000 threads that make 20 calls
//! each per second, the passes, the alignment and reading 16 bytes at a time brought a drain from 15 ms
//! to 5 (`cargo xtask bench daemon --only steady`).
//!
//! Four changes did not help, each measured there: huge pages for the copy; four or sixteen threads at
//! a time; beginning with the next eight before these are added up; and keeping the buckets of a row's
//! latencies apart from their counts.

use std::ops::Range;

use profiler_common::{
    call::{ABIS, Abi, CallKey},
    hist::{self, BUCKETS_PER_CHUNK, CHUNKS},
    limits::ERRNO_PAGES,
    wire::{CALLS_PER_PAGE, CellIndex, LINES, Line, Slot, ThreadRecord},
};

use super::{
    books::Books,
    shadow::{Shadow, WORDS},
};
use crate::engine::kernel::tables::{Activity, SlotCounts, Tables};

/// How many threads are in a batch: enough for many misses at a time, and few enough that prefetched
/// lines are still in the first-level cache when they are read.
pub(super) const THREADS: usize = 8;

/// The line of a slot with its sums. The reader's copy of a slot has only this line.
pub(super) const SUMS: usize = 0;
/// The line of a slot with the cells of its counts.
const CELLS: usize = 1;

const NOTHING: Line = [0; WORDS];

/// Some threads and their slots. It is reused for each batch.
#[derive(Default)]
pub(super) struct Batch {
    visits: Vec<Visit>,
    pages: Vec<Page>,
    slots: Vec<(CallKey, CellIndex)>,
    counts: Vec<(CallKey, CellIndex, SlotCounts, Line)>,
    changed: Vec<Changed>,
    /// The lines of counts whose places in the copy were prefetched.
    prefetched: Vec<(CellIndex, usize)>,
}

/// A thread, as it was read.
pub(super) struct Visit {
    /// The index of its record.
    pub(super) index: u32,
    /// Its activity before the rest was read.
    pub(super) before: Activity,
    pub(super) record: ThreadRecord,
    /// The books by its slots.
    pub(super) books: Books,
    pages: Range<usize>,
    slots: Range<usize>,
    changed: Range<usize>,
}

struct Page {
    abi: Abi,
    /// The number of its first call.
    first: u32,
    cell: CellIndex,
}

/// A slot that has changed.
#[derive(Clone, Copy)]
pub(super) struct Changed {
    pub(super) key: CallKey,
    pub(super) index: CellIndex,
    /// The counts in the books of the thread.
    pub(super) counts: SlotCounts,
    /// Its sums, read after `counts`.
    pub(super) sums: Line,
    cells: Line,
    /// Its sums at the last reading.
    pub(super) known: Line,
    /// The line in which new latencies are looked for first.
    pub(super) likely: HistogramLine,
}

impl Changed {
    /// Reads the slot once more.
    pub(super) fn read_again(&mut self, tables: &impl Tables) {
        self.sums = tables.line(self.index, SUMS);
        self.cells = tables.line(self.index, CELLS);
    }

    /// The cells with latencies.
    pub(super) fn chunks(&self) -> &[CellIndex] {
        &self.cells[..CHUNKS]
    }

    /// The cells with errnos.
    pub(super) fn errno_pages(&self) -> &[CellIndex] {
        &self.cells[CHUNKS..CHUNKS + ERRNO_PAGES]
    }
}

/// Position of a cache line within a histogram: the chunk, and the line within the chunk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct HistogramLine {
    pub(super) chunk: usize,
    pub(super) line: usize,
}

impl HistogramLine {
    /// The line with the bucket of a latency in nanoseconds.
    fn of(ns: u64) -> Self {
        let bucket = hist::bucket(ns) as usize;
        let line = bucket % BUCKETS_PER_CHUNK / WORDS;
        Self { chunk: bucket / BUCKETS_PER_CHUNK, line }
    }

    /// All lines of a slot.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        (0..CHUNKS).flat_map(|chunk| (0..LINES).map(move |line| Self { chunk, line }))
    }

    /// The bucket of its first count.
    pub(super) fn first_bucket(self) -> usize {
        self.chunk * BUCKETS_PER_CHUNK + self.line * WORDS
    }
}

impl Batch {
    /// Reads `threads`, and prefetches the records of the `next` ones.
    pub(super) fn read(
        &mut self,
        tables: &impl Tables,
        shadow: &Shadow,
        threads: &[u32],
        next: &[u32],
    ) {
        self.read_records(tables, threads);
        self.read_pages(tables, shadow);
        next.iter().for_each(|&index| tables.prefetch_record(index));
        self.read_counts(tables, shadow);
        self.read_slots(tables, shadow);
    }

    fn read_records(&mut self, tables: &impl Tables, threads: &[u32]) {
        self.visits.clear();
        self.pages.clear();
        for &index in threads {
            let before = tables.activity(index);
            let record = tables.record(index);
            let first = self.pages.len();
            let [native, foreign @ ..] = ABIS;
            self.add_pages(tables, native, &record.native_pages);
            for (abi, root) in foreign.into_iter().zip(record.foreign_roots) {
                if root != 0 {
                    self.add_pages(tables, abi, &tables.cell(root));
                }
            }
            self.visits.push(Visit {
                index,
                before,
                record,
                books: Books::default(),
                pages: first..self.pages.len(),
                slots: 0..0,
                changed: 0..0,
            });
        }
    }

    fn add_pages(&mut self, tables: &impl Tables, abi: Abi, cells: &[CellIndex]) {
        for (page, &cell) in (0_u32..).zip(cells).filter(|&(_, &cell)| cell != 0) {
            (0..LINES).for_each(|line| tables.prefetch(cell, line));
            self.pages.push(Page { abi, first: page * CALLS_PER_PAGE, cell });
        }
    }

    /// All slots of a thread.
    pub(super) fn slots_of(tables: &impl Tables, thread: u32) -> Vec<(CallKey, CellIndex)> {
        let mut batch = Self::default();
        batch.read_records(tables, &[thread]);
        batch.pages.iter().flat_map(|page| slots_in(tables, page)).collect()
    }

    fn read_pages(&mut self, tables: &impl Tables, shadow: &Shadow) {
        self.slots.clear();
        for visit in &mut self.visits {
            let first = self.slots.len();
            for page in &self.pages[visit.pages.clone()] {
                for (key, slot) in slots_in(tables, page) {
                    tables.prefetch(slot, SUMS);
                    shadow.prefetch_place(slot);
                    self.slots.push((key, slot));
                }
            }
            visit.slots = first..self.slots.len();
        }
    }

    fn read_counts(&mut self, tables: &impl Tables, shadow: &Shadow) {
        self.counts.clear();
        self.slots.iter().for_each(|&(_, slot)| shadow.prefetch(slot, SUMS));
        for visit in &mut self.visits {
            let first = self.counts.len();
            for &(key, index) in &self.slots[visit.slots.clone()] {
                let counts = tables.slot_counts(index);
                visit.books.add(key, index, counts);
                let known = shadow.line(index, SUMS);
                if counts != counts_of(&known) {
                    tables.prefetch(index, CELLS);
                    self.counts.push((key, index, counts, known));
                }
            }
            visit.changed = first..self.counts.len();
        }
    }

    fn read_slots(&mut self, tables: &impl Tables, shadow: &Shadow) {
        self.changed.clear();
        for &(key, index, counts, known) in &self.counts {
            let (sums, cells) = (tables.line(index, SUMS), tables.line(index, CELLS));
            let (new, old) = (self::sums(&sums), self::sums(&known));
            let likely = likely(counts, &new, &old);
            let changed = Changed { key, index, counts, sums, cells, known, likely };
            let mut prefetch = |cell, line| {
                tables.prefetch(cell, line);
                shadow.prefetch_place(cell);
                self.prefetched.push((cell, line));
            };
            prefetch(changed.chunks()[likely.chunk], likely.line);
            if new.errors != old.errors {
                changed.errno_pages().iter().for_each(|&cell| prefetch(cell, 0));
            }
            self.changed.push(changed);
        }
        self.prefetched.drain(..).for_each(|(cell, line)| shadow.prefetch(cell, line));
    }

    /// The threads that were read, each with its slots that have changed.
    pub(super) fn visits(&mut self) -> impl Iterator<Item = (&mut Visit, &[Changed])> {
        let Self { visits, changed, .. } = self;
        let changed = &*changed;
        visits.iter_mut().map(move |visit| {
            let slots = &changed[visit.changed.clone()];
            (visit, slots)
        })
    }
}

/// The slots that a page names.
fn slots_in<T: Tables>(
    tables: &T,
    page: &Page,
) -> impl Iterator<Item = (CallKey, CellIndex)> + use<T> {
    let (abi, slots) = (page.abi, tables.cell(page.cell));
    let slots = (page.first..).zip(slots).filter(|&(_, slot)| slot != 0);
    slots.map(move |(nr, slot)| (CallKey::of(abi, nr), slot))
}

/// The line that has the mean of the new latencies. For one latency, that is its own line.
fn likely(counts: SlotCounts, new: &Slot, old: &Slot) -> HistogramLine {
    let left = |returned: u64, restarted: u64| returned.wrapping_add(restarted);
    let calls =
        left(counts.returned, counts.restarted).wrapping_sub(left(old.returned, old.restarted));
    HistogramLine::of(new.total_ns.wrapping_sub(old.total_ns).checked_div(calls).unwrap_or(0))
}

/// The counts in the sums of a slot.
pub(super) fn counts_of(known: &Line) -> SlotCounts {
    let Slot { entered, returned, restarted, denied, .. } = sums(known);
    SlotCounts { entered, returned, restarted, denied }
}

/// A slot of which only the sums are known.
pub(super) fn sums(line: &Line) -> Slot {
    Slot::from_lines(line, &NOTHING)
}
