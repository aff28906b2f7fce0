//! From map values to figures: what is new since the reading before.
//!
//! The kernel side only ever adds up, so nothing is reset and nothing can fall
//! between two readings: what is new is the difference to a copy of what was read
//! last. A thread that did nothing costs one look at its record.

use std::collections::HashMap;

use profiler_common::{
    call::{ABIS, Abi, CallKey, OVERFLOW_SLOTS},
    hist::{self, BUCKETS, BUCKETS_PER_CHUNK},
    limits::{CELLS_PER_EXTENT, ERRNOS_PER_PAGE},
    wire::{
        CALLS_PER_PAGE, Cell, CellIndex, Counters, OVERFLOWED, OverflowSlot, RecordState, Slot,
        ThreadRecord,
    },
};

use super::books::Books;
use crate::{
    aggregate::{Account, Aggregate, Extremes, Figures, Identity, ProcessIndex},
    kernel::{Activity, SlotCounts, Tables},
    snapshot::Use,
};

/// What was read last, and so what is new.
pub(super) struct Reader {
    /// By record.
    threads: Vec<Thread>,
    /// What the pool held when it was read last.
    cells: Shadow,
    overflow: Vec<Option<Box<Overflow>>>,
    overflowed: u64,
    /// Calls of each slot whose exit was missed, as far as they are in the figures.
    lost: HashMap<CellIndex, u64>,
    breaches: Breaches,
    records_freed: u64,
    extents_freed: u64,
    records_used: u64,
    extents_used: u64,
}

/// A copy of the pool. Of plain integers, which the allocator takes zeroed from the
/// kernel: what nobody touched then takes no memory, and this is as large as what is
/// in use rather than as the pool.
struct Shadow(Vec<u32>);

impl Shadow {
    const WORDS: usize = size_of::<Cell>() / size_of::<u32>();

    fn new(cells: usize) -> Self {
        Self(vec![0; cells * Self::WORDS])
    }

    fn get_mut(&mut self, cell: CellIndex) -> Option<&mut Cell> {
        self.0.as_chunks_mut().0.get_mut(cell as usize)
    }
}

/// What an overflow slot held, and its extremes.
type Overflow = (OverflowSlot, Option<Extremes>);

#[derive(Clone, Default)]
struct Thread {
    activity: Activity,
    account: Account,
    /// Whether its books were found not to balance.
    broken: bool,
    process: Option<ProcessIndex>,
}

/// Books that did not balance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Breaches {
    /// Threads, processes, calls, and the host.
    pub(super) count: u64,
    /// Which the last was, and what did not balance, for people.
    pub(super) last: String,
}

impl Breaches {
    fn add(&mut self, what: String) {
        self.count += 1;
        self.last = what;
    }
}

/// What is in use of the bounded tables.
pub(super) struct Used {
    pub(super) records: Use,
    pub(super) extents: Use,
}

impl Reader {
    pub(super) fn new(tables: &impl Tables) -> Self {
        let cells = tables.extent_count() as usize * CELLS_PER_EXTENT as usize;
        Self {
            threads: Vec::new(),
            cells: Shadow::new(cells),
            overflow: (0..OVERFLOW_SLOTS).map(|_| None).collect(),
            overflowed: 0,
            lost: HashMap::new(),
            breaches: Breaches::default(),
            records_freed: 0,
            extents_freed: 0,
            records_used: 0,
            extents_used: 0,
        }
    }

    /// Adds what is new to `into`, and gives back the room of ended threads.
    pub(super) fn read(&mut self, tables: &mut impl Tables, into: &mut Aggregate) {
        self.threads.resize(tables.record_limit() as usize, Thread::default());
        let mut ended = Vec::new();
        for index in 0..self.threads.len() as u32 {
            let activity = tables.activity(index);
            if activity.state == RecordState::Free as u32
                || activity == self.threads[index as usize].activity
            {
                continue;
            }
            self.read_thread(tables, into, index, activity);
            // What was read before the figures were: had the thread gone on since,
            // this differs at the next reading, and its figures are read again.
            self.threads[index as usize].activity = activity;
            if activity.state == RecordState::Ended as u32 {
                ended.push(index);
            }
        }
        self.read_overflow(tables, into);
        into.breaches().into_iter().for_each(|what| self.breaches.add(what));
        self.free(tables, &ended);
        let control = tables.control();
        self.records_used = control.records_taken.saturating_sub(self.records_freed);
        self.extents_used = control.extents_taken.saturating_sub(self.extents_freed);
    }

    /// Reads a thread that did something, `before` being what it had done.
    fn read_thread(
        &mut self,
        tables: &impl Tables,
        into: &mut Aggregate,
        index: u32,
        before: Activity,
    ) {
        let record = tables.record(index);
        let thread = &mut self.threads[index as usize];
        let process = *thread.process.get_or_insert_with(|| {
            let identity = Identity { tgid: record.tgid, start_ns: record.process_start_ns };
            into.thread_started(identity, &record.comm)
        });
        // The name of a process is its leader's.
        if record.tid == record.tgid {
            into.rename(process, &record.comm);
        }
        let mut books = Books::default();
        let b = &mut books;
        self.read_pages(tables, into, process, b, Abi::X86_64, &record.native_pages);
        for (abi, root) in [Abi::I386, Abi::X32].into_iter().zip(record.foreign_roots) {
            if root != 0 {
                self.read_pages(tables, into, process, b, abi, &tables.cell(root));
            }
        }
        let after = tables.activity(index);
        for (key, slot, lost) in books.lost(&record, &before, &after) {
            let known = self.lost.entry(slot).or_default();
            let figures = Figures { lost: lost.saturating_sub(*known), ..Figures::default() };
            *known = lost.max(*known);
            into.add(Some(process), key, &figures, None);
        }
        let ended = before.state == RecordState::Ended as u32;
        let unreturned = ended.then(|| add_unreturned(into, process, &record)).flatten();
        let account = books.account(|_, slot| {
            let lost = self.lost.get(&slot).copied().unwrap_or(0);
            lost + u64::from(unreturned == Some(slot))
        });
        let thread = &mut self.threads[index as usize];
        into.settle(Some(process), &thread.account, &account);
        thread.account = account;
        if let Some(what) = books.breach(&record, &before, &after)
            && !std::mem::replace(&mut thread.broken, true)
        {
            self.breaches.add(format!("thread {} of process {}: {what}", record.tid, record.tgid));
        }
        if ended {
            into.thread_ended(process);
        }
    }

    fn read_pages(
        &mut self,
        tables: &impl Tables,
        into: &mut Aggregate,
        process: ProcessIndex,
        books: &mut Books,
        abi: Abi,
        pages: &[CellIndex],
    ) {
        for (page, &cell) in (0_u32..).zip(pages).filter(|&(_, &cell)| cell != 0) {
            for (nr, &slot) in (0_u32..).zip(&tables.cell(cell)).filter(|&(_, &slot)| slot != 0) {
                let key = CallKey::of(abi, page * CALLS_PER_PAGE + nr);
                let counts = tables.slot_counts(slot);
                books.add(key, slot, counts);
                self.read_slot(tables, into, process, key, slot, counts);
            }
        }
    }

    fn read_slot(
        &mut self,
        tables: &impl Tables,
        into: &mut Aggregate,
        process: ProcessIndex,
        key: CallKey,
        index: CellIndex,
        counts: SlotCounts,
    ) {
        let Some(known) = self.cells.get_mut(index) else { return };
        let old = Slot::from_cell(known);
        if counts == counts_of(&old) {
            return;
        }
        let mut cell = tables.cell(index);
        let new = Slot::from_cell(&cell);
        let mut figures = Figures {
            calls: counts.entered.wrapping_sub(old.entered),
            returned: counts.returned.wrapping_sub(old.returned),
            restarted: counts.restarted.wrapping_sub(old.restarted),
            denied: u64::from(counts.denied.wrapping_sub(old.denied)),
            errors_unlisted: u64::from(new.errors_unlisted.wrapping_sub(old.errors_unlisted)),
            total_ns: new.total_ns.wrapping_sub(old.total_ns),
            ..Figures::default()
        };
        for (chunk, &cell) in new.chunks.iter().enumerate() {
            self.each_new(tables, cell, |i, count| {
                figures.latency.add(chunk * BUCKETS_PER_CHUNK + i, count);
            });
        }
        if new.errors != old.errors {
            for (page, &cell) in new.errno_pages.iter().enumerate() {
                self.each_new(tables, cell, |i, count| {
                    figures.add_errno((page * ERRNOS_PER_PAGE + i) as u16, count);
                });
            }
        }
        // What is known by its errno, so that the two agree: an error that the cell
        // has, and its page not yet, is new the next time.
        figures.errors =
            figures.errnos.iter().map(|&(_, count)| count).sum::<u64>() + figures.errors_unlisted;
        let recent = (counts.returned + counts.restarted > 0).then(|| {
            figures.extremes = Some(Extremes { min_ns: new.min_ns, max_ns: new.max_ns });
            recent_extremes(&figures, Extremes { min_ns: old.min_ns, max_ns: old.max_ns })
        });
        // As read first, so that what came since counts as new the next time.
        put_counts(&mut cell, counts, old.errors.wrapping_add(figures.errors));
        if let Some(known) = self.cells.get_mut(index) {
            *known = cell;
        }
        into.add(Some(process), key, &figures, recent.flatten());
    }

    /// Calls `each` with the place and the increase of every count in a cell of
    /// counts that grew, and remembers them. The counts wrap at 2^32, which takes a
    /// thread many minutes between two readings, and is undone by the subtraction.
    fn each_new(
        &mut self,
        tables: &impl Tables,
        cell: CellIndex,
        mut each: impl FnMut(usize, u64),
    ) {
        if cell == 0 {
            return;
        }
        let Some(old) = self.cells.get_mut(cell) else { return };
        let new = tables.cell(cell);
        for (i, (new, old)) in new.iter().zip(old.iter_mut()).enumerate() {
            if new != old {
                each(i, u64::from(new.wrapping_sub(*old)));
                *old = *new;
            }
        }
    }

    fn read_overflow(&mut self, tables: &impl Tables, into: &mut Aggregate) {
        let c: Counters = tables.counters();
        if c.records_exhausted + c.extents_exhausted + c.denied_unrecorded == 0 {
            return;
        }
        for index in 0..OVERFLOW_SLOTS {
            let new = tables.overflow(index);
            let untouched = new.entered == 0 && new.denied == 0 && new.errors == 0;
            if untouched && new.buckets.iter().all(|&n| n == 0) {
                continue;
            }
            let Some(key) = CallKey::from_overflow_index(index) else { continue };
            let extremes =
                tables.overflow_extremes(index).map(|(min_ns, max_ns)| Extremes { min_ns, max_ns });
            let old = self.overflow[index as usize].take();
            let old = old.as_deref().unwrap_or(&(ZERO_OVERFLOW, None));
            let (figures, recent) = overflow_figures((&new, extremes), (&old.0, old.1));
            into.settle(None, &overflow_account(key, &old.0), &overflow_account(key, &new));
            self.overflowed += figures.calls;
            self.overflow[index as usize] = Some(Box::new((new, extremes)));
            if !figures.is_empty() || !figures.latency.is_empty() || figures.errors > 0 {
                into.add(None, key, &figures, recent);
            }
        }
    }

    fn free(&mut self, tables: &mut impl Tables, ended: &[u32]) {
        if ended.is_empty() {
            return;
        }
        for extent in 1..tables.extent_count() {
            let owner = tables.extent_owner(extent);
            if owner != 0 && ended.binary_search(&(owner - 1)).is_ok() {
                for cell in 0..CELLS_PER_EXTENT {
                    let cell = extent * CELLS_PER_EXTENT + cell;
                    self.lost.remove(&cell);
                    if let Some(known) = self.cells.get_mut(cell) {
                        *known = [0; 32];
                    }
                }
                tables.free_extent(extent);
                self.extents_freed += 1;
            }
        }
        for &index in ended {
            self.threads[index as usize] = Thread::default();
            tables.free_record(index);
            self.records_freed += 1;
        }
    }

    /// Calls counted in overflow slots.
    pub(super) fn overflowed(&self) -> u64 {
        self.overflowed
    }

    /// Books that did not balance.
    pub(super) fn breaches(&self) -> &Breaches {
        &self.breaches
    }

    /// How full the tables are.
    pub(super) fn used(&self, tables: &impl Tables) -> Used {
        Used {
            records: Use { used: self.records_used, capacity: u64::from(tables.record_count()) },
            extents: Use {
                used: self.extents_used,
                // Extent 0 is never used.
                capacity: u64::from(tables.extent_count()) - 1,
            },
        }
    }

    /// The records whose threads have been read, and whose they are.
    pub(super) fn known(&self) -> impl Iterator<Item = (u32, ProcessIndex)> {
        (0_u32..).zip(&self.threads).filter_map(|(index, thread)| Some((index, thread.process?)))
    }
}

/// A thread that ended within a call: `exit`, `exit_group`, or it was killed. The slot
/// that its entry is in, if it is none for all.
fn add_unreturned(
    into: &mut Aggregate,
    process: ProcessIndex,
    record: &ThreadRecord,
) -> Option<CellIndex> {
    if !record.in_call() {
        return None;
    }
    let figures = Figures { never_returned: 1, ..Figures::default() };
    let slot = (record.in_flight_slot != OVERFLOWED).then_some(record.in_flight_slot);
    let key = CallKey(record.in_flight_key);
    into.add(slot.map(|_| process), key, &figures, None);
    if slot.is_none() {
        // The overflow slot does not know of it.
        let open = Account { open: vec![(key, 1)], ..Account::default() };
        into.settle(None, &open, &Account::default());
    }
    slot
}

fn counts_of(slot: &Slot) -> SlotCounts {
    SlotCounts {
        entered: slot.entered,
        returned: slot.returned,
        restarted: slot.restarted,
        denied: slot.denied,
    }
}

fn put_counts(cell: &mut Cell, counts: SlotCounts, errors: u64) {
    let SlotCounts { entered, returned, restarted, .. } = counts;
    for (at, value) in [(0, entered), (2, returned), (4, restarted), (12, errors)] {
        cell[at] = value as u32;
        cell[at + 1] = (value >> 32) as u32;
    }
    cell[14] = counts.denied;
}

/// The extremes among the new calls, `old` being those before them: exact where
/// they changed, otherwise the bounds of the outermost buckets.
fn recent_extremes(new: &Figures, old: Extremes) -> Option<Extremes> {
    let all = new.extremes?;
    let (first, _) = new.latency.iter().next()?;
    let (last, _) = new.latency.iter().next_back()?;
    let min_ns = if all.min_ns != old.min_ns {
        all.min_ns
    } else {
        (hist::lower(first) + 1).max(all.min_ns)
    };
    let max_ns =
        if all.max_ns != old.max_ns { all.max_ns } else { hist::upper(last).min(all.max_ns) };
    Some(Extremes { min_ns: min_ns.min(max_ns), max_ns })
}

fn overflow_account(key: CallKey, slot: &OverflowSlot) -> Account {
    let left = slot.returned.wrapping_add(slot.restarted);
    let gone = left.wrapping_add(slot.never_returned);
    let open = slot.entered.wrapping_sub(gone).cast_signed();
    Account { entered: slot.entered, left, open: vec![(key, open)] }
}

pub(super) const ZERO_OVERFLOW: OverflowSlot = OverflowSlot {
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

fn overflow_figures(
    (new, extremes): (&OverflowSlot, Option<Extremes>),
    (old, old_extremes): (&OverflowSlot, Option<Extremes>),
) -> (Figures, Option<Extremes>) {
    let mut figures = Figures {
        calls: new.entered.wrapping_sub(old.entered),
        returned: new.returned.wrapping_sub(old.returned),
        restarted: new.restarted.wrapping_sub(old.restarted),
        errors: new.errors.wrapping_sub(old.errors),
        denied: new.denied.wrapping_sub(old.denied),
        never_returned: new.never_returned.wrapping_sub(old.never_returned),
        lost: 0,
        total_ns: new.total_ns.wrapping_sub(old.total_ns),
        extremes,
        errnos: Vec::new(),
        errors_unlisted: new.errors_unlisted.wrapping_sub(old.errors_unlisted),
        latency: (0..BUCKETS)
            .map(|b| (b, u64::from(new.buckets[b].wrapping_sub(old.buckets[b]))))
            .collect(),
    };
    for (errno, (new, old)) in new.errnos.iter().zip(&old.errnos).enumerate() {
        figures.add_errno(errno as u16, u64::from(new.wrapping_sub(*old)));
    }
    let none = Extremes { min_ns: u64::MAX, max_ns: u64::MAX };
    let recent = recent_extremes(&figures, old_extremes.unwrap_or(none));
    (figures, recent)
}

/// Every ABI that a record keeps pages for is read.
const _: () = assert!(ABIS.len() == 1 + 2);
