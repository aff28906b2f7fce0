//! What a workload says that it did: the truth that the profiler is held against.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What a workload prints when it is done.
#[derive(Serialize, Deserialize, Default, Debug)]
pub(crate) struct Statement {
    /// Of every process that made calls that count.
    pub(crate) processes: Vec<Process>,
    /// Of threads that are stated apart.
    #[serde(default)]
    pub(crate) threads: Vec<Thread>,
    /// Of those that timed their calls.
    #[serde(default)]
    pub(crate) timings: Vec<Timing>,
    /// Of calls that lost the CPU.
    #[serde(default)]
    pub(crate) preempted: Vec<Preempted>,
    /// Of calls of several threads that share the CPU time of their process.
    #[serde(default)]
    pub(crate) busy: Vec<Busy>,
    /// Of io_uring.
    #[serde(default)]
    pub(crate) operations: Vec<Operations>,
}

/// The operations of io_uring of one opcode of one process.
#[derive(Serialize, Deserialize, Default, Debug, Clone, PartialEq, Eq)]
pub(crate) struct Operations {
    pub(crate) pid: u32,
    /// The name of the opcode; `None` for completions whose opcode the kernel does not tell.
    pub(crate) operation: Option<String>,
    pub(crate) submitted: u64,
    pub(crate) completed: u64,
    pub(crate) errnos: BTreeMap<String, u64>,
    /// Further completions.
    pub(crate) posted: u64,
    pub(crate) overflowed: u64,
    /// Submitted with the wish for no completion.
    pub(crate) silent: u64,
    /// Completed, and submitted before the workload was let go.
    pub(crate) unmatched: u64,
    /// In flight at the end.
    pub(crate) in_flight: u64,
}

/// The calls of one process.
#[derive(Serialize, Deserialize, Debug)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    /// Its name, where another process had the same id.
    #[serde(default)]
    pub(crate) comm: Option<String>,
    pub(crate) calls: Calls,
}

/// The calls of one thread.
#[derive(Serialize, Deserialize, Debug)]
pub(crate) struct Thread {
    pub(crate) tid: u32,
    /// The name that it had last.
    pub(crate) comm: String,
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
    /// What each call was asked to take, nanoseconds; ascending.
    pub(crate) asked_ns: Vec<u64>,
    /// What each call took, between a clock reading before it and one after it,
    /// nanoseconds; ascending, and so not each beside what it was asked.
    pub(crate) took_ns: Vec<u64>,
}

/// Calls of one kind that work all the time, by a thread that has to share its CPU.
#[derive(Serialize, Deserialize, Debug, Clone)]
pub(crate) struct Preempted {
    pub(crate) pid: u32,
    pub(crate) syscall: String,
    pub(crate) calls: u64,
    /// Time between clock readings around the calls, nanoseconds.
    pub(crate) took_ns: u64,
    /// CPU time of the thread meanwhile, nanoseconds.
    pub(crate) cpu_ns: u64,
    /// How often the thread lost the CPU meanwhile though it had work.
    pub(crate) switches: u64,
}

/// Calls of the threads of one process, and their CPU time.
#[derive(Serialize, Deserialize, Debug, Clone)]
pub(crate) struct Busy {
    pub(crate) pid: u32,
    /// Calls of each kind.
    pub(crate) calls: u64,
    /// Time between clock readings around all calls, nanoseconds.
    pub(crate) took_ns: u64,
    /// CPU time of the threads meanwhile, nanoseconds.
    pub(crate) cpu_ns: u64,
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

    /// Calls that a signal interrupted and that were restarted.
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

    /// Whether this is what was reported of `stated`, where of all calls no more than
    /// `loss` entries and exits went uncounted. Each that did makes one number less by one:
    /// without its entry a call is none, or denied; without its exit it has no outcome. And of
    /// two calls in a row, the first without its exit and the second without its entry, the
    /// first has the outcome of the second: so one errno in two losses may be one too many.
    pub(crate) fn is(&self, stated: &Self, loss: u64) -> bool {
        let fewer =
            |reported: u64, stated: u64| stated.checked_sub(reported).is_some_and(|n| n <= loss);
        let errno = |name: &String| {
            let of = |made: &Self| made.errnos.get(name).copied().unwrap_or(0);
            let more = of(self).checked_sub(of(stated));
            fewer(of(self), of(stated)) || more.is_some_and(|n| n <= loss / 2)
        };
        fewer(self.calls, stated.calls)
            && fewer(self.restarted, stated.restarted)
            // A thread that ends after a missed exit seems to end in that call.
            && self.never_returned.abs_diff(stated.never_returned) <= loss
            && self.denied.abs_diff(stated.denied) <= loss
            && self.errnos.keys().chain(stated.errnos.keys()).all(errno)
    }
}

impl Process {
    /// One whose id no other process had.
    pub(crate) fn new(pid: u32, calls: Calls) -> Self {
        Self { pid, comm: None, calls }
    }
}

impl Statement {
    /// Of one process alone.
    pub(crate) fn of(pid: u32, calls: Calls) -> Self {
        Self::of_all(vec![Process::new(pid, calls)])
    }

    /// Of these processes.
    pub(crate) fn of_all(processes: Vec<Process>) -> Self {
        Self { processes, ..Self::default() }
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

/// Calls of these kinds, and no others that count.
pub(crate) fn calls<const N: usize>(made: [(&str, Made); N]) -> Calls {
    let mut calls = Calls::new();
    made.iter().for_each(|(name, made)| add(&mut calls, name, made));
    calls
}
