//! Reads the active threads in batches, each in several passes.
//!
//! The values that changed are scattered over megabytes, in the maps and in the copy of the last
//! reading. So a drain is a series of cache misses. Each pass prefetches what the next pass reads, so
//! that the CPU waits for many misses at once.
//!
//! The passes read records, then the pages of their tables, then slots, then counts. Each pass reads
//! only the cache lines that it needs:
//!
//! - of a slot: the line with its sums, and the other lines only if the sums have changed
//! - of a histogram: lines until all new latencies are found, starting with the line of their mean
//! - of the errnos: lines until all new errors are found
//!
//! The copy has the same lines, each aligned to a cache line. With 1,000 threads that make 20 calls
//! each per second, a drain took 15 ms. The passes, the alignment and reading 16 bytes at a time
//! reduced that to 5 ms (`cargo xtask bench daemon --only steady`).
//!
//! The same benchmark showed no gain from four other changes:
//!
//! - huge pages for the copy
//! - batches of four or sixteen threads
//! - starting the next batch before the current batch is added up
//! - storing the buckets of a row's latencies separately from their counts

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

/// Threads per batch. Eight threads cause many cache misses at a time, and their prefetched lines
/// still fit in the first-level cache.
pub(super) const THREADS: usize = 8;

/// The line of a slot that has its sums. The reader's copy of a slot has only this line.
pub(super) const SUMS: usize = 0;
/// The line of a slot that lists the cells of its counts.
const CELLS: usize = 1;

const NOTHING: Line = [0; WORDS];

/// The threads of a batch, and their slots. The same value is reused for each batch.
#[derive(Default)]
pub(super) struct Batch {
    visits: Vec<Visit>,
    pages: Vec<Page>,
    slots: Vec<(CallKey, CellIndex)>,
    counts: Vec<(CallKey, CellIndex, SlotCounts, Line)>,
    changed: Vec<Changed>,
    /// The lines of counts whose [`Shadow`] entries were prefetched.
    prefetched: Vec<(CellIndex, usize)>,
}

/// A thread, as it was read.
pub(super) struct Visit {
    /// The index of its record.
    pub(super) index: u32,
    /// Its activity before the rest was read.
    pub(super) before: Activity,
    pub(super) record: ThreadRecord,
    /// The sums over its slots.
    pub(super) books: Books,
    pages: Range<usize>,
    slots: Range<usize>,
    changed: Range<usize>,
}

struct Page {
    abi: Abi,
    /// The number of the first syscall on the page.
    first: u32,
    cell: CellIndex,
}

/// A slot that has changed.
#[derive(Clone, Copy)]
pub(super) struct Changed {
    pub(super) key: CallKey,
    pub(super) index: CellIndex,
    /// The counts that were added to the thread's [`Books`].
    pub(super) counts: SlotCounts,
    /// Its sums, read after `counts`.
    pub(super) sums: Line,
    cells: Line,
    /// Its sums at the last reading.
    pub(super) known: Line,
    /// The line that is searched first for new latencies.
    pub(super) likely: HistogramLine,
}

impl Changed {
    /// Reads the slot again.
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

/// The position of a cache line within a histogram: a chunk, and a line within the chunk.
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

    /// The bucket of the first count on the line.
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

    /// Returns the threads that were read, each with its changed slots.
    pub(super) fn visits(&mut self) -> impl Iterator<Item = (&mut Visit, &[Changed])> {
        let Self { visits, changed, .. } = self;
        let changed = &*changed;
        visits.iter_mut().map(move |visit| {
            let slots = &changed[visit.changed.clone()];
            (visit, slots)
        })
    }
}

/// Returns the slots that a page lists.
fn slots_in<T: Tables>(
    tables: &T,
    page: &Page,
) -> impl Iterator<Item = (CallKey, CellIndex)> + use<T> {
    let (abi, slots) = (page.abi, tables.cell(page.cell));
    let slots = (page.first..).zip(slots).filter(|&(_, slot)| slot != 0);
    slots.map(move |(nr, slot)| (CallKey::of(abi, nr), slot))
}

/// Returns the line that has the mean of the new latencies. If there is only one new latency, this
/// is its line.
fn likely(counts: SlotCounts, new: &Slot, old: &Slot) -> HistogramLine {
    let left = |returned: u64, restarted: u64| returned.wrapping_add(restarted);
    let calls =
        left(counts.returned, counts.restarted).wrapping_sub(left(old.returned, old.restarted));
    HistogramLine::of(new.total_ns.wrapping_sub(old.total_ns).checked_div(calls).unwrap_or(0))
}

/// Extracts the counts from the sums of a slot.
pub(super) fn counts_of(known: &Line) -> SlotCounts {
    let Slot { entered, returned, restarted, denied, .. } = sums(known);
    SlotCounts { entered, returned, restarted, denied }
}

/// Builds a slot from its sums alone. All other fields are zero.
pub(super) fn sums(line: &Line) -> Slot {
    Slot::from_lines(line, &NOTHING)
}
