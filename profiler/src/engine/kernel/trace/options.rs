//! What a trace follows, and how much it copies.

use profiler_common::{
    recorder::{MOST_CALLS, SLOT_BYTES, rings_in, slots_of_ring},
    trace::MAX_TEXT,
};

use crate::engine::kernel::{
    error::KernelError,
    options::{Options, within},
};

/// What a trace follows, and how much it copies.
#[derive(Clone, Debug)]
pub struct TraceOptions {
    /// The scope, the filters and the command. The other options are of no importance.
    pub options: Options,
    /// Bytes of text and of buffers that are copied, at most.
    pub string_limit: u32,
    /// Send only calls that failed.
    pub only_failed: bool,
    /// Send only calls that failed with one of these errnos; all calls if it is empty.
    pub errnos: Vec<u32>,
    /// Send only calls that took at least so many nanoseconds; all calls if it is 0.
    pub slower_ns: u64,
    /// Name the open files that calls use.
    pub files: bool,
    /// Size of the ring buffer, bytes. The next power of two is used. With a flight recorder, the
    /// bytes of all rings.
    pub ring_bytes: u32,
    /// Makes the trace a flight recorder. `only_failed`, `errnos` and `slower_ns` then select the
    /// calls that are reported: each of them by itself.
    pub last: Option<Last>,
}

/// What a flight recorder keeps and reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Last {
    /// Calls that are kept of each thread.
    pub calls: u32,
    /// Report the end of each process that a signal kills, or that exits with another code than 0.
    pub failures: bool,
}

/// Sizes of a flight recorder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sizes {
    /// Rings: one per thread.
    pub(super) rings: u32,
    /// Slots of all rings.
    pub(super) slots: u32,
}

/// Sizes of the ring buffer, bytes: the least and the most.
const RING_BYTES: std::ops::RangeInclusive<u32> = 64 * 1024..=1024 * 1024 * 1024;

impl Default for TraceOptions {
    fn default() -> Self {
        Self {
            options: Options::default(),
            string_limit: 32,
            only_failed: false,
            errnos: Vec::new(),
            slower_ns: 0,
            files: true,
            ring_bytes: 16 * 1024 * 1024,
            last: None,
        }
    }
}

impl TraceOptions {
    /// The sizes of the flight recorder; none if the trace is not one.
    pub(super) fn recorder(&self) -> Sizes {
        let Some(last) = self.last else { return Sizes::default() };
        let rings = rings_in(self.ring_bytes.into(), last.calls);
        Sizes { rings, slots: rings * slots_of_ring(last.calls) }
    }

    /// Checks the limits.
    pub(super) fn check(&self) -> Result<(), KernelError> {
        self.options.check()?;
        let (least, most) = RING_BYTES.into_inner();
        within("size of the ring buffer", self.ring_bytes, least, most)?;
        within("limit of strings", self.string_limit, 0, MAX_TEXT)?;
        if let Some(last) = self.last {
            within("number of calls", last.calls, 1, MOST_CALLS)?;
            let least = slots_of_ring(last.calls) * SLOT_BYTES as u32;
            within("memory for the last calls", self.ring_bytes, least, most)?;
        }
        for &errno in &self.errnos {
            within("errno", errno, 1, 4095)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_checked() {
        assert!(TraceOptions::default().check().is_ok());
        let bad = [
            TraceOptions { ring_bytes: 1, ..TraceOptions::default() },
            TraceOptions { string_limit: 4095, ..TraceOptions::default() },
            TraceOptions { errnos: vec![4096], ..TraceOptions::default() },
        ];
        for options in bad {
            assert!(matches!(options.check(), Err(KernelError::Limit { .. })), "{options:?}");
        }
    }
}
