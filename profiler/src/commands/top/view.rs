//! The views of the screen, and the identities of their rows.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::Arc,
};

use profiler_common::call::CallKey;

use super::{
    call_sets::{CallSet, SetsBy},
    owner::{Owner, OwnerId, Part},
    shown::Shown,
    sites::Site,
};
use crate::{
    model::{CallRow, Dimension, Figures, Process, Span},
    names::{operations, syscalls, waits::waits_by_nature},
};

/// The tabs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Tab {
    /// Processes.
    Processes,
    /// Syscalls.
    Calls,
    /// Calls in flight.
    InFlight,
    /// Operations of io_uring.
    Operations,
}

impl Tab {
    /// All tabs, in the order of the screen.
    pub(super) const ALL: [Self; 4] =
        [Self::Processes, Self::Calls, Self::InFlight, Self::Operations];

    /// The title.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Processes => "Processes",
            Self::Calls => "Syscalls",
            Self::InFlight => "In flight",
            Self::Operations => "io_uring",
        }
    }

    /// The tab `steps` after this one. After the last tab follows the first.
    pub(super) fn step(self, steps: usize) -> Self {
        Self::ALL[(self as usize + steps) % Self::ALL.len()]
    }
}

/// A view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum View {
    /// Containers, pods, units or cgroups.
    Sites(Dimension),
    /// The processes in a site, or all processes.
    Processes(Option<Site>),
    /// The threads in a site, or all threads.
    Threads(Option<Site>),
    /// All syscalls.
    Calls,
    /// Calls in flight.
    InFlight,
    /// The syscalls of a process, a thread or a site.
    CallsOf(Owner),
    /// Sets of syscalls: those of a process, a thread or a site, or of all processes.
    Sets(SetsBy, Option<Owner>),
    /// The syscalls in a set: those of a process, a thread or a site, or of all processes.
    CallsIn(CallSet, Option<Owner>),
    /// The processes that make a syscall.
    CallersOf(CallKey),
    /// Operations of io_uring, by process and opcode.
    Operations,
    /// The results and latencies of the operations of a process with an opcode.
    Operation(Arc<Process>, Option<u8>),
    /// The latencies of an owner, of a syscall or a set of them, or of both.
    Latency(Subject),
    /// On what the calls of a subject failed, and why they were refused.
    Failures(Subject),
}

/// The calls of a view of latencies. `None` in a field means all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Subject {
    /// The process, thread or site.
    pub(super) owner: Option<Owner>,
    /// The syscall.
    pub(super) call: Option<CallKey>,
    /// The set of syscalls.
    pub(super) set: Option<CallSet>,
}

/// Identifies a row of the list of processes. A process has its id and its start, because the
/// kernel reuses ids. A row without a process id has a hash of its name.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct ProcessId {
    tgid: Option<u32>,
    start_ns: u64,
    name: u64,
}

impl From<&Process> for ProcessId {
    fn from(process: &Process) -> Self {
        let name = match process.tgid {
            Some(_) => 0,
            None => {
                let mut hasher = DefaultHasher::new();
                (process.comm.raw(), process.ended).hash(&mut hasher);
                hasher.finish()
            }
        };
        Self { tgid: process.tgid, start_ns: process.start_ns, name }
    }
}

/// Identifies a row in all snapshots.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) enum ItemId {
    /// A process, a thread or a site.
    Owner(OwnerId),
    /// A syscall.
    Call(CallKey),
    /// A set of syscalls.
    Set(CallSet),
    /// A thread in a call: its process and its thread id.
    InFlight(ProcessId, u32),
    /// Operations: their process and their opcode.
    Operation(ProcessId, Option<u8>),
}

/// The name and the id of a process.
pub(super) fn process_name(process: &Process) -> String {
    match process.tgid {
        Some(tgid) => format!("{} ({tgid})", process.comm),
        None => process.comm.to_string(),
    }
}

impl View {
    /// The title, as part of the path from the tab.
    pub(super) fn title(&self) -> String {
        match self {
            Self::Sites(dimension) => sites_title(*dimension).into(),
            Self::Processes(None) => Tab::Processes.title().into(),
            Self::Threads(None) => "Threads".into(),
            Self::Processes(Some(site)) => site.title(),
            Self::Threads(Some(site)) => format!("threads of {}", site.title()),
            Self::Calls => Tab::Calls.title().into(),
            Self::InFlight => Tab::InFlight.title().into(),
            Self::CallsOf(owner) => owner.title(),
            Self::Sets(by, None) => by.title().into(),
            Self::Sets(by, Some(owner)) => format!("{} of {}", by.title(), owner.title()),
            Self::CallsIn(set, _) => set.title(),
            Self::CallersOf(key) => syscalls::name_with_abi(*key),
            Self::Operations => Tab::Operations.title().into(),
            Self::Operation(process, opcode) => {
                format!("{} by {}", operations::name(*opcode), process_name(process))
            }
            Self::Latency(_) => "Latency".into(),
            Self::Failures(_) => "Errors".into(),
        }
    }
}

/// The title of a list of sites.
fn sites_title(dimension: Dimension) -> &'static str {
    match dimension {
        Dimension::Container => "Containers",
        Dimension::Pod => "Pods",
        Dimension::Unit => "Units",
        _ => "Cgroups",
    }
}

impl Subject {
    /// The title.
    pub(super) fn title(&self) -> String {
        let owner = self.owner.as_ref().map(Owner::full_title);
        match (self.call.map(syscalls::name_with_abi), owner) {
            (Some(call), Some(owner)) => format!("{call} by {owner}"),
            (Some(call), None) => format!("{call} by all processes"),
            (None, owner) => {
                let calls = match self.set {
                    None => "all syscalls".into(),
                    Some(set) => format!("syscalls in {}", set.title()),
                };
                owner.map_or_else(|| calls.clone(), |owner| format!("{calls} of {owner}"))
            }
        }
    }

    /// The sum of the figures.
    pub(super) fn figures(&self, shown: &Shown, selection: Selection) -> Figures {
        self.rows(shown, selection.waits).map(|row| selection.span.of(row)).collect()
    }

    /// The rows of the calls. Includes a syscall that waits by nature if it is the subject, or
    /// if `waits` is set.
    fn rows<'a>(&self, shown: &'a Shown, waits: bool) -> impl Iterator<Item = &'a CallRow> {
        let rows = match &self.owner {
            None => &shown.snapshot.calls[..],
            Some(owner) => shown.groups.find(owner).map_or(&[][..], |group| &group.calls[..]),
        };
        let (call, set) = (self.call, self.set);
        rows.iter().filter(move |row| match call {
            Some(key) => key == row.key,
            None => {
                let is_in_set = set.is_none_or(|set| set.contains(row.key));
                is_in_set && (waits || !waits_by_nature(row.key))
            }
        })
    }
}

/// The figures of a snapshot that a view shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Selection {
    /// The time that the figures cover.
    pub(super) span: Span,
    /// Whether syscalls that wait by nature are included.
    pub(super) waits: bool,
}

/// Why a view shows figures since the start instead of those of the interval.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum SinceStart {
    /// The process has ended.
    Ended,
    /// The container, pod, unit or cgroup was removed.
    Removed,
    /// No call was counted in the interval.
    Idle,
}

impl SinceStart {
    /// The text on the screen.
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Ended => "ended: figures since the start",
            Self::Removed => "removed: figures since the start",
            Self::Idle => "idle in this interval: figures since the start",
        }
    }
}

impl View {
    /// Whether the view is a list.
    pub(super) fn is_list(&self) -> bool {
        !matches!(self, Self::Latency(_) | Self::Failures(_) | Self::Operation(..))
    }

    /// The site whose processes or threads are listed.
    pub(super) fn site(&self) -> Option<&Site> {
        match self {
            Self::Processes(site) | Self::Threads(site) => site.as_ref(),
            _ => None,
        }
    }

    /// The process, thread or site whose calls the view has.
    pub(super) fn owner(&self) -> Option<&Owner> {
        match self {
            Self::CallsOf(owner) => Some(owner),
            Self::Sets(_, owner) | Self::CallsIn(_, owner) => owner.as_ref(),
            Self::Latency(subject) | Self::Failures(subject) => subject.owner.as_ref(),
            _ => None,
        }
    }

    /// The process of the view, if it is of a process or a thread.
    pub(super) fn process(&self) -> Option<&Arc<Process>> {
        match self {
            Self::Operation(process, _) => Some(process),
            _ => self.owner().and_then(Owner::one_process),
        }
    }

    /// Why the view shows figures since the start, although the figures of the interval are
    /// selected. `None` if the interval has figures.
    pub(super) fn since_start(&self, shown: &Shown, selection: Selection) -> Option<SinceStart> {
        let subject = match self {
            Self::Latency(subject) | Self::Failures(subject) => subject.clone(),
            _ => {
                let set = if let Self::CallsIn(set, _) = self { Some(*set) } else { None };
                Subject { owner: Some(self.owner()?.clone()), call: None, set }
            }
        };
        if selection.span == Span::Total {
            return None;
        }
        let group = subject.owner.as_ref().and_then(|owner| shown.groups.find(owner));
        if let Some(group) = group.filter(|group| group.owner.has_ended()) {
            let is_site = group.owner.part == Part::All;
            return Some(if is_site { SinceStart::Removed } else { SinceStart::Ended });
        }
        let is_idle = subject.rows(shown, selection.waits).all(|row| row.recent.is_empty());
        is_idle.then_some(SinceStart::Idle)
    }
}
