//! All figures, by process and syscall, and by syscall over all processes.
//!
//! [`KeepEnded`] says how long ended processes stay in the list. The totals by syscall always
//! include their calls. The daemon shows no processes ([`Aggregate::totals`]), so for a process it
//! keeps only the sum that the accounting check requires. A snapshot shares the rows of processes
//! with the aggregate, which copies a row only if it changes later.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use profiler_common::{
    call::{CallKey, OVERFLOW_SLOTS},
    limits::COMM_LEN,
};

use super::{
    Account, KeepEnded,
    account::Sum,
    books::{Books, ProcessBooks},
    owners::Owners,
    parts::{Parts, row_mut},
    processes::{Identity, ProcessIndex, Processes},
    threads,
    threads::{ThreadId, ThreadIndex, Threads},
};
use crate::{
    model::{
        CallRow, CgroupRow, Detail, ENDED_COMM, Figures, OVERFLOW_COMM, Process, ProcessRow,
        ThreadRow,
    },
    names::syscalls,
};

/// The figures of a process.
#[derive(Default)]
struct ProcessFigures {
    /// The rows.
    parts: Parts,
    /// The sum over the rows, if the aggregate keeps no rows by process.
    rowless: Sum,
    /// Sum of ended threads that are no longer listed.
    ended_threads: Parts,
    /// Number of listed threads.
    listed: usize,
    books: ProcessBooks,
}

/// Which sums an aggregate keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rows {
    /// By process and syscall, and by syscall.
    All,
    /// By syscall only.
    Totals,
}

/// The figures of all readings.
pub struct Aggregate {
    processes: Processes<ProcessFigures>,
    /// The threads, if rows by thread are kept.
    threads: Option<Threads>,
    /// Sums over all processes, by [`CallKey::overflow_index`].
    calls: Vec<Option<Box<CallRow>>>,
    /// Calls that the kernel side counted without their process, by key.
    unattributed: Vec<CallRow>,
    /// Sum of ended processes that are no longer listed.
    folded: Parts,
    books: Books,
    /// Processes whose accounts have changed since the last check.
    unchecked: Vec<ProcessIndex>,
    /// The time of the current reading.
    now: Duration,
    /// The time of the reading before.
    before: Duration,
    keep: KeepEnded,
    rows: Rows,
    /// The calls since they were last taken, by owner. `None` if rows by owner are not kept.
    pub(super) owners: Option<Owners>,
}

impl Aggregate {
    /// An empty aggregate.
    pub fn new(keep: KeepEnded) -> Self {
        Self {
            processes: Processes::default(),
            threads: None,
            calls: (0..OVERFLOW_SLOTS).map(|_| None).collect(),
            unattributed: Vec::new(),
            folded: Parts::of_ended(),
            books: Books::default(),
            unchecked: Vec::new(),
            now: Duration::ZERO,
            before: Duration::ZERO,
            keep,
            rows: Rows::All,
            owners: None,
        }
    }

    /// An empty aggregate that keeps only the totals by syscall, without rows of processes. Its
    /// cost does not depend on the number of processes.
    pub fn totals() -> Self {
        Self { rows: Rows::Totals, ..Self::new(KeepEnded::For(Duration::ZERO)) }
    }

    /// Changes how long ended processes are kept.
    pub fn keep_ended(&mut self, keep: KeepEnded) {
        self.keep = keep;
    }

    /// Begins a reading. `now` is the time since a fixed moment.
    pub fn begin_reading(&mut self, now: Duration) {
        self.before = self.now;
        self.now = now;
    }

    /// Removes ended processes whose time in the list is over, and adds them up in one row.
    pub fn forget_ended(&mut self) {
        self.processes.end_moved(self.now);
        self.forget_ended_threads();
        let (folded, threads) = (&mut self.folded, &mut self.threads);
        self.processes.forget_ended(self.before, self.keep, |index, process| {
            for part in process.parts.iter() {
                folded.add_all(&part);
            }
            if process.listed > 0
                && let Some(threads) = threads
            {
                threads.forget_process(index);
            }
        });
    }

    /// Adds a thread of a process.
    pub fn thread_started(&mut self, identity: Identity, comm: &[u8]) -> ProcessIndex {
        self.processes.thread_started(identity, comm)
    }

    /// Notes that a thread of a process has ended. Its figures must have been added before.
    pub fn thread_ended(&mut self, process: ProcessIndex) {
        self.processes.thread_ended(process, self.now);
    }

    /// Notes that a thread of a process moved to another cgroup. Its figures so far must have been
    /// added before. The next reading finds the thread again, unless it has no record then.
    pub fn thread_left(&mut self, process: ProcessIndex) {
        self.processes.thread_left(process);
    }

    /// Sets the name that a process got at `named_ns`. The latest name wins.
    pub fn rename(&mut self, process: ProcessIndex, comm: &[u8; COMM_LEN], named_ns: u64) {
        self.processes.rename(process, comm, named_ns);
    }

    /// Whether rows by process are kept.
    pub fn has_processes(&self) -> bool {
        self.rows == Rows::All
    }

    /// Whether rows by thread are kept.
    pub fn has_threads(&self) -> bool {
        self.threads.is_some()
    }

    /// Starts or stops to keep rows by thread.
    ///
    /// After a start, the caller adds the figures so far: with [`Self::list_thread`] for each live
    /// thread, and then with [`Self::attribute_rest`] for the rest.
    pub fn keep_threads(&mut self, on: bool) {
        self.threads = on.then(Threads::default);
        for (_, process) in self.processes.iter_mut() {
            process.ended_threads = Parts::default();
            process.listed = 0;
        }
    }

    /// Lists a thread, or finds a listed thread that moved to another cgroup. `calls` are the figures
    /// of the thread that the rows of its process already include. Returns `None` if rows by thread
    /// are not kept.
    pub fn list_thread(
        &mut self,
        process: ProcessIndex,
        id: ThreadId,
        comm: &[u8; COMM_LEN],
        calls: &CgroupRow,
    ) -> Option<ThreadIndex> {
        let threads = self.threads.as_mut()?;
        let figures = self.processes.figures_mut(process)?;
        let (thread, is_new) = threads.list(process, id, comm);
        figures.listed += usize::from(is_new);
        threads.add_all(thread, calls);
        Some(thread)
    }

    /// Attributes all calls of a process that are of no listed thread to its ended threads.
    pub fn attribute_rest(&mut self) {
        let Some(threads) = &self.threads else { return };
        let listed = threads.rows(self.processes.indexes());
        for (ProcessIndex(index), process) in self.processes.iter_mut() {
            let mut known: BTreeMap<u64, Vec<CallRow>> = BTreeMap::new();
            for part in listed[index].iter().flat_map(cgroup_rows) {
                let known = known.entry(part.cgroup).or_default();
                for row in part.calls.iter() {
                    row_mut(known, row.key).total.merge(&row.total);
                }
            }
            let none = Figures::default();
            process.ended_threads = Parts::default();
            for part in process.parts.iter() {
                let known = known.remove(&part.cgroup).unwrap_or_default();
                for row in part.calls.iter() {
                    let at = known.binary_search_by_key(&row.key, |known| known.key);
                    let rest = row.total.since(at.map_or(&none, |at| &known[at].total));
                    if !rest.is_empty() {
                        process.ended_threads.add(part.cgroup, row.key, &rest);
                    }
                }
            }
        }
    }

    /// Sets the name of a thread, and its id if the id has changed.
    pub fn rename_thread(&mut self, thread: ThreadIndex, tid: Option<u32>, comm: &[u8; COMM_LEN]) {
        if let Some(threads) = &mut self.threads {
            threads.rename(thread, tid, comm);
        }
    }

    /// Notes that a listed thread has ended. Its figures must have been added before.
    pub fn listed_thread_ended(&mut self, thread: ThreadIndex) {
        if let Some(threads) = &mut self.threads {
            threads.end(thread, self.now);
        }
    }

    fn forget_ended_threads(&mut self) {
        let Some(threads) = &mut self.threads else { return };
        let processes = &mut self.processes;
        threads.forget_ended(self.before, self.keep, |process, parts| {
            if let Some(process) = processes.figures_mut(process) {
                process.listed = process.listed.saturating_sub(1);
                for part in parts.iter() {
                    process.ended_threads.add_all(&part);
                }
            }
        });
    }

    /// The real user id of a process.
    pub fn uid(&self, process: ProcessIndex) -> Option<u32> {
        self.process(process)?.uid
    }

    /// Sets the real user id of a process.
    pub fn set_uid(&mut self, process: ProcessIndex, uid: u32) {
        self.processes.set_uid(process, uid);
    }

    /// Same as [`Self::add`], but adds the figures also to the rows of a listed thread.
    pub fn add_to_thread(&mut self, thread: ThreadIndex, cgroup: u64, key: CallKey, new: &Figures) {
        let Some(threads) = &mut self.threads else { return };
        threads.add(thread, cgroup, syscalls::fold_unknown(key), new);
        if let Some(process) = threads.process(thread) {
            self.add(Some((process, cgroup)), key, new);
        }
    }

    /// Adds the figures of a reading. All figures are differences to the last reading, except the
    /// extremes, which are of all time. `owner` is the process and the id of its cgroup. It is `None`
    /// for calls that the kernel side counted without their process.
    pub fn add(&mut self, owner: Option<(ProcessIndex, u64)>, key: CallKey, new: &Figures) {
        // A syscall that has a row has a name.
        let has_row = |row: &CallRow| row.key == key;
        let row = self.calls.get(key.overflow_index() as usize).and_then(Option::as_deref);
        let key = if row.is_some_and(has_row) { key } else { syscalls::fold_unknown(key) };
        let Some(slot) = self.calls.get_mut(key.overflow_index() as usize) else { return };
        let row = slot.get_or_insert_with(|| Box::new(CallRow::new(key, Figures::default())));
        row.total.merge(new);
        if let Some(owners) = &mut self.owners {
            let named =
                owner.and_then(|(process, cgroup)| Some((self.processes.comm(process)?, cgroup)));
            owners.add(named, key, new);
        }
        match owner {
            None => row_mut(&mut self.unattributed, key).total.merge(new),
            Some((process, cgroup)) => {
                let Some(process) = self.processes.figures_mut(process) else { return };
                match self.rows {
                    Rows::All => process.parts.add(cgroup, key, new),
                    Rows::Totals => process.rowless.add(new),
                }
            }
        }
    }

    /// Replaces the account of a thread of a process. `process` is `None` for the overflow slots.
    pub fn settle(&mut self, process: Option<ProcessIndex>, old: &Account, new: &Account) {
        self.books.change(old, new);
        if let Some(process) = process
            && let Some(figures) = self.processes.figures_mut(process)
            && figures.books.change(old, new)
        {
            self.unchecked.push(process);
        }
    }

    /// Checks the accounting equation for processes with new figures, for each syscall and for the
    /// host. Returns a description of each breach. Each row is reported once.
    pub fn breaches(&mut self) -> Vec<String> {
        let mut found = Vec::new();
        for index in std::mem::take(&mut self.unchecked) {
            let Some(figures) = self.processes.figures_mut(index) else { continue };
            let ProcessFigures { parts, rowless, books, .. } = figures;
            let what = books.breach(|| match self.rows {
                Rows::All => Sum::of(parts.calls().iter().map(|row| &row.total)),
                Rows::Totals => *rowless,
            });
            if let Some(what) = what
                && let Some(process) = self.process(index)
            {
                let Process { tgid, comm, .. } = &**process;
                found.push(format!("process {} ({comm}): {what}", tgid.unwrap_or_default()));
            }
        }
        found.extend(self.books.breaches(self.calls.iter().flatten().map(AsRef::as_ref)));
        found
    }

    /// The identity of a process.
    pub fn process(&self, process: ProcessIndex) -> Option<&Arc<Process>> {
        self.processes.process(process)
    }

    /// Finds a process by its identity.
    pub fn process_by_identity(&self, identity: Identity) -> Option<&Arc<Process>> {
        self.process(self.processes.find(identity)?)
    }

    /// Whether all listed processes have ended.
    pub fn all_ended(&self) -> bool {
        self.processes.iter().all(|(_, process, _)| process.ended)
    }

    /// The figures of each syscall over all processes, by key.
    pub fn calls(&self) -> Vec<CallRow> {
        let mut rows: Vec<CallRow> =
            self.calls.iter().flatten().map(|row| CallRow::clone(row)).collect();
        rows.sort_by_key(|row| row.key);
        rows
    }

    /// Calls that the kernel side counted without their process, by key.
    pub fn unattributed(&self) -> &[CallRow] {
        &self.unattributed
    }

    /// All processes, in no order, and the rows of calls without a process.
    pub fn processes(&self, detail: Detail) -> Vec<ProcessRow> {
        if detail == Detail::Calls {
            return Vec::new();
        }
        let unattributed = (!self.unattributed.is_empty())
            .then(|| ProcessRow::new(Process::nobody(OVERFLOW_COMM), self.unattributed.clone()));
        let folded = (!self.folded.calls().is_empty())
            .then(|| process_row(&Arc::new(Process::nobody(ENDED_COMM)), &self.folded));
        let mut listed = match &self.threads {
            Some(threads) if detail == Detail::Threads => threads.rows(self.processes.indexes()),
            _ => Vec::new(),
        };
        let mut threads_of = |ProcessIndex(index), ended: &Parts| -> Vec<ThreadRow> {
            let Some(listed) = listed.get_mut(index) else { return Vec::new() };
            let ended = (!ended.calls().is_empty()).then(|| threads::row(None, ended));
            std::mem::take(listed).into_iter().chain(ended).collect()
        };
        self.processes
            .iter()
            .map(|(index, process, figures)| ProcessRow {
                threads: threads_of(index, &figures.ended_threads),
                ..process_row(process, &figures.parts)
            })
            .chain(unattributed)
            .chain(folded)
            .collect()
    }
}

fn process_row(process: &Arc<Process>, parts: &Parts) -> ProcessRow {
    ProcessRow {
        process: Arc::clone(process),
        calls: Arc::clone(parts.calls()),
        cgroup: parts.cgroup(),
        cgroups: parts.by_cgroup().to_vec(),
        threads: Vec::new(),
    }
}

/// The rows of a thread by cgroup, including the case that all are of one cgroup.
fn cgroup_rows(row: &ThreadRow) -> Vec<CgroupRow> {
    if row.cgroups.is_empty() {
        vec![CgroupRow { cgroup: row.cgroup, calls: Arc::clone(&row.calls) }]
    } else {
        row.cgroups.clone()
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
