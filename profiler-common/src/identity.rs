//! The questions that the program `identify` answers. Its first argument is the question. The
//! kernel returns 32 bits, so the clock takes two questions.

/// The host's process id of the caller.
pub const TGID: u64 = 0;
/// The upper half of `bpf_ktime_get_ns`.
pub const CLOCK_HIGH: u64 = 1;
/// The lower half of `bpf_ktime_get_ns`.
pub const CLOCK_LOW: u64 = 2;
