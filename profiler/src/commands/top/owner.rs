//! The owner of a row: a process, or threads of a process.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::Arc,
};

use super::view::{ProcessId, process_name};
use crate::{
    model::{ENDED_COMM, Process, Thread},
    text::Untrusted,
};

/// A process, or a part of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    /// The process.
    pub(super) process: Arc<Process>,
    /// The threads of the process.
    pub(super) part: Part,
}

/// Threads of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// All threads.
    Whole,
    /// One thread.
    Thread(Arc<Thread>),
    /// Several ended threads of this name, or all ended threads: [`ENDED_COMM`].
    Ended(Untrusted),
}

/// Identifies an [`Owner`] in all snapshots.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct OwnerId {
    process: ProcessId,
    part: PartId,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
enum PartId {
    Whole,
    /// The serial number. A thread id can be reused.
    Thread(u64),
    /// A hash of the name.
    Ended(u64),
}

impl Owner {
    /// The identity of the owner.
    pub(super) fn id(&self) -> OwnerId {
        let part = match &self.part {
            Part::Whole => PartId::Whole,
            Part::Thread(thread) => PartId::Thread(thread.serial),
            Part::Ended(name) => {
                let mut hasher = DefaultHasher::new();
                name.raw().hash(&mut hasher);
                PartId::Ended(hasher.finish())
            }
        };
        OwnerId { process: ProcessId::from(&*self.process), part }
    }

    /// Whether the process or the threads have ended.
    pub(super) fn has_ended(&self) -> bool {
        let process = &self.process;
        let is_sum_of_ended = process.tgid.is_none() && process.comm.raw() == ENDED_COMM;
        let part = match &self.part {
            Part::Whole => false,
            Part::Thread(thread) => thread.ended,
            Part::Ended(_) => true,
        };
        part || process.ended || is_sum_of_ended
    }

    /// The same owner, ended.
    pub(super) fn end(&mut self) {
        match &mut self.part {
            Part::Whole => Arc::make_mut(&mut self.process).ended = true,
            Part::Thread(thread) => Arc::make_mut(thread).ended = true,
            Part::Ended(_) => {}
        }
    }

    /// The thread, if the owner is one thread.
    pub(super) fn thread(&self) -> Option<&Arc<Thread>> {
        match &self.part {
            Part::Thread(thread) => Some(thread),
            Part::Whole | Part::Ended(_) => None,
        }
    }

    /// The name of the thread or of the ended threads. `None` for a whole process.
    pub(super) fn thread_comm(&self) -> Option<&Untrusted> {
        match &self.part {
            Part::Whole => None,
            Part::Thread(thread) => Some(&thread.comm),
            Part::Ended(name) => Some(name),
        }
    }

    /// Names and ids, as in the title of a view.
    pub(super) fn title(&self) -> String {
        let process = process_name(&self.process);
        match &self.part {
            Part::Whole => process,
            Part::Thread(thread) => format!("thread {} ({}) of {process}", thread.comm, thread.tid),
            Part::Ended(name) if name.raw() == ENDED_COMM => format!("ended threads of {process}"),
            Part::Ended(name) => format!("ended threads {name} of {process}"),
        }
    }
}

impl From<Arc<Process>> for Owner {
    fn from(process: Arc<Process>) -> Self {
        Self { process, part: Part::Whole }
    }
}
