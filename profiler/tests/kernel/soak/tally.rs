//! Counts what was run and compared, and collects failures.

use std::{
    any::Any,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

/// Maximum number of failures whose text is kept.
const MOST_FAILURES: usize = 20;

#[derive(Default)]
pub(super) struct Tally {
    pub(super) tasks: AtomicU64,
    /// Workloads whose statements were compared, and the calls that they stated.
    pub(super) compared: AtomicU64,
    pub(super) calls: AtomicU64,
    /// Statements that were not compared, because ids may have been reused.
    pub(super) skipped: AtomicU64,
    /// Statements that were not compared by process, because the profiler reported overflow.
    pub(super) overflowed: AtomicU64,
    /// Reported lost calls, on kernels that skip programs.
    pub(super) lost: AtomicU64,
    pub(super) killed: AtomicU64,
    pub(super) attached: AtomicU64,
    pub(super) scrapes: AtomicU64,
    failures: Mutex<Vec<String>>,
}

impl Tally {
    pub(super) fn fail(&self, what: &str) {
        let mut failures = self.failures.lock().expect("no panic while it is held");
        if failures.len() < MOST_FAILURES {
            failures.push(what.to_owned());
        }
    }

    pub(super) fn failures(&self) -> Vec<String> {
        self.failures.lock().expect("no panic while it is held").clone()
    }

    /// Runs a check. A panic is a failure.
    pub(super) fn check(&self, what: &str, check: impl FnOnce()) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(check)) {
            self.fail(&format!("{what}: {}", message(&*panic)));
        }
    }

    pub(super) fn count(counter: &AtomicU64, more: u64) {
        counter.fetch_add(more, Relaxed);
    }
}

/// The message of a panic.
pub(super) fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic").to_owned()
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |counter: &AtomicU64| counter.load(Relaxed);
        write!(
            f,
            "{} tasks, {} statements of {} calls compared, {} attachments, {} killed, {} scrapes, \
             {} failures",
            of(&self.tasks),
            of(&self.compared),
            of(&self.calls),
            of(&self.attached),
            of(&self.killed),
            of(&self.scrapes),
            self.failures().len()
        )?;
        let (skipped, lost) = (of(&self.skipped), of(&self.lost));
        let overflowed = of(&self.overflowed);
        if overflowed > 0 {
            write!(f, ", {overflowed} not compared since the tables were full and said so")?;
        }
        if skipped > 0 {
            write!(f, ", {skipped} not compared since ids came round")?;
        }
        if lost > 0 {
            write!(f, ", {lost} calls lost, and said to be")?;
        }
        Ok(())
    }
}
