//! Indexes in the table of signals that were sent: first those to the profiler, then those to
//! its command.

/// One more than the greatest number of a signal (`_NSIG`, include/uapi/asm-generic/signal.h).
pub const SIGNALS: u32 = 65;

/// Index of signal 0 to the profiler.
pub const TO_PROFILER: u32 = 0;
/// Index of signal 0 to the command.
pub const TO_COMMAND: u32 = SIGNALS;
