//! Single calls and other events of a thread, in contrast to sums.

use profiler_common::call::CallKey;

use crate::text::Untrusted;

/// An event of a thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Id of the thread, in the host's pid namespace.
    pub tid: u32,
    /// Id of its process.
    pub tgid: u32,
    /// Name of the thread.
    pub comm: Untrusted,
    /// How many events of the thread were dropped before this one.
    pub dropped: u64,
    /// What happened.
    pub happened: Happened,
}

/// What happened to a thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happened {
    /// It made a call.
    Call(Call),
    /// It got a signal.
    Signal(SignalDelivered),
    /// It ended.
    Ended {
        /// When, nanoseconds of `CLOCK_MONOTONIC`.
        at_ns: u64,
        /// The status of the thread, as wait(2) reports that of a process.
        status: i32,
        /// Whether its process ended with it.
        is_last: bool,
    },
}

/// A call with its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The syscall.
    pub key: CallKey,
    /// The arguments at the entry, as the registers had them.
    pub args: [u64; 6],
    /// The time of the entry, nanoseconds of `CLOCK_MONOTONIC`; `None` if the call entered before
    /// the programs attached.
    pub entry_ns: Option<u64>,
    /// How it left; `None` if it is in flight, or if the thread ended in it.
    pub left: Option<Left>,
    /// When the thread ended in the call, nanoseconds of `CLOCK_MONOTONIC`; `None` if it did not.
    pub thread_ended_ns: Option<u64>,
    /// Whether it was refused before it entered.
    pub is_denied: bool,
    /// Whether only the beginning of the parts is there, for lack of space.
    pub is_cut: bool,
    /// The memory that was copied, in the order of the plan.
    pub parts: Vec<Part>,
}

/// How a call left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// The time of the exit, nanoseconds of `CLOCK_MONOTONIC`.
    pub exit_ns: u64,
    /// The result in the register.
    pub result: i64,
}

/// Memory of a process that was copied during a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Index of the capture in the plan of the call.
    pub capture: usize,
    /// Which part of the capture it is.
    pub index: usize,
    /// What was copied.
    pub copied: Copied,
    /// Bytes that there were to copy, before limits.
    pub wanted: u64,
}

/// What was copied of a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Copied {
    /// The bytes, or their beginning. For an open file: its path or address, as text.
    Bytes(Vec<u8>),
    /// The page was not mapped, or not present.
    Fault,
    /// There was no space for it in the record.
    NoSpace,
}

/// A signal that was delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignalDelivered {
    /// When, nanoseconds of `CLOCK_MONOTONIC`.
    pub at_ns: u64,
    /// Its number.
    pub number: u32,
    /// `si_code`.
    pub code: i32,
    /// `si_pid`, the sender; 0 if the kernel sent it.
    pub pid: u32,
    /// `si_uid`, the sender's user.
    pub uid: u32,
    /// `si_addr` of a fault; otherwise 0.
    pub address: u64,
}

impl Call {
    /// When it left, or when the thread ended in it.
    pub fn over_ns(&self) -> Option<u64> {
        self.left.map(|left| left.exit_ns).or(self.thread_ended_ns)
    }

    /// The part of a capture with this index.
    pub fn part(&self, capture: usize, index: usize) -> Option<&Part> {
        self.parts.iter().find(|part| part.capture == capture && part.index == index)
    }
}
