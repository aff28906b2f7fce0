//! What can be looked at, and how its parts are told apart.

use std::sync::Arc;

use profiler_common::call::CallKey;

use crate::{
    model::{Figures, Process, Snapshot, Span},
    names::syscalls,
    present::units,
};

/// The three places to start from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Tab {
    /// Processes.
    Processes,
    /// System calls.
    Calls,
    /// Calls in flight.
    InFlight,
}

impl Tab {
    /// Every tab, in the order shown.
    pub(super) const ALL: [Self; 3] = [Self::Processes, Self::Calls, Self::InFlight];

    /// What it is called.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Processes => "Processes",
            Self::Calls => "System calls",
            Self::InFlight => "In flight",
        }
    }

    /// The tab `steps` further on, around the end.
    pub(super) fn step(self, steps: usize) -> Self {
        Self::ALL[(self as usize + steps) % Self::ALL.len()]
    }
}

/// What is on the screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum View {
    /// All processes.
    Processes,
    /// All system calls.
    Calls,
    /// Calls in flight.
    InFlight {
        /// Also those that wait by their nature.
        waiting: bool,
    },
    /// The system calls of a process.
    CallsOf(Arc<Process>),
    /// The processes that make a system call.
    CallersOf(CallKey),
    /// The latencies of a process, of a system call, or of the one by the other.
    Latency(Subject),
}

/// Whose latencies; `None` is all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Subject {
    /// The process.
    pub(super) process: Option<Arc<Process>>,
    /// The system call.
    pub(super) call: Option<CallKey>,
}

/// A process for good: its id alone may be used again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct ProcessId {
    tgid: Option<u32>,
    start_ns: u64,
}

impl From<&Process> for ProcessId {
    fn from(process: &Process) -> Self {
        Self { tgid: process.tgid, start_ns: process.start_ns }
    }
}

/// What a row is about, from one snapshot to the next.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) enum ItemId {
    /// A process.
    Process(ProcessId),
    /// A system call.
    Call(CallKey),
    /// A thread, by its process and id.
    Thread(ProcessId, u32),
}

/// A process id, or a dash for the bucket of calls that belong to none.
pub(super) fn pid_text(process: &Process) -> String {
    process.tgid.map_or_else(|| units::NONE.to_owned(), |tgid| tgid.to_string())
}

/// A process by name and id.
pub(super) fn process_name(process: &Process) -> String {
    match process.tgid {
        Some(tgid) => format!("{} ({tgid})", process.comm),
        None => process.comm.to_string(),
    }
}

impl View {
    /// What it is called, after the tab that it was reached from.
    pub(super) fn title(&self) -> String {
        match self {
            Self::Processes => Tab::Processes.title().into(),
            Self::Calls => Tab::Calls.title().into(),
            Self::InFlight { .. } => Tab::InFlight.title().into(),
            Self::CallsOf(process) => process_name(process),
            Self::CallersOf(key) => syscalls::name_with_abi(*key),
            Self::Latency(_) => "Latency".into(),
        }
    }
}

impl Subject {
    /// What it is called.
    pub(super) fn title(&self) -> String {
        let process = self.process.as_deref().map(process_name);
        match (self.call.map(syscalls::name_with_abi), process) {
            (Some(call), Some(process)) => format!("{call} by {process}"),
            (Some(call), None) => format!("{call} by all processes"),
            (None, Some(process)) => format!("all system calls of {process}"),
            (None, None) => "all system calls".into(),
        }
    }

    /// Its figures, all zero where the snapshot has none.
    pub(super) fn figures(&self, snapshot: &Snapshot, span: Span) -> Figures {
        let rows = match &self.process {
            None => &snapshot.calls[..],
            Some(process) => {
                let id = ProcessId::from(&**process);
                let row = snapshot.processes.iter().find(|p| ProcessId::from(&*p.process) == id);
                row.map_or(&[][..], |row| &row.calls)
            }
        };
        rows.iter().filter(|r| self.call.is_none_or(|k| k == r.key)).map(|r| span.of(r)).collect()
    }
}
