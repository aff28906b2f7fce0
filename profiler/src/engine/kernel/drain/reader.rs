//! From map values to figures: the differences to the last reading.
//!
//! The kernel side only adds, and nothing is ever reset. So no call can fall between two readings:
//! the reader subtracts a copy of the last reading. A thread that did nothing costs one read of its
//! record's first cache line.
//!
//! Counts in chunks have 32 bits and wrap. The subtraction undoes that.

use std::{collections::HashMap, sync::Arc};

use profiler_common::{
    call::{CallKey, OVERFLOW_SLOTS},
    hist::BUCKETS,
    limits::CELLS_PER_EXTENT,
    wire::{CellIndex, Counters, OVERFLOWED, OverflowSlot, RecordState, ThreadRecord},
};

use super::{
    batch::{self, Batch, Changed, SUMS, Visit},
    departed::Departed,
    in_flight::Flight,
    off_cpu, overflow,
    shadow::Shadow,
    slot::{How, Samplers, SlotReading, untimed},
    users::Changes,
};
use crate::{
    aggregate::{Account, Aggregate, Identity, ProcessIndex, ThreadId, ThreadIndex},
    engine::kernel::{
        cgroups::Verdict,
        tables::{Activity, SlotCounts, Tables, ZERO_OVERFLOW},
    },
    model::{CgroupRow, Extremes, Figures, OffCpu, Timed, Use},
};

/// Says what becomes of the records of a cgroup.
type Judge<'a> = &'a mut dyn FnMut(u64) -> Verdict;

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
    overflow: Vec<Option<Box<OverflowSlot>>>,
    /// How many calls the overflow slots counted.
    overflowed: u64,
    /// By slot: how many calls whose exit was missed are in the figures.
    pub(super) lost: HashMap<CellIndex, u64>,
    /// The time off the CPU that was reported so far, by slot.
    pub(super) off_cpu: off_cpu::Reported,
    /// The same, by overflow slot.
    overflow_off_cpu: off_cpu::Reported,
    /// Whether the programs follow the time off the CPU.
    follows_off_cpu: bool,
    /// With adaptive sampling: the samplers at the last reading.
    pub(super) samplers: Samplers,
    breaches: Breaches,
    batch: Batch,
    slot: SlotReading,
    /// The slots of the thread that is being read whose reported counts differ from its books.
    corrections: Vec<(CallKey, CellIndex, SlotCounts, SlotCounts)>,
    /// The most records that were in use at one time.
    most_records: u64,
    records_freed: u64,
    extents_freed: u64,
    records_used: u64,
    extents_used: u64,
    pub(super) timed: Timed,
    changes: Changes,
    /// Records of threads that may have changed their user, and live.
    pub(super) unknown_users: Vec<u32>,
    /// Threads that may be gone without a report of their end.
    pub(super) departed: Departed,
}

/// How many records may have been taken and not yet counted: at most one per CPU.
const BEING_TAKEN: u32 = 1_024;

/// A thread with a record.
pub(crate) struct Thread {
    pub(crate) process: ProcessIndex,
    /// The cgroup in which the calls of this record entered.
    pub(super) cgroup: u64,
    /// Its own rows, if rows by thread are kept.
    pub(super) row: Option<ThreadIndex>,
    /// Whether it is in `Reader::unknown_users`.
    pub(super) user_is_unknown: bool,
    /// The call in which it was last found.
    pub(crate) flight: Option<Flight>,
    account: Account,
    /// Whether its books were reported not to balance.
    broken: bool,
}

/// Books that did not balance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Breaches {
    /// How many books of threads, processes, calls and of the host did not balance.
    pub(crate) count: u64,
    /// The last one, and what did not balance, for people.
    pub(crate) last: String,
}

impl Breaches {
    /// Counts a breach.
    fn add(&mut self, what: String) {
        self.count += 1;
        self.last = what;
    }
}

/// How full the pools are.
pub(crate) struct Used {
    pub(crate) records: Use,
    pub(crate) extents: Use,
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
            most_records: 0,
            records_freed: 0,
            extents_freed: 0,
            records_used: 0,
            extents_used: 0,
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
        let taken = tables.control().records.all.taken;
        self.most_records = self.most_records.max(taken.saturating_sub(self.records_freed));
        let records = self.record_limit(tables);
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
        let freed_before = self.records_freed;
        ended.retain(|&index| !self.keep_zombie(index));
        ended.sort_unstable();
        self.free(tables, &ended);
        let control = tables.control();
        // Some may have been taken before the first one was freed.
        let most = control.records.all.taken.saturating_sub(freed_before);
        self.most_records = self.most_records.max(most);
        self.records_used = control.records.all.taken.saturating_sub(self.records_freed);
        self.extents_used = control.extents.all.taken.saturating_sub(self.extents_freed);
    }

    /// How many records can be in use. Their indexes are below this number.
    fn record_limit(&self, tables: &impl Tables) -> u32 {
        let limit = tables.record_limit();
        if !tables.records_are_dense() {
            return limit;
        }
        // The index of a record is below the largest number in use at one time.
        u32::try_from(self.most_records).unwrap_or(limit).saturating_add(BEING_TAKEN).min(limit)
    }

    /// Whether a thread did something since its record was last read.
    fn is_active(&self, tables: &impl Tables, index: u32) -> bool {
        let activity = tables.activity(index);
        activity.state != RecordState::Free as u16 && activity != self.activities[index as usize]
    }

    /// Whether the figures of an active record count by now. The record of an ended thread whose
    /// figures never will is added to `ended`.
    fn counts(
        &self,
        tables: &impl Tables,
        into: &mut Aggregate,
        index: u32,
        (judge, ended): (&mut dyn FnMut(u64) -> Verdict, &mut Vec<u32>),
    ) -> bool {
        if self.threads[index as usize].is_some() {
            return true;
        }
        match judge(tables.identity(index).cgroup) {
            Verdict::Count => return true,
            Verdict::Hold => {}
            Verdict::LeaveOut => {
                let state = tables.activity(index).state;
                if RecordState::is_final(state) {
                    if state == RecordState::Ended as u16 {
                        // An overflow slot has counted its entry.
                        let record = tables.record(index);
                        if record.in_call() && record.in_flight_slot == OVERFLOWED {
                            add_unreturned_overflowed(into, CallKey(record.in_flight_key));
                        }
                    }
                    ended.push(index);
                }
            }
        }
        false
    }

    /// Adds the differences of a thread, of which the slots `changed` have changed.
    fn read_thread(
        &mut self,
        tables: &impl Tables,
        into: &mut Aggregate,
        (visit, changed): (&mut Visit, &[Changed]),
        last: bool,
    ) {
        let Visit { index, before, ref record, .. } = *visit;
        // The activity before the figures: if the thread went on since, the activity differs at the
        // next reading, which then reads the figures again.
        self.activities[index as usize] = before;
        let thread = self.threads[index as usize].get_or_insert_with(|| {
            let identity = Identity { tgid: record.tgid, start_ns: record.process_start_ns };
            let process = into.thread_started(identity, &record.comm);
            let task = tables.identity(index);
            let cgroup = task.cgroup;
            let row = if into.has_threads() {
                let id = ThreadId { tid: record.tid, random: task.thread };
                let nothing = CgroupRow { cgroup, calls: Arc::default() };
                into.list_thread(process, id, &task.comm, &nothing)
            } else {
                None
            };
            Box::new(Thread {
                process,
                cgroup,
                row,
                user_is_unknown: false,
                flight: None,
                account: Account::default(),
                broken: false,
            })
        });
        let (process, cgroup, row) = (thread.process, thread.cgroup, thread.row);
        let owner = Owner { process, cgroup, row };
        let mut change = self.changes.of_any();
        into.rename(process, &record.comm, record.named_ns);
        self.departed.note(index, record);
        self.corrections.clear();
        for slot in changed {
            change = change.and(self.changes.of(slot.key));
            let known = batch::counts_of(&self.cells.line(slot.index, SUMS));
            let known_now = (&mut self.cells, &mut self.samplers);
            let how = How { timed: self.timed, off_cpu: self.follows_off_cpu, last };
            let reading = self.slot.read(tables, known_now, visit, slot, how);
            let reported = reading.unwrap_or_else(|| {
                // The next reading reads it again, even if the thread does nothing until then.
                self.activities[index as usize] = Activity::default();
                known
            });
            if reading.is_some() {
                let SlotReading { figures, off_cpu, .. } = &mut self.slot;
                self.off_cpu.report(slot.index, *off_cpu, figures);
                owner.add(into, slot.key, &self.slot.figures);
            }
            if slot.counts != reported {
                self.corrections.push((slot.key, slot.index, slot.counts, reported));
            }
        }
        let after = tables.activity(index);
        for (key, slot, lost) in visit.books.lost(record, &before, &after) {
            let known = self.lost.entry(slot).or_default();
            let figures = Figures { lost: lost.saturating_sub(*known), ..Figures::default() };
            *known = lost.max(*known);
            owner.add(into, key, &figures);
        }
        let breach = visit.books.breach(record, &before, &after);
        let ended = before.state == RecordState::Ended as u16;
        let left = before.state == RecordState::Left as u16;
        let unreturned = ended.then(|| add_unreturned(into, owner, record)).flatten();
        for &(key, slot, read, reported) in &self.corrections {
            visit.books.correct((key, slot), read, reported);
        }
        let account = visit.books.account(|_, slot| {
            let lost = self.lost.get(&slot).copied().unwrap_or(0);
            lost + u64::from(unreturned == Some(slot))
        });
        if let Some(thread) = &mut self.threads[index as usize] {
            into.settle(Some(process), &thread.account, &account);
            thread.account = account;
        }
        if let Some(what) = breach
            && let Some(thread) = &mut self.threads[index as usize]
            && !std::mem::replace(&mut thread.broken, true)
        {
            self.breaches.add(format!("thread {} of process {}: {what}", record.tid, record.tgid));
        }
        if into.has_processes() {
            self.note_user(tables, into, (index, process), (change, ended || left));
        }
        if ended {
            into.thread_ended(process);
        } else if left {
            into.thread_left(process);
        }
        if let Some(row) = row {
            into.rename_thread(row, Some(record.tid), &tables.identity(index).comm);
            if ended {
                into.listed_thread_ended(row);
            }
        }
    }

    /// Adds the differences of the overflow slots.
    fn read_overflow(&mut self, tables: &impl Tables, into: &mut Aggregate, last: bool) {
        let c: Counters = tables.counters();
        if c.records_refused() + c.extents_refused() + c.denied_unrecorded == 0 {
            return;
        }
        for index in 0..OVERFLOW_SLOTS {
            let mut new = tables.overflow(index);
            let untouched = new.entered == 0 && new.denied == 0 && new.errors == 0;
            if untouched && new.buckets.iter().all(|&n| n == 0) {
                continue;
            }
            let Some(key) = CallKey::from_overflow_index(index) else { continue };
            let extremes =
                tables.overflow_extremes(index).map(|(min_ns, max_ns)| Extremes { min_ns, max_ns });
            let old = self.overflow[index as usize].take();
            let old = old.as_deref().unwrap_or(&ZERO_OVERFLOW);
            if !last {
                // Without extents, the bucket and the errno of a call may be here without the call.
                let alone = c.extents_refused() == 0;
                overflow::hold_over(&mut new, old, extremes, (self.timed, alone));
            }
            let mut figures = overflow_figures(&new, extremes, old);
            figures.untimed = untimed(&figures, self.timed);
            if self.follows_off_cpu {
                let time = off_cpu::of_wire(tables.overflow_off_cpu(index));
                self.overflow_off_cpu.report(index, time, &mut figures);
            }
            into.settle(None, &overflow_account(key, old), &overflow_account(key, &new));
            self.overflowed += figures.calls;
            self.overflow[index as usize] = Some(Box::new(new));
            if !figures.is_empty() || !figures.latency.is_empty() || figures.errors > 0 {
                into.add(None, key, &figures);
            }
        }
    }

    /// Frees the records `ended`, which are sorted, and their extents.
    pub(super) fn free(&mut self, tables: &mut impl Tables, ended: &[u32]) {
        if ended.is_empty() {
            return;
        }
        for extent in 1..tables.extent_limit() {
            let owner = tables.extent_owner(extent);
            if owner != 0 && ended.binary_search(&(owner - 1)).is_ok() {
                for cell in 0..CELLS_PER_EXTENT {
                    let cell = extent * CELLS_PER_EXTENT + cell;
                    self.lost.remove(&cell);
                    self.off_cpu.forget(cell);
                    self.samplers.remove(&cell);
                    self.cells.clear(cell);
                }
                tables.free_extent(extent);
                self.extents_freed += 1;
            }
        }
        for &index in ended {
            self.activities[index as usize] = Activity::default();
            self.threads[index as usize] = None;
            tables.free_record(index);
            self.records_freed += 1;
        }
    }

    /// Whether an ended record cannot be freed yet. Nobody reads it any more.
    fn keep_zombie(&mut self, index: u32) -> bool {
        let is_zombie = self.departed.is_zombie(index);
        if is_zombie {
            self.threads[index as usize] = None;
        }
        is_zombie
    }

    /// How many calls the overflow slots counted.
    pub(crate) fn overflowed(&self) -> u64 {
        self.overflowed
    }

    /// Books that did not balance.
    pub(crate) fn breaches(&self) -> &Breaches {
        &self.breaches
    }

    /// How full the pools are.
    pub(crate) fn used(&self, tables: &impl Tables) -> Used {
        Used {
            records: Use { used: self.records_used, capacity: u64::from(tables.record_count()) },
            extents: Use {
                used: self.extents_used,
                // Extent 0 is never used.
                capacity: u64::from(tables.extent_count()) - 1,
            },
        }
    }

    /// The threads that have been read, by the index of their records.
    pub(crate) fn known(&mut self) -> impl Iterator<Item = (u32, &mut Thread)> {
        let threads = (0_u32..).zip(&mut self.threads);
        threads.filter_map(|(index, thread)| Some((index, thread.as_deref_mut()?)))
    }
}

/// Who has a record.
#[derive(Clone, Copy)]
struct Owner {
    process: ProcessIndex,
    cgroup: u64,
    row: Option<ThreadIndex>,
}

impl Owner {
    /// Adds figures of the owner.
    fn add(self, into: &mut Aggregate, key: CallKey, figures: &Figures) {
        match self.row {
            Some(row) => into.add_to_thread(row, self.cgroup, key, figures),
            None => into.add(Some((self.process, self.cgroup)), key, figures),
        }
    }
}

/// Adds the call in which a thread ended: `exit`, `exit_group`, or the call in which it was killed.
/// Returns the slot of the call, unless that is an overflow slot.
fn add_unreturned(into: &mut Aggregate, owner: Owner, record: &ThreadRecord) -> Option<CellIndex> {
    if !record.in_call() {
        return None;
    }
    let figures = Figures { never_returned: 1, ..Figures::default() };
    let slot = (record.in_flight_slot != OVERFLOWED).then_some(record.in_flight_slot);
    let key = CallKey(record.in_flight_key);
    if slot.is_some() {
        owner.add(into, key, &figures);
    } else {
        add_unreturned_overflowed(into, key);
    }
    slot
}

/// Adds a call in which a thread ended, and whose entry an overflow slot has counted.
fn add_unreturned_overflowed(into: &mut Aggregate, key: CallKey) {
    into.add(None, key, &Figures { never_returned: 1, ..Figures::default() });
    // The overflow slot does not count it.
    let open = Account { open: vec![(key, 1)], ..Account::default() };
    into.settle(None, &open, &Account::default());
}

/// The books of an overflow slot.
fn overflow_account(key: CallKey, slot: &OverflowSlot) -> Account {
    let left = slot.returned.wrapping_add(slot.restarted);
    let gone = left.wrapping_add(slot.never_returned);
    let open = slot.entered.wrapping_sub(gone).cast_signed();
    Account { entered: slot.entered, left, open: vec![(key, open)] }
}

/// The differences in an overflow slot. `extremes` are those since the start.
fn overflow_figures(new: &OverflowSlot, extremes: Option<Extremes>, old: &OverflowSlot) -> Figures {
    let mut figures = Figures {
        calls: new.entered.wrapping_sub(old.entered),
        returned: new.returned.wrapping_sub(old.returned),
        restarted: new.restarted.wrapping_sub(old.restarted),
        errors: new.errors.wrapping_sub(old.errors),
        denied: new.denied.wrapping_sub(old.denied),
        never_returned: new.never_returned.wrapping_sub(old.never_returned),
        lost: 0,
        untimed: 0,
        total_ns: new.total_ns.wrapping_sub(old.total_ns),
        off_cpu: OffCpu::default(),
        extremes,
        errnos: Vec::new(),
        errors_unlisted: new.errors_unlisted.wrapping_sub(old.errors_unlisted),
        latency: (0..BUCKETS)
            .map(|b| (b, u64::from(new.buckets[b].wrapping_sub(old.buckets[b]))))
            .collect(),
        extra: new.extra.wrapping_sub(old.extra),
        extra_ns: new.extra_ns.wrapping_sub(old.extra_ns),
        squares: new.squares.wrapping_sub(old.squares),
    };
    for (errno, (new, old)) in new.errnos.iter().zip(&old.errnos).enumerate() {
        figures.add_errno(errno as u16, u64::from(new.wrapping_sub(*old)));
    }
    figures
}
