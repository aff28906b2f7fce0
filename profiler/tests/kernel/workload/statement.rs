//! What a workload says that it did: the truth that the profiler is held against.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What a workload prints when it is done.
#[derive(Serialize, Deserialize, Default, Debug)]
pub(crate) struct Statement {
    /// Of every process that made calls that count.
    pub(crate) processes: Vec<Process>,
    /// Of those that slept.
    #[serde(default)]
    pub(crate) timings: Vec<Timing>,
}

/// The calls of one process.
#[derive(Serialize, Deserialize, Debug)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    pub(crate) calls: Calls,
}

/// By ABI and name, as `x86_64/read`.
pub(crate) type Calls = BTreeMap<String, Made>;

/// Calls of one kind, by how they ended. Those that are in none of the fields but
/// `calls` returned.
#[derive(Serialize, Deserialize, Default, Debug, Clone, PartialEq, Eq)]
#[serde(default)]
pub(crate) struct Made {
    pub(crate) calls: u64,
    pub(crate) errnos: BTreeMap<String, u64>,
    pub(crate) restarted: u64,
    pub(crate) never_returned: u64,
    pub(crate) denied: u64,
}

/// Calls of one kind by one process, each timed around it by the process itself.
#[derive(Serialize, Deserialize, Debug, Clone)]
pub(crate) struct Timing {
    pub(crate) pid: u32,
    pub(crate) syscall: String,
    /// What each call was asked to take.
    pub(crate) asked_ns: u64,
    pub(crate) calls: u64,
    pub(crate) total_ns: u64,
    pub(crate) min_ns: u64,
    pub(crate) max_ns: u64,
}

impl Made {
    /// Calls that returned with success.
    pub(crate) fn succeeded(calls: u64) -> Self {
        Self { calls, ..Self::default() }
    }

    /// Calls that all returned with this errno.
    pub(crate) fn failed(calls: u64, errno: &str) -> Self {
        Self { calls, errnos: [(errno.to_owned(), calls)].into(), ..Self::default() }
    }

    /// Calls that ended with their thread.
    pub(crate) fn never_returned(calls: u64) -> Self {
        Self { calls, never_returned: calls, ..Self::default() }
    }

    /// Calls that a signal broke, to be restarted.
    pub(crate) fn restarted(calls: u64) -> Self {
        Self { calls, restarted: calls, ..Self::default() }
    }

    /// Attempts that were refused before they became calls.
    pub(crate) fn denied(attempts: u64) -> Self {
        Self { denied: attempts, ..Self::default() }
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.calls += other.calls;
        self.restarted += other.restarted;
        self.never_returned += other.never_returned;
        self.denied += other.denied;
        for (errno, count) in &other.errnos {
            *self.errnos.entry(errno.clone()).or_default() += count;
        }
    }
}

impl Statement {
    /// Of one process alone.
    pub(crate) fn of(pid: u32, calls: Calls) -> Self {
        Self { processes: vec![Process { pid, calls }], timings: Vec::new() }
    }

    /// All processes together.
    pub(crate) fn total(&self) -> Calls {
        let mut total = Calls::new();
        for (name, made) in self.processes.iter().flat_map(|process| &process.calls) {
            total.entry(name.clone()).or_default().add(made);
        }
        total
    }
}

/// Adds calls of one kind.
pub(crate) fn add(calls: &mut Calls, name: &str, made: &Made) {
    calls.entry(format!("x86_64/{name}")).or_default().add(made);
}
