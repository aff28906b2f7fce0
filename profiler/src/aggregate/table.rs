//! Everything that was counted, by process and system call, and by system call
//! over all processes.
//!
//! Ended processes stay as long as the consumer wants ([`KeepEnded`]); totals by call keep what they
//! counted. The daemon shows no processes ([`Aggregate::totals`]), so a process has only the sum of its
//! rows there, by which its books are checked. A snapshot shares the rows of processes with the
//! aggregate, which copies a row only if it changes afterwards.

use std::{
    collections::{HashMap, HashSet, VecDeque},
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
    threads::{ThreadIndex, Threads},
};
use crate::{
    model::{CallRow, Detail, ENDED_COMM, Figures, OVERFLOW_COMM, Process, ProcessRow, ThreadRow},
    names::syscalls,
    text::Untrusted,
};

/// Ended processes that are kept apart, and ended threads; the oldest beyond it are added up in
/// one row, so that a host that forks for weeks needs no more memory.
pub(super) const MAX_ENDED: usize = 20_000;

/// What tells one process from every other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// Process id.
    pub tgid: u32,
    /// Its start, nanoseconds since boot.
    pub start_ns: u64,
}

/// A process in an [`Aggregate`]; good until [`Aggregate::forget_ended`] forgets
/// the process, which it does only after [`Aggregate::thread_ended`] was called for
/// all its threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessIndex(usize);

struct Entry {
    identity: Identity,
    process: Arc<Process>,
    /// Its name as the kernel has it, and when it had that.
    comm: [u8; COMM_LEN],
    named_ns: u64,
    /// By key. Shared with the snapshots since it changed last.
    calls: Arc<Vec<CallRow>>,
    /// What the rows would say as a whole, where there are none.
    rowless: Sum,
    threads: u32,
    /// Sum of ended threads that are no longer listed, by key.
    ended_threads: Vec<CallRow>,
    /// How many of its threads are listed.
    listed: usize,
    /// What the slots of its threads say, those that have ended too.
    account: Sum,
    /// Whether its row was found to break the law.
    broken: bool,
    /// Whether the row is in `Aggregate::unchecked`.
    unchecked: bool,
}

/// How long a process that has ended stays in the list, as long as there are no more than
/// [`MAX_ENDED`]. Then it is added to the row of ended processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeepEnded {
    /// For as long as the aggregate.
    Always,
    /// For this time after the reading that found it ended.
    For(Duration),
}

impl KeepEnded {
    /// Whether what was found to have ended at `ended` is listed at `now`.
    pub(super) fn keeps(self, now: Duration, ended: Duration) -> bool {
        match self {
            Self::Always => true,
            Self::For(time) => now.saturating_sub(ended) <= time,
        }
    }
}

/// What is added up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rows {
    /// Calls by process, and calls over all.
    All,
    /// Calls over all processes.
    Totals,
}

/// See the module.
pub struct Aggregate {
    entries: Vec<Option<Entry>>,
    free: Vec<usize>,
    by_identity: HashMap<Identity, usize>,
    /// The threads, if they are listed.
    threads: Option<Threads>,
    /// Over all processes, by [`CallKey::overflow_index`], which counts all keys.
    calls: Vec<Option<Box<CallRow>>>,
    /// Calls of which the kernel side knows no process.
    unattributed: Vec<CallRow>,
    /// Sum of ended processes beyond the limit.
    folded: Vec<CallRow>,
    /// What the slots of all threads say, and overflow slots.
    account: Sum,
    open: OpenCalls,
    /// Calls found to break the law, and whether the host was.
    broken: (HashSet<CallKey>, bool),
    /// Processes that have figures since the law was checked last.
    unchecked: Vec<usize>,
    /// Ended processes, with the time at which they were found to have ended, oldest first.
    ended: VecDeque<(usize, Duration)>,
    /// The time of the present reading.
    now: Duration,
    keep: KeepEnded,
    rows: Rows,
}

pub(super) fn row_mut(rows: &mut Vec<CallRow>, key: CallKey) -> &mut CallRow {
    let at = match rows.binary_search_by_key(&key, |row| row.key) {
        Ok(at) => at,
        Err(at) => {
            rows.insert(at, CallRow::new(key, Figures::default()));
            at
        }
    };
    &mut rows[at]
}

impl Aggregate {
    /// Nothing counted yet.
    pub fn new(keep: KeepEnded) -> Self {
        Self {
            entries: Vec::new(),
            free: Vec::new(),
            by_identity: HashMap::new(),
            threads: None,
            calls: (0..OVERFLOW_SLOTS).map(|_| None).collect(),
            unattributed: Vec::new(),
            folded: Vec::new(),
            account: Sum::default(),
            open: OpenCalls::default(),
            broken: (HashSet::new(), false),
            unchecked: Vec::new(),
            ended: VecDeque::new(),
            now: Duration::ZERO,
            keep,
            rows: Rows::All,
        }
    }

    /// Nothing counted yet, and of what will be only the totals by call, without rows of
    /// processes. So it costs little, however many processes there are.
    pub fn totals() -> Self {
        Self { rows: Rows::Totals, ..Self::new(KeepEnded::For(Duration::ZERO)) }
    }

    /// Keeps ended processes as `keep` says from now on.
    pub fn keep_ended(&mut self, keep: KeepEnded) {
        self.keep = keep;
    }

    /// A reading begins, at this time since any moment that stays the same.
    pub fn begin_reading(&mut self, now: Duration) {
        self.now = now;
    }

    /// Forgets ended processes that are kept no longer: they are added up in one row.
    pub fn forget_ended(&mut self) {
        self.forget_ended_threads();
        while let Some(&(index, ended)) = self.ended.front() {
            let alive = self.entries[index].as_ref().is_some_and(|entry| entry.threads > 0);
            let keep = self.ended.len() <= MAX_ENDED && self.keep.keeps(self.now, ended);
            if !alive && keep {
                break;
            }
            self.ended.pop_front();
            // A process whose known threads had all ended can show another one that
            // had not made a call before: it is then alive again.
            if alive {
                continue;
            }
            if let Some(entry) = self.entries[index].take() {
                for row in entry.calls.iter() {
                    row_mut(&mut self.folded, row.key).total.merge(&row.total);
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

    /// A thread of a process was first seen.
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
                    // Unlike any, so that the first renaming counts.
                    comm: [0; COMM_LEN],
                    named_ns: 0,
                    calls: Arc::default(),
                    rowless: Sum::default(),
                    threads: 0,
                    ended_threads: Vec::new(),
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

    /// A thread of a process ended; its figures have been added.
    pub fn thread_ended(&mut self, process: ProcessIndex) {
        if let Some(entry) = &mut self.entries[process.0] {
            entry.threads = entry.threads.saturating_sub(1);
            if entry.threads == 0 {
                Arc::make_mut(&mut entry.process).ended = true;
                self.ended.push_back((process.0, self.now));
            }
        }
    }

    /// A process was called `comm` at `named_ns`. The latest name counts.
    pub fn rename(&mut self, process: ProcessIndex, comm: &[u8; COMM_LEN], named_ns: u64) {
        let Some(entry) = &mut self.entries[process.0] else { return };
        // At the same time: a name that was half written when it was read before.
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

    /// Keeps rows by thread from now on, or no longer.
    ///
    /// What the threads have done by now is to be added by [`Self::list_thread`] for each thread
    /// that lives, and the rest by [`Self::attribute_rest`].
    pub fn keep_threads(&mut self, on: bool) {
        self.threads = on.then(Threads::default);
        for entry in self.entries.iter_mut().flatten() {
            entry.ended_threads = Vec::new();
            entry.listed = 0;
        }
    }

    /// Lists a thread that was first seen; `calls` is what is already in the rows of its process,
    /// by key. `None` if rows by thread are not kept.
    pub fn list_thread(
        &mut self,
        process: ProcessIndex,
        tid: u32,
        comm: &[u8; COMM_LEN],
        calls: Vec<CallRow>,
    ) -> Option<ThreadIndex> {
        let threads = self.threads.as_mut()?;
        self.entries[process.0].as_mut()?.listed += 1;
        Some(threads.list(process.0, tid, comm, calls))
    }

    /// Attributes what the listed threads of each process have not done to threads that have
    /// ended.
    pub fn attribute_rest(&mut self) {
        let Some(threads) = &self.threads else { return };
        let listed = threads.rows(self.entries.len());
        for (entry, listed) in self.entries.iter_mut().zip(listed) {
            let Some(entry) = entry else { continue };
            let (mut known, none) = (Vec::<CallRow>::new(), Figures::default());
            for row in listed.iter().flat_map(|thread| thread.calls.iter()) {
                row_mut(&mut known, row.key).total.merge(&row.total);
            }
            let rest = entry.calls.iter().map(|row| {
                let at = known.binary_search_by_key(&row.key, |known| known.key);
                let done = at.map_or(&none, |at| &known[at].total);
                CallRow::new(row.key, row.total.since(done))
            });
            entry.ended_threads = rest.filter(|row| !row.total.is_empty()).collect();
        }
    }

    /// Sets the name of a thread, and its id if that is known to have changed.
    pub fn rename_thread(&mut self, thread: ThreadIndex, tid: Option<u32>, comm: &[u8; COMM_LEN]) {
        if let Some(threads) = &mut self.threads {
            threads.rename(thread, tid, comm);
        }
    }

    /// A listed thread ended; its figures have been added.
    pub fn listed_thread_ended(&mut self, thread: ThreadIndex) {
        if let Some(threads) = &mut self.threads {
            threads.end(thread, self.now);
        }
    }

    fn forget_ended_threads(&mut self) {
        let Some(threads) = &mut self.threads else { return };
        let entries = &mut self.entries;
        threads.forget_ended(self.now, self.keep, |process, calls| {
            if let Some(entry) = &mut entries[process] {
                entry.listed = entry.listed.saturating_sub(1);
                for row in calls {
                    row_mut(&mut entry.ended_threads, row.key).total.merge(&row.total);
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

    /// Adds figures of a listed thread, as [`Self::add`] does, to its rows and to the rows of its
    /// process.
    pub fn add_to_thread(&mut self, thread: ThreadIndex, key: CallKey, new: &Figures) {
        let Some(threads) = &mut self.threads else { return };
        threads.add(thread, syscalls::fold_unknown(key), new);
        if let Some(process) = threads.process(thread) {
            self.add(Some(ProcessIndex(process)), key, new);
        }
    }

    /// Adds figures that are new, but for their extremes, which are those of all time.
    /// `process` is `None` for calls of which the kernel side knows none.
    pub fn add(&mut self, process: Option<ProcessIndex>, key: CallKey, new: &Figures) {
        let key = syscalls::fold_unknown(key);
        let Some(slot) = self.calls.get_mut(key.overflow_index() as usize) else { return };
        let row = slot.get_or_insert_with(|| Box::new(CallRow::new(key, Figures::default())));
        row.total.merge(new);
        match process {
            None => row_mut(&mut self.unattributed, key).total.merge(new),
            Some(ProcessIndex(index)) => {
                if let Some(entry) = &mut self.entries[index] {
                    if self.rows == Rows::Totals {
                        entry.rowless.add(new);
                        return;
                    }
                    let rows = Arc::make_mut(&mut entry.calls);
                    row_mut(rows, key).total.merge(new);
                }
            }
        }
    }

    /// What the slots of a thread say as a whole was `old` and is `new`; `process` as for
    /// [`Self::add`].
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

    /// Where the figures break the law, each row told once: those of processes that did
    /// something since this was asked last, of each call, and of the host.
    pub fn breaches(&mut self) -> Vec<String> {
        let mut found = Vec::new();
        for index in std::mem::take(&mut self.unchecked) {
            let Some(entry) = &mut self.entries[index] else { continue };
            entry.unchecked = false;
            if entry.broken {
                continue;
            }
            let shown = match self.rows {
                Rows::All => Sum::of(entry.calls.iter().map(|row| &row.total)),
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

    /// Who a process is.
    pub fn process(&self, process: ProcessIndex) -> Option<&Arc<Process>> {
        self.entries[process.0].as_ref().map(|entry| &entry.process)
    }

    /// A process by what names it for good.
    pub fn process_by_identity(&self, identity: Identity) -> Option<&Arc<Process>> {
        self.process(ProcessIndex(*self.by_identity.get(&identity)?))
    }

    /// Whether no process in the list is alive.
    pub fn all_ended(&self) -> bool {
        self.entries.iter().flatten().all(|entry| entry.process.ended)
    }

    /// Calls over all processes, by key.
    pub fn calls(&self) -> Vec<CallRow> {
        let mut rows: Vec<CallRow> =
            self.calls.iter().flatten().map(|row| CallRow::clone(row)).collect();
        rows.sort_by_key(|row| row.key);
        rows
    }

    /// Calls of which the kernel side knows no process, by key.
    pub fn unattributed(&self) -> &[CallRow] {
        &self.unattributed
    }

    /// Processes, in no order, with the rows of calls that belong to none.
    pub fn processes(&self, detail: Detail) -> Vec<ProcessRow> {
        if detail == Detail::Calls {
            return Vec::new();
        }
        let nameless = |comm: &str, calls: &[CallRow]| {
            (!calls.is_empty()).then(|| ProcessRow::new(Process::nobody(comm), calls.to_vec()))
        };
        let of_ended = |entry: &Entry| {
            (!entry.ended_threads.is_empty())
                .then(|| ThreadRow { thread: None, calls: Arc::new(entry.ended_threads.clone()) })
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
                process: Arc::clone(&entry.process),
                calls: Arc::clone(&entry.calls),
                threads,
            })
            .chain(nameless(OVERFLOW_COMM, &self.unattributed))
            .chain(nameless(ENDED_COMM, &self.folded))
            .collect()
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
