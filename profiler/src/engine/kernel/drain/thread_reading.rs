//! Adds the calls of a thread since the last reading, and checks the thread's accounting equation.

use std::sync::Arc;

use profiler_common::{
    call::CallKey,
    wire::{CellIndex, OVERFLOWED, RecordState, ThreadRecord},
};

use super::{
    batch::{self, Changed, Visit},
    in_flight::Flight,
    overflow,
    reader::Reader,
    slot::{How, SlotReading},
};
use crate::{
    aggregate::{Account, Aggregate, Identity, ProcessIndex, ThreadId, ThreadIndex},
    engine::kernel::tables::{Activity, Tables},
    model::{CgroupRow, Figures},
};

/// A thread with a record.
pub(crate) struct Thread {
    pub(crate) process: ProcessIndex,
    /// The cgroup in which the calls of this record entered.
    pub(super) cgroup: u64,
    /// Its own row, if rows by thread are kept.
    pub(super) row: Option<ThreadIndex>,
    /// Whether it is in `Reader::unknown_users`.
    pub(super) user_is_unknown: bool,
    /// The call in which a reading last found the thread.
    pub(crate) flight: Option<Flight>,
    account: Account,
    /// Whether a breach of the accounting equation was reported for this thread.
    broken: bool,
}

impl Reader {
    /// Adds the differences of a thread. `changed` are the slots that have changed.
    pub(super) fn read_thread(
        &mut self,
        tables: &impl Tables,
        into: &mut Aggregate,
        (visit, changed): (&mut Visit, &[Changed]),
        last: bool,
    ) {
        let Visit { index, before, ref record, .. } = *visit;
        // Stores the activity that was read before the figures. If the thread made calls since, the
        // next reading finds another activity, and reads the figures again.
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
            let known = batch::counts_of(&slot.known);
            let known_now = (&mut self.cells, &mut self.samplers);
            let how = How { timed: self.timed, off_cpu: self.follows_off_cpu, last };
            let reading = self.slot.read(tables, known_now, visit, slot, how);
            let reported = reading.unwrap_or_else(|| {
                // The next reading reads the slot again, even if the thread is idle until then.
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
}

/// The owner of a record.
#[derive(Clone, Copy)]
struct Owner {
    process: ProcessIndex,
    cgroup: u64,
    row: Option<ThreadIndex>,
}

impl Owner {
    /// Adds figures to the rows of the owner.
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
        overflow::add_unreturned(into, key);
    }
    slot
}
