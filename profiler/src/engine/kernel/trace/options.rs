//! What a trace follows, and how much it copies.

use profiler_common::trace::MAX_TEXT;

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
    /// Size of the ring buffer, bytes. The next power of two is used.
    pub ring_bytes: u32,
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
        }
    }
}

impl TraceOptions {
    /// Checks the limits.
    pub(super) fn check(&self) -> Result<(), KernelError> {
        self.options.check()?;
        let (least, most) = RING_BYTES.into_inner();
        within("size of the ring buffer", self.ring_bytes, least, most)?;
        within("limit of strings", self.string_limit, 0, MAX_TEXT)?;
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
