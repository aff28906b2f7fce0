//! The list of processes: when they start, change their name, move and end.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use profiler_common::limits::COMM_LEN;

use super::{KeepEnded, reuse};
use crate::{model::Process, text::Untrusted};

/// Identifies a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// Process id.
    pub tgid: u32,
    /// Start of the process, in nanoseconds since boot.
    pub start_ns: u64,
}

/// A process in an [`Aggregate`](super::Aggregate). Valid until
/// [`Aggregate::forget_ended`](super::Aggregate::forget_ended) removes the process. That happens only
/// after [`Aggregate::thread_ended`](super::Aggregate::thread_ended) was called for all its threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessIndex(pub(super) usize);

/// A process in the list.
struct Entry<F> {
    identity: Identity,
    process: Arc<Process>,
    /// The name in the kernel.
    comm: [u8; COMM_LEN],
    /// When the process got its name.
    named_ns: u64,
    /// Number of its threads that have not ended.
    threads: u32,
    figures: F,
}

/// The listed processes, with the figures `F` of each.
pub(super) struct Processes<F> {
    entries: Vec<Option<Entry<F>>>,
    free: Vec<usize>,
    by_identity: HashMap<Identity, usize>,
    /// Processes without a listed record, of which a thread moved to another cgroup: at the current
    /// reading, and at the previous reading.
    moving: [Vec<usize>; 2],
    /// Ended processes and the time of the reading that found them ended, the oldest first.
    ended: VecDeque<(usize, Duration)>,
}

impl<F> Default for Processes<F> {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            free: Vec::new(),
            by_identity: HashMap::new(),
            moving: Default::default(),
            ended: VecDeque::new(),
        }
    }
}

impl<F: Default> Processes<F> {
    /// Adds a thread of a process, and lists the process unless it is listed.
    pub(super) fn thread_started(&mut self, identity: Identity, comm: &[u8]) -> ProcessIndex {
        let index = match self.by_identity.get(&identity) {
            Some(&index) => index,
            None => self.list(identity, comm),
        };
        if let Some(entry) = &mut self.entries[index] {
            entry.threads += 1;
            if entry.process.ended {
                Arc::make_mut(&mut entry.process).ended = false;
            }
        }
        ProcessIndex(index)
    }

    fn list(&mut self, identity: Identity, comm: &[u8]) -> usize {
        let Identity { tgid, start_ns } = identity;
        let entry = Some(Entry {
            identity,
            process: Arc::new(Process::new(tgid, start_ns, Untrusted::from_comm(comm))),
            // Differs from every name, so that the first name is set.
            comm: [0; COMM_LEN],
            named_ns: 0,
            threads: 0,
            figures: F::default(),
        });
        let index = reuse::put(&mut self.entries, &mut self.free, entry);
        self.by_identity.insert(identity, index);
        index
    }
}

impl<F> Processes<F> {
    /// Notes that a thread of a process has ended.
    pub(super) fn thread_ended(&mut self, process: ProcessIndex, now: Duration) {
        if self.thread_gone(process) {
            self.end(process.0, now);
        }
    }

    /// Notes that a thread of a process moved to another cgroup.
    pub(super) fn thread_left(&mut self, process: ProcessIndex) {
        if self.thread_gone(process) {
            self.moving[0].push(process.0);
        }
    }

    /// Removes a thread of a process. Returns whether it was the last one.
    fn thread_gone(&mut self, process: ProcessIndex) -> bool {
        let Some(entry) = &mut self.entries[process.0] else { return false };
        entry.threads = entry.threads.saturating_sub(1);
        entry.threads == 0
    }

    fn end(&mut self, index: usize, now: Duration) {
        if let Some(entry) = &mut self.entries[index] {
            Arc::make_mut(&mut entry.process).ended = true;
            self.ended.push_back((index, now));
        }
    }

    /// Ends processes whose last thread left and was not found again by the next reading.
    pub(super) fn end_moved(&mut self, now: Duration) {
        let [left, left_before] = std::mem::take(&mut self.moving);
        self.moving[1] = left;
        for index in left_before {
            let is_gone = |entry: &Entry<F>| entry.threads == 0 && !entry.process.ended;
            if self.entries[index].as_ref().is_some_and(is_gone) {
                self.end(index, now);
            }
        }
    }

    /// Removes ended processes whose time in the list is over. Passes their index and their figures
    /// to `fold`.
    pub(super) fn forget_ended(
        &mut self,
        now: Duration,
        keep: KeepEnded,
        mut fold: impl FnMut(ProcessIndex, F),
    ) {
        while let Some(&(index, ended)) = self.ended.front() {
            let is_alive = self.entries[index].as_ref().is_some_and(|entry| entry.threads > 0);
            if !is_alive && keep.keeps(self.ended.len(), ended, now) {
                break;
            }
            self.ended.pop_front();
            // After all known threads of a process have ended, a further thread can make its first
            // call. The process is then alive again.
            if is_alive {
                continue;
            }
            if let Some(entry) = self.entries[index].take() {
                self.by_identity.remove(&entry.identity);
                self.free.push(index);
                fold(ProcessIndex(index), entry.figures);
            }
        }
    }

    /// Sets the name that a process got at `named_ns`. The latest name wins.
    pub(super) fn rename(&mut self, process: ProcessIndex, comm: &[u8; COMM_LEN], named_ns: u64) {
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

    /// Sets the real user id of a process.
    pub(super) fn set_uid(&mut self, process: ProcessIndex, uid: u32) {
        if let Some(entry) = &mut self.entries[process.0]
            && entry.process.uid != Some(uid)
        {
            Arc::make_mut(&mut entry.process).uid = Some(uid);
        }
    }

    /// A process.
    pub(super) fn process(&self, process: ProcessIndex) -> Option<&Arc<Process>> {
        self.entries[process.0].as_ref().map(|entry| &entry.process)
    }

    /// Finds a process by its identity.
    pub(super) fn find(&self, identity: Identity) -> Option<ProcessIndex> {
        self.by_identity.get(&identity).copied().map(ProcessIndex)
    }

    /// The name of a process in the kernel.
    pub(super) fn comm(&self, process: ProcessIndex) -> Option<&[u8; COMM_LEN]> {
        self.entries[process.0].as_ref().map(|entry| &entry.comm)
    }

    /// The figures of a process.
    pub(super) fn figures_mut(&mut self, process: ProcessIndex) -> Option<&mut F> {
        self.entries[process.0].as_mut().map(|entry| &mut entry.figures)
    }

    /// All processes with their figures.
    pub(super) fn iter(&self) -> impl Iterator<Item = (ProcessIndex, &Arc<Process>, &F)> {
        let indexed = self.entries.iter().enumerate();
        indexed.filter_map(|(index, entry)| {
            let Entry { process, figures, .. } = entry.as_ref()?;
            Some((ProcessIndex(index), process, figures))
        })
    }

    /// The figures of all processes.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (ProcessIndex, &mut F)> {
        let indexed = self.entries.iter_mut().enumerate();
        indexed
            .filter_map(|(index, entry)| Some((ProcessIndex(index), &mut entry.as_mut()?.figures)))
    }

    /// The number of indexes of processes that are in use or were.
    pub(super) fn indexes(&self) -> usize {
        self.entries.len()
    }
}
