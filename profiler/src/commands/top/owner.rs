//! The owner of a row: a process, threads of a process, or all processes of a site.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::Arc,
};

use super::{
    sites::{Site, SiteId},
    view::{ProcessId, process_name},
};
use crate::{
    model::{ENDED_COMM, Process, Thread},
    text::Untrusted,
};

/// A process, a part of a process, or all processes of a site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    /// The process. For several processes, a process without an id.
    pub(super) process: Arc<Process>,
    /// The threads of the process.
    pub(super) part: Part,
    /// Where the calls were made. `None` for calls in all sites.
    pub(super) site: Option<Site>,
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
    /// All processes of the site.
    All,
}

/// Identifies an [`Owner`] in all snapshots.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct OwnerId {
    process: ProcessId,
    part: PartId,
    site: Option<SiteId>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
enum PartId {
    Whole,
    /// The serial number. A thread id can be reused.
    Thread(u64),
    /// A hash of the name.
    Ended(u64),
    All,
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
            Part::All => PartId::All,
        };
        // The site identifies all its processes. Their row has a name that can change.
        let process = match self.part {
            Part::All => ProcessId::default(),
            _ => ProcessId::from(&*self.process),
        };
        OwnerId { process, part, site: self.site.as_ref().map(Site::id) }
    }

    /// Whether the process or the threads have ended.
    pub(super) fn has_ended(&self) -> bool {
        let part = match &self.part {
            Part::All => return self.process.ended,
            Part::Whole => false,
            Part::Thread(thread) => thread.ended,
            Part::Ended(_) => true,
        };
        part || has_ended(&self.process)
    }

    /// The same owner, ended.
    pub(super) fn end(&mut self) {
        match &mut self.part {
            Part::Whole | Part::All => Arc::make_mut(&mut self.process).ended = true,
            Part::Thread(thread) => Arc::make_mut(thread).ended = true,
            Part::Ended(_) => {}
        }
    }

    /// The thread, if the owner is one thread.
    pub(super) fn thread(&self) -> Option<&Arc<Thread>> {
        match &self.part {
            Part::Thread(thread) => Some(thread),
            Part::Whole | Part::Ended(_) | Part::All => None,
        }
    }

    /// The name of the thread or of the ended threads. `None` for a whole process.
    pub(super) fn thread_comm(&self) -> Option<&Untrusted> {
        match &self.part {
            Part::Whole | Part::All => None,
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
            Part::All => self.process.comm.to_string(),
        }
    }

    /// Names and ids, with the site.
    pub(super) fn full_title(&self) -> String {
        match (&self.part, &self.site) {
            (Part::All, Some(site)) => format!("{} {}", site.dimension.name(), self.title()),
            (_, Some(site)) => format!("{} in {}", self.title(), site.title()),
            (_, None) => self.title(),
        }
    }

    /// The process, unless the owner is all processes of a site.
    pub(super) fn one_process(&self) -> Option<&Arc<Process>> {
        (self.part != Part::All).then_some(&self.process)
    }
}

/// Whether the process of a row has ended, or the row is of several ended processes.
pub(super) fn has_ended(process: &Process) -> bool {
    process.ended || (process.tgid.is_none() && process.comm.raw() == ENDED_COMM)
}

impl From<Arc<Process>> for Owner {
    fn from(process: Arc<Process>) -> Self {
        Self { process, part: Part::Whole, site: None }
    }
}
