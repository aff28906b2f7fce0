//! Rows of threads: the calls of a process, by thread.
//!
//! An ended thread stays listed like an ended process, and is then added to the row of ended
//! threads of its process. So the rows of the threads of a process always sum up to the rows of
//! the process.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use profiler_common::call::CallKey;

use super::table::{KeepEnded, MAX_ENDED, row_mut};
use crate::{
    model::{CallRow, Figures, Thread, ThreadRow},
    text::Untrusted,
};

/// A thread in an [`Aggregate`](super::Aggregate). Good until the thread has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThreadIndex(usize);

struct Entry {
    /// Index of its process.
    process: usize,
    thread: Arc<Thread>,
    /// Rows by key. Shared with all snapshots since the last change.
    calls: Arc<Vec<CallRow>>,
}

/// The listed threads.
#[derive(Default)]
pub(super) struct Threads {
    entries: Vec<Option<Entry>>,
    free: Vec<usize>,
    /// Ended threads with their serial number and the time of the reading that found them ended,
    /// the oldest first.
    ended: VecDeque<(usize, u64, Duration)>,
    /// Number of threads found so far.
    found: u64,
}

impl Threads {
    /// Lists a thread with these rows.
    pub(super) fn list(
        &mut self,
        process: usize,
        tid: u32,
        comm: &[u8],
        calls: Vec<CallRow>,
    ) -> ThreadIndex {
        let serial = self.found;
        self.found += 1;
        let comm = Untrusted::from_comm(comm);
        let thread = Arc::new(Thread { tid, serial, comm, ended: false });
        let entry = Some(Entry { process, thread, calls: Arc::new(calls) });
        ThreadIndex(match self.free.pop() {
            Some(index) => {
                self.entries[index] = entry;
                index
            }
            None => {
                self.entries.push(entry);
                self.entries.len() - 1
            }
        })
    }

    fn entry_mut(&mut self, thread: ThreadIndex) -> Option<&mut Entry> {
        self.entries.get_mut(thread.0)?.as_mut()
    }

    /// The index of the process of a thread.
    pub(super) fn process(&self, thread: ThreadIndex) -> Option<usize> {
        Some(self.entries.get(thread.0)?.as_ref()?.process)
    }

    /// Adds figures to the row `key` of a thread.
    pub(super) fn add(&mut self, thread: ThreadIndex, key: CallKey, new: &Figures) {
        if let Some(entry) = self.entry_mut(thread) {
            row_mut(Arc::make_mut(&mut entry.calls), key).total.merge(new);
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
            let serial = entry.thread.serial;
            self.ended.push_back((thread.0, serial, now));
        }
    }

    /// Removes ended threads whose time in the list is over. Passes the index of their process and
    /// their rows to `fold`.
    pub(super) fn forget_ended(
        &mut self,
        now: Duration,
        keep: KeepEnded,
        mut fold: impl FnMut(usize, &[CallRow]),
    ) {
        while let Some(&(index, serial, ended)) = self.ended.front() {
            if self.ended.len() <= MAX_ENDED && keep.keeps(now, ended) {
                break;
            }
            self.ended.pop_front();
            let entry = &mut self.entries[index];
            if entry.as_ref().is_some_and(|entry| entry.thread.serial == serial)
                && let Some(entry) = entry.take()
            {
                fold(entry.process, &entry.calls);
                self.free.push(index);
            }
        }
    }

    /// Removes all threads of a process from the list.
    pub(super) fn forget_process(&mut self, process: usize) {
        for (index, entry) in self.entries.iter_mut().enumerate() {
            if entry.take_if(|entry| entry.process == process).is_some() {
                self.free.push(index);
            }
        }
    }

    /// The rows of threads, by the index of their process. `processes` is the number of processes.
    pub(super) fn rows(&self, processes: usize) -> Vec<Vec<ThreadRow>> {
        let mut rows = vec![Vec::new(); processes];
        for entry in self.entries.iter().flatten() {
            rows[entry.process].push(ThreadRow {
                thread: Some(Arc::clone(&entry.thread)),
                calls: Arc::clone(&entry.calls),
            });
        }
        rows
    }
}
