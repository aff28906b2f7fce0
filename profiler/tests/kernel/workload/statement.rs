//! The statement of a workload: the calls that it made. Tests compare the profiler's report with
//! it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The statement that a workload prints at its end.
#[derive(Serialize, Deserialize, Default, Debug)]
pub(crate) struct Statement {
    /// The processes that made calls that count.
    pub(crate) processes: Vec<Process>,
    /// Threads that are stated separately.
    #[serde(default)]
    pub(crate) threads: Vec<Thread>,
    /// Calls that were timed.
    #[serde(default)]
    pub(crate) timings: Vec<Timing>,
    /// Calls during which the thread lost the CPU.
    #[serde(default)]
    pub(crate) preempted: Vec<Preempted>,
    /// Calls of several threads that share the CPU time of their process.
    #[serde(default)]
    pub(crate) busy: Vec<Busy>,
    /// Operations of io_uring.
    #[serde(default)]
    pub(crate) operations: Vec<Operations>,
}

/// The io_uring operations of one process with one opcode.
#[derive(Serialize, Deserialize, Default, Debug, Clone, PartialEq, Eq)]
pub(crate) struct Operations {
    pub(crate) pid: u32,
    /// The name of the opcode. `None` for completions whose opcode the kernel does not report.
    pub(crate) operation: Option<String>,
    pub(crate) submitted: u64,
    pub(crate) completed: u64,
    pub(crate) errnos: BTreeMap<String, u64>,
    /// Completions after which more followed.
    pub(crate) posted: u64,
    pub(crate) overflowed: u64,
    /// Submitted with the flag that suppresses the completion.
    pub(crate) silent: u64,
    /// Completed, but submitted before the workload was released.
    pub(crate) unmatched: u64,
    /// In flight at the end.
    pub(crate) in_flight: u64,
}

/// The calls of one process.
#[derive(Serialize, Deserialize, Debug)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    /// Its name, if another process had the same id.
    #[serde(default)]
    pub(crate) comm: Option<String>,
    pub(crate) calls: Calls,
}

/// The calls of one thread.
#[derive(Serialize, Deserialize, Debug)]
pub(crate) struct Thread {
    pub(crate) tid: u32,
    /// Its last name.
    pub(crate) comm: String,
    pub(crate) calls: Calls,
}

/// Calls by ABI and name, such as `x86_64/read`.
pub(crate) type Calls = BTreeMap<String, Made>;

/// Calls of one kind, by outcome. Those that only `calls` includes returned with success.
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
    /// The requested durations in nanoseconds, ascending.
    pub(crate) asked_ns: Vec<u64>,
    /// The durations between a clock reading before each call and one after it, in nanoseconds,
    /// ascending. The order is not that of `asked_ns`.
    pub(crate) took_ns: Vec<u64>,
}

/// Calls of one kind that use the CPU all the time, by a thread that shares its CPU.
#[derive(Serialize, Deserialize, Debug, Clone)]
pub(crate) struct Preempted {
    pub(crate) pid: u32,
    pub(crate) syscall: String,
    pub(crate) calls: u64,
    /// Time between clock readings around the calls, nanoseconds.
    pub(crate) took_ns: u64,
    /// CPU time of the thread during the calls, nanoseconds.
    pub(crate) cpu_ns: u64,
    /// How often the thread was preempted during the calls.
    pub(crate) switches: u64,
}

/// Calls of the threads of one process, and their CPU time.
#[derive(Serialize, Deserialize, Debug, Clone)]
pub(crate) struct Busy {
    pub(crate) pid: u32,
    /// The number of calls of each kind.
    pub(crate) calls: u64,
    /// Time between clock readings around all calls, nanoseconds.
    pub(crate) took_ns: u64,
    /// CPU time of the threads during the calls, nanoseconds.
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

    /// Whether this report agrees with the statement, if at most `loss` entries and exits went
    /// uncounted. Each lost event makes one number less by one: without its entry, a call is
    /// missing or counts as denied; without its exit, it has no outcome. If the exit of one call
    /// and the entry of the next are lost, the first call gets the outcome of the second. So an
    /// errno may be too high by one for every two losses.
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
            // A thread that ends after a lost exit seems to end in that call.
            && self.never_returned.abs_diff(stated.never_returned) <= loss
            && self.denied.abs_diff(stated.denied) <= loss
            && self.errnos.keys().chain(stated.errnos.keys()).all(errno)
    }
}

impl Process {
    /// A process whose id no other process had.
    pub(crate) fn new(pid: u32, calls: Calls) -> Self {
        Self { pid, comm: None, calls }
    }
}

impl Statement {
    /// The statement of one process.
    pub(crate) fn of(pid: u32, calls: Calls) -> Self {
        Self::of_all(vec![Process::new(pid, calls)])
    }

    /// The statement of these processes.
    pub(crate) fn of_all(processes: Vec<Process>) -> Self {
        Self { processes, ..Self::default() }
    }

    /// The calls of all processes together.
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

/// Calls of exactly these kinds.
pub(crate) fn calls<const N: usize>(made: [(&str, Made); N]) -> Calls {
    let mut calls = Calls::new();
    made.iter().for_each(|(name, made)| add(&mut calls, name, made));
    calls
}
