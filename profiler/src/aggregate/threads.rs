//! Rows of threads: the calls of a process, by thread.
//!
//! An ended thread stays listed like an ended process, and is then added to the row of ended
//! threads of its process. So the rows of the threads of a process always sum up to the rows of
//! the process.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use profiler_common::call::CallKey;

use super::{KeepEnded, parts::Parts, processes::ProcessIndex, reuse};
use crate::{
    model::{CgroupRow, Figures, Thread, ThreadRow},
    text::Untrusted,
};

/// A thread in an [`Aggregate`](super::Aggregate). Valid until the thread has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThreadIndex(usize);

/// Identifies a thread: its id, and a random number. All records of a thread have the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ThreadId {
    /// Thread id.
    pub tid: u32,
    /// The random number.
    pub random: u32,
}

struct Entry {
    process: ProcessIndex,
    thread: Arc<Thread>,
    id: ThreadId,
    /// The rows.
    parts: Parts,
}

/// The listed threads.
#[derive(Default)]
pub(super) struct Threads {
    entries: Vec<Option<Entry>>,
    free: Vec<usize>,
    /// Threads that have not ended.
    alive: HashMap<ThreadId, usize>,
    /// Ended threads with their serial number and the time of the reading that found them ended,
    /// the oldest first.
    ended: VecDeque<(usize, u64, Duration)>,
    /// Number of threads found so far.
    found: u64,
}

impl Threads {
    /// Lists a thread, unless it is listed. Also returns whether the thread was not listed.
    pub(super) fn list(
        &mut self,
        process: ProcessIndex,
        id: ThreadId,
        comm: &[u8],
    ) -> (ThreadIndex, bool) {
        if let Some(&index) = self.alive.get(&id)
            && self.process(ThreadIndex(index)) == Some(process)
        {
            return (ThreadIndex(index), false);
        }
        let serial = self.found;
        self.found += 1;
        let comm = Untrusted::from_comm(comm);
        let thread = Arc::new(Thread { tid: id.tid, serial, comm, ended: false });
        let entry = Some(Entry { process, thread, id, parts: Parts::default() });
        let index = reuse::put(&mut self.entries, &mut self.free, entry);
        self.alive.insert(id, index);
        (ThreadIndex(index), true)
    }

    /// Adds rows of a thread in a cgroup.
    pub(super) fn add_all(&mut self, thread: ThreadIndex, calls: &CgroupRow) {
        if let Some(entry) = self.entry_mut(thread) {
            entry.parts.add_all(calls);
        }
    }

    fn entry_mut(&mut self, thread: ThreadIndex) -> Option<&mut Entry> {
        self.entries.get_mut(thread.0)?.as_mut()
    }

    /// The process of a thread.
    pub(super) fn process(&self, thread: ThreadIndex) -> Option<ProcessIndex> {
        Some(self.entries.get(thread.0)?.as_ref()?.process)
    }

    /// Adds figures to the row `key` of a thread.
    pub(super) fn add(&mut self, thread: ThreadIndex, cgroup: u64, key: CallKey, new: &Figures) {
        if let Some(entry) = self.entry_mut(thread) {
            entry.parts.add(cgroup, key, new);
        }
    }

    /// Sets the name of a thread, and its id if the id has changed.
    pub(super) fn rename(&mut self, thread: ThreadIndex, tid: Option<u32>, comm: &[u8]) {
        let Some(entry) = self.entry_mut(thread) else { return };
        let comm = Untrusted::from_comm(comm);
        let tid = tid.unwrap_or(entry.thread.tid);
        if entry.thread.tid != tid || entry.thread.comm != comm {
            let thread = Arc::make_mut(&mut entry.thread);
            (thread.tid, thread.comm) = (tid, comm);
        }
    }

    /// Notes that a thread has ended.
    pub(super) fn end(&mut self, thread: ThreadIndex, now: Duration) {
        if let Some(entry) = self.entry_mut(thread) {
            Arc::make_mut(&mut entry.thread).ended = true;
            let (serial, id) = (entry.thread.serial, entry.id);
            if self.alive.get(&id) == Some(&thread.0) {
                self.alive.remove(&id);
            }
            self.ended.push_back((thread.0, serial, now));
        }
    }

    /// Removes ended threads whose time in the list is over. Passes their process and their rows to
    /// `fold`.
    pub(super) fn forget_ended(
        &mut self,
        now: Duration,
        keep: KeepEnded,
        mut fold: impl FnMut(ProcessIndex, &Parts),
    ) {
        while let Some(&(index, serial, ended)) = self.ended.front() {
            if keep.keeps(self.ended.len(), ended, now) {
                break;
            }
            self.ended.pop_front();
            let entry = &mut self.entries[index];
            if entry.as_ref().is_some_and(|entry| entry.thread.serial == serial)
                && let Some(entry) = entry.take()
            {
                fold(entry.process, &entry.parts);
                self.free.push(index);
            }
        }
    }

    /// Removes all threads of a process from the list.
    pub(super) fn forget_process(&mut self, process: ProcessIndex) {
        for (index, entry) in self.entries.iter_mut().enumerate() {
            if let Some(entry) = entry.take_if(|entry| entry.process == process) {
                self.free.push(index);
                if self.alive.get(&entry.id) == Some(&index) {
                    self.alive.remove(&entry.id);
                }
            }
        }
    }

    /// The rows of threads, by the index of their process. `processes` is the number of indexes.
    pub(super) fn rows(&self, processes: usize) -> Vec<Vec<ThreadRow>> {
        let mut rows = vec![Vec::new(); processes];
        for entry in self.entries.iter().flatten() {
            rows[entry.process.0].push(row(Some(Arc::clone(&entry.thread)), &entry.parts));
        }
        rows
    }
}

/// The row of a thread, or of several that have ended.
pub(super) fn row(thread: Option<Arc<Thread>>, parts: &Parts) -> ThreadRow {
    ThreadRow {
        thread,
        calls: Arc::clone(parts.calls()),
        cgroup: parts.cgroup(),
        cgroups: parts.by_cgroup().to_vec(),
    }
}
