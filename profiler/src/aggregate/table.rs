//! All figures, by process and syscall, and by syscall over all processes.
//!
//! [`KeepEnded`] says how long ended processes stay in the list. The totals by syscall always
//! include their calls. The daemon shows no processes ([`Aggregate::totals`]), so for a process it
//! keeps only the sum that the accounting check requires. A snapshot shares the rows of processes
//! with the aggregate, which copies a row only if it changes later.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use profiler_common::{
    call::{CallKey, OVERFLOW_SLOTS},
    limits::COMM_LEN,
};

use super::{
    Account,
    account::{OpenCalls, Sum},
    owners::Owners,
    parts::{Parts, row_mut},
    threads,
    threads::{ThreadId, ThreadIndex, Threads},
};
use crate::{
    model::{
        CallRow, CgroupRow, Detail, ENDED_COMM, Figures, OVERFLOW_COMM, Process, ProcessRow,
        ThreadRow,
    },
    names::syscalls,
    text::Untrusted,
};

/// Maximum number of ended processes in the list, and of ended threads. Beyond that, the oldest are
/// added up in one row, so that memory stays bounded on a host that forks for weeks.
pub(super) const MAX_ENDED: usize = 20_000;

/// Identifies a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// Process id.
    pub tgid: u32,
    /// Start of the process, in nanoseconds since boot.
    pub start_ns: u64,
}

/// A process in an [`Aggregate`]. Valid until [`Aggregate::forget_ended`] removes the process. That
/// happens only after [`Aggregate::thread_ended`] was called for all its threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessIndex(usize);

struct Entry {
    identity: Identity,
    process: Arc<Process>,
    /// The name in the kernel, and when the process got the name.
    comm: [u8; COMM_LEN],
    named_ns: u64,
    /// The rows.
    parts: Parts,
    /// The sum over the rows, if the aggregate keeps no rows by process.
    rowless: Sum,
    threads: u32,
    /// Sum of ended threads that are no longer listed.
    ended_threads: Parts,
    /// Number of listed threads.
    listed: usize,
    /// The accounts of its threads, including ended threads.
    account: Sum,
    /// Whether a check has reported the process.
    broken: bool,
    /// Whether the process is in `Aggregate::unchecked`.
    unchecked: bool,
}

/// How long an ended process stays in the list, if the list has at most [`MAX_ENDED`] ended
/// processes. After that, its figures are added to the row of ended processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeepEnded {
    /// Until the aggregate is dropped.
    Always,
    /// For this time after the reading that found the process ended.
    For(Duration),
}

impl KeepEnded {
    /// Whether a process that ended at `ended` is still listed at `now`.
    pub(super) fn keeps(self, now: Duration, ended: Duration) -> bool {
        match self {
            Self::Always => true,
            Self::For(time) => now.saturating_sub(ended) <= time,
        }
    }
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
    entries: Vec<Option<Entry>>,
    free: Vec<usize>,
    by_identity: HashMap<Identity, usize>,
    /// The threads, if rows by thread are kept.
    threads: Option<Threads>,
    /// Sums over all processes, by [`CallKey::overflow_index`].
    calls: Vec<Option<Box<CallRow>>>,
    /// Calls that the kernel side counted without their process.
    unattributed: Vec<CallRow>,
    /// Sum of ended processes that are no longer listed.
    folded: Parts,
    /// Processes without a listed record, of which a thread moved to another cgroup: at the present
    /// reading, and at the one before.
    moving: [Vec<usize>; 2],
    /// The accounts of all threads and of the overflow slots.
    account: Sum,
    open: OpenCalls,
    /// Syscalls that a check has reported, and whether it has reported the host.
    broken: (HashSet<CallKey>, bool),
    /// Processes with new figures since the last check.
    unchecked: Vec<usize>,
    /// Ended processes and the time of the reading that found them ended, the oldest first.
    ended: VecDeque<(usize, Duration)>,
    /// The time of the current reading.
    now: Duration,
    keep: KeepEnded,
    rows: Rows,
    /// What was counted lately, by owner. `None` unless somebody takes it.
    pub(super) owners: Option<Owners>,
}

impl Aggregate {
    /// An empty aggregate.
    pub fn new(keep: KeepEnded) -> Self {
        Self {
            entries: Vec::new(),
            free: Vec::new(),
            by_identity: HashMap::new(),
            threads: None,
            calls: (0..OVERFLOW_SLOTS).map(|_| None).collect(),
            unattributed: Vec::new(),
            folded: Parts::of_ended(),
            moving: Default::default(),
            account: Sum::default(),
            open: OpenCalls::default(),
            broken: (HashSet::new(), false),
            unchecked: Vec::new(),
            ended: VecDeque::new(),
            now: Duration::ZERO,
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
        self.now = now;
    }

    /// Removes ended processes whose time in the list is over, and adds them up in one row.
    pub fn forget_ended(&mut self) {
        self.end_moved();
        self.forget_ended_threads();
        while let Some(&(index, ended)) = self.ended.front() {
            let alive = self.entries[index].as_ref().is_some_and(|entry| entry.threads > 0);
            let keep = self.ended.len() <= MAX_ENDED && self.keep.keeps(self.now, ended);
            if !alive && keep {
                break;
            }
            self.ended.pop_front();
            // After all known threads of a process have ended, a further thread can make its first
            // call. The process is then alive again.
            if alive {
                continue;
            }
            if let Some(entry) = self.entries[index].take() {
                for part in entry.parts.iter() {
                    self.folded.add_all(&part);
                }
                self.by_identity.remove(&entry.identity);
                self.free.push(index);
                if entry.listed > 0
                    && let Some(threads) = &mut self.threads
                {
                    threads.forget_process(index);
                }
            }
        }
    }

    /// Adds a thread of a process.
    pub fn thread_started(&mut self, identity: Identity, comm: &[u8]) -> ProcessIndex {
        let index = match self.by_identity.get(&identity) {
            Some(&index) => index,
            None => {
                let entry = Entry {
                    identity,
                    process: Arc::new(Process::new(
                        identity.tgid,
                        identity.start_ns,
                        Untrusted::from_comm(comm),
                    )),
                    // Differs from every name, so that the first name is set.
                    comm: [0; COMM_LEN],
                    named_ns: 0,
                    parts: Parts::default(),
                    rowless: Sum::default(),
                    threads: 0,
                    ended_threads: Parts::default(),
                    listed: 0,
                    account: Sum::default(),
                    broken: false,
                    unchecked: false,
                };
                let index = match self.free.pop() {
                    Some(index) => {
                        self.entries[index] = Some(entry);
                        index
                    }
                    None => {
                        self.entries.push(Some(entry));
                        self.entries.len() - 1
                    }
                };
                self.by_identity.insert(identity, index);
                index
            }
        };
        if let Some(entry) = &mut self.entries[index] {
            entry.threads += 1;
            if entry.process.ended {
                Arc::make_mut(&mut entry.process).ended = false;
            }
        }
        ProcessIndex(index)
    }

    /// Notes that a thread of a process has ended. Its figures must have been added before.
    pub fn thread_ended(&mut self, process: ProcessIndex) {
        if let Some(entry) = &mut self.entries[process.0] {
            entry.threads = entry.threads.saturating_sub(1);
            if entry.threads == 0 {
                self.end(process.0);
            }
        }
    }

    fn end(&mut self, index: usize) {
        if let Some(entry) = &mut self.entries[index] {
            Arc::make_mut(&mut entry.process).ended = true;
            self.ended.push_back((index, self.now));
        }
    }

    /// A thread of a process moved to another cgroup; its figures so far have been added. It will
    /// be found again, unless no record is left for it.
    pub fn thread_left(&mut self, process: ProcessIndex) {
        if let Some(entry) = &mut self.entries[process.0] {
            entry.threads = entry.threads.saturating_sub(1);
            if entry.threads == 0 {
                self.moving[0].push(process.0);
            }
        }
    }

    /// Ends processes whose last thread left and was not found again by the next reading.
    fn end_moved(&mut self) {
        let [now, before] = std::mem::take(&mut self.moving);
        self.moving[1] = now;
        for index in before {
            let is_gone = |entry: &Entry| entry.threads == 0 && !entry.process.ended;
            if self.entries[index].as_ref().is_some_and(is_gone) {
                self.end(index);
            }
        }
    }

    /// Sets the name that a process got at `named_ns`. The latest name wins.
    pub fn rename(&mut self, process: ProcessIndex, comm: &[u8; COMM_LEN], named_ns: u64) {
        let Some(entry) = &mut self.entries[process.0] else { return };
        // The same time means that the earlier reading got a partly written name.
        if named_ns < entry.named_ns {
            return;
        }
        entry.named_ns = named_ns;
        if entry.comm != *comm {
            entry.comm = *comm;
            Arc::make_mut(&mut entry.process).comm = Untrusted::from_comm(comm);
        }
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
        for entry in self.entries.iter_mut().flatten() {
            entry.ended_threads = Parts::default();
            entry.listed = 0;
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
        let entry = self.entries[process.0].as_mut()?;
        let (thread, is_new) = threads.list(process.0, id, comm);
        entry.listed += usize::from(is_new);
        threads.add_all(thread, calls);
        Some(thread)
    }

    /// Attributes all calls of a process that are of no listed thread to its ended threads.
    pub fn attribute_rest(&mut self) {
        let Some(threads) = &self.threads else { return };
        let listed = threads.rows(self.entries.len());
        for (entry, listed) in self.entries.iter_mut().zip(listed) {
            let Some(entry) = entry else { continue };
            let mut known: BTreeMap<u64, Vec<CallRow>> = BTreeMap::new();
            for part in listed.iter().flat_map(cgroup_rows) {
                let known = known.entry(part.cgroup).or_default();
                for row in part.calls.iter() {
                    row_mut(known, row.key).total.merge(&row.total);
                }
            }
            let none = Figures::default();
            entry.ended_threads = Parts::default();
            for part in entry.parts.iter() {
                let known = known.remove(&part.cgroup).unwrap_or_default();
                for row in part.calls.iter() {
                    let at = known.binary_search_by_key(&row.key, |known| known.key);
                    let rest = row.total.since(at.map_or(&none, |at| &known[at].total));
                    if !rest.is_empty() {
                        entry.ended_threads.add(part.cgroup, row.key, &rest);
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
        let entries = &mut self.entries;
        threads.forget_ended(self.now, self.keep, |process, parts| {
            if let Some(entry) = &mut entries[process] {
                entry.listed = entry.listed.saturating_sub(1);
                for part in parts.iter() {
                    entry.ended_threads.add_all(&part);
                }
            }
        });
    }

    /// The real user id of a process.
    pub fn uid(&self, process: ProcessIndex) -> Option<u32> {
        self.entries[process.0].as_ref()?.process.uid
    }

    /// Sets the real user id of a process.
    pub fn set_uid(&mut self, process: ProcessIndex, uid: u32) {
        if let Some(entry) = &mut self.entries[process.0]
            && entry.process.uid != Some(uid)
        {
            Arc::make_mut(&mut entry.process).uid = Some(uid);
        }
    }

    /// Same as [`Self::add`], but adds the figures also to the rows of a listed thread.
    pub fn add_to_thread(&mut self, thread: ThreadIndex, cgroup: u64, key: CallKey, new: &Figures) {
        let Some(threads) = &mut self.threads else { return };
        threads.add(thread, cgroup, syscalls::fold_unknown(key), new);
        if let Some(process) = threads.process(thread) {
            self.add(Some((ProcessIndex(process), cgroup)), key, new);
        }
    }

    /// Adds the figures of a reading. All figures are differences to the last reading, except the
    /// extremes, which are of all time. `owner` is the process and the id of its cgroup. It is `None`
    /// for calls that the kernel side counted without their process.
    pub fn add(&mut self, owner: Option<(ProcessIndex, u64)>, key: CallKey, new: &Figures) {
        let key = syscalls::fold_unknown(key);
        let Some(slot) = self.calls.get_mut(key.overflow_index() as usize) else { return };
        let row = slot.get_or_insert_with(|| Box::new(CallRow::new(key, Figures::default())));
        row.total.merge(new);
        if let Some(owners) = &mut self.owners {
            let named = owner.and_then(|(ProcessIndex(index), cgroup)| {
                Some((&self.entries[index].as_ref()?.comm, cgroup))
            });
            owners.add(named, key, new);
        }
        match owner {
            None => row_mut(&mut self.unattributed, key).total.merge(new),
            Some((ProcessIndex(index), cgroup)) => {
                if let Some(entry) = &mut self.entries[index] {
                    if self.rows == Rows::Totals {
                        entry.rowless.add(new);
                        return;
                    }
                    entry.parts.add(cgroup, key, new);
                }
            }
        }
    }

    /// Replaces the account of a thread. `process` is `None` for the overflow slots.
    pub fn settle(&mut self, process: Option<ProcessIndex>, old: &Account, new: &Account) {
        self.account.change(old, new);
        self.open.change(old, new);
        if let Some(ProcessIndex(index)) = process
            && let Some(entry) = &mut self.entries[index]
        {
            entry.account.change(old, new);
            if !std::mem::replace(&mut entry.unchecked, true) {
                self.unchecked.push(index);
            }
        }
    }

    /// Checks the accounting equation for processes with new figures, for each syscall and for the
    /// host. Returns a description of each breach. Each row is reported once.
    pub fn breaches(&mut self) -> Vec<String> {
        let mut found = Vec::new();
        for index in std::mem::take(&mut self.unchecked) {
            let Some(entry) = &mut self.entries[index] else { continue };
            entry.unchecked = false;
            if entry.broken {
                continue;
            }
            let shown = match self.rows {
                Rows::All => Sum::of(entry.parts.calls().iter().map(|row| &row.total)),
                Rows::Totals => entry.rowless,
            };
            if let Some(what) = entry.account.breach(shown) {
                entry.broken = true;
                let Identity { tgid, .. } = entry.identity;
                found.push(format!("process {tgid} ({}): {what}", entry.process.comm));
            }
        }
        for row in self.calls.iter().flatten() {
            if let Some(what) = self.open.breach(row.key, &row.total)
                && self.broken.0.insert(row.key)
            {
                let name = syscalls::name(row.key);
                found.push(format!("syscall {name}: {what}"));
            }
        }
        let all = self.calls.iter().flatten().map(|row| &row.total);
        if !self.broken.1
            && let Some(what) = self.account.breach(Sum::of(all))
        {
            self.broken.1 = true;
            found.push(format!("host: {what}"));
        }
        found
    }

    /// The identity of a process.
    pub fn process(&self, process: ProcessIndex) -> Option<&Arc<Process>> {
        self.entries[process.0].as_ref().map(|entry| &entry.process)
    }

    /// Finds a process by its identity.
    pub fn process_by_identity(&self, identity: Identity) -> Option<&Arc<Process>> {
        self.process(ProcessIndex(*self.by_identity.get(&identity)?))
    }

    /// Whether all listed processes have ended.
    pub fn all_ended(&self) -> bool {
        self.entries.iter().flatten().all(|entry| entry.process.ended)
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
        let of_ended = |entry: &Entry| {
            (!entry.ended_threads.calls().is_empty())
                .then(|| threads::row(None, &entry.ended_threads))
        };
        let listed = match &self.threads {
            Some(threads) if detail == Detail::Threads => threads.rows(self.entries.len()),
            _ => Vec::new(),
        };
        let has_threads = !listed.is_empty();
        let listed = listed.into_iter().map(Some).chain(std::iter::repeat(None));
        self.entries
            .iter()
            .zip(listed)
            .filter_map(|(entry, listed)| {
                let entry = entry.as_ref()?;
                let mut threads = listed.unwrap_or_default();
                threads.extend(of_ended(entry).filter(|_| has_threads));
                Some((entry, threads))
            })
            .map(|(entry, threads)| ProcessRow {
                threads,
                ..process_row(&entry.process, &entry.parts)
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

/// The rows of a thread by cgroup, also if all are of one.
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
