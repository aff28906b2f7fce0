//! Time off the CPU: the part of a latency in which the thread of the call did not run.

use serde::{Deserialize, Serialize};

/// Time off the CPU, nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OffCpu {
    /// Time blocked: from leaving the CPU to the wake-up.
    pub waiting_ns: u64,
    /// Time for which the thread could have run and waited for a CPU.
    pub runnable_ns: u64,
}

impl OffCpu {
    /// Both parts.
    pub fn total_ns(self) -> u64 {
        self.waiting_ns.saturating_add(self.runnable_ns)
    }

    /// Adds time.
    pub fn add(&mut self, other: Self) {
        self.waiting_ns += other.waiting_ns;
        self.runnable_ns += other.runnable_ns;
    }

    /// What was added since it was `before`.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        Self {
            waiting_ns: self.waiting_ns.saturating_sub(before.waiting_ns),
            runnable_ns: self.runnable_ns.saturating_sub(before.runnable_ns),
        }
    }

    /// The same time, cut to at most `total_ns`.
    #[must_use]
    pub fn at_most(self, total_ns: u64) -> Self {
        let waiting_ns = self.waiting_ns.min(total_ns);
        Self { waiting_ns, runnable_ns: self.runnable_ns.min(total_ns - waiting_ns) }
    }
}
