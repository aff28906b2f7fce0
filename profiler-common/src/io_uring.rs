//! io_uring: the values in the maps of its programs.

use core::mem::{offset_of, size_of};

use crate::{
    hist::BUCKETS,
    limits::{CACHE_LINE, COMM_LEN, ERRNOS},
};

/// The opcode of operations whose opcode is not known, and of all opcodes above it. The kernel
/// replaces the opcodes that it lacks by 0 (`io_init_req`, io_uring/io_uring.c), so only kernels
/// with more opcodes than this reach it.
pub const UNKNOWN_OPCODE: u32 = 95;

/// Rows for operations without a row of their process: one per opcode.
pub const OVERFLOW_ROWS: u32 = UNKNOWN_OPCODE + 1;

/// Rows in all, unless memory is tight: the overflow rows, and then those of processes.
pub const ROWS: u32 = 1_024;

/// Requests that are remembered from the submission to the completion, unless memory is tight. If
/// there are more, the oldest ones are forgotten.
pub const REQUESTS: u32 = 8_192;

/// Requests that are also found by their `user_data`, because they can post several completions.
pub const DATA_REQUESTS: u32 = 4_096;

/// Rings whose creator is remembered.
pub const RINGS: u32 = 1_024;

/// How the kernel's tracepoint `io_uring_complete` tells which request it is about.
pub mod completion {
    /// It does not (before Linux 5.18): the arguments are the ring, the `user_data`, the result
    /// and the flags.
    pub const BY_DATA: u32 = 1;
    /// The request is the second argument, and `user_data`, result and flags follow.
    pub const BY_REQUEST: u32 = 2;
    /// The request is the second argument, and the third one points to the `io_uring_cqe`
    /// (Linux 6.16).
    pub const BY_ENTRY: u32 = 3;
}

/// Who submits what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct OperationKey {
    /// Start of the process, nanoseconds since boot. 0 in an overflow row.
    pub start_ns: u64,
    /// Process id in the initial pid namespace. 0 in an overflow row, and while nobody owns the row.
    pub tgid: u32,
    /// Opcode, at most [`UNKNOWN_OPCODE`].
    pub opcode: u32,
}

/// The figures of one opcode of one process. Several threads write it, by atomic additions.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct OperationRow {
    /// Whose row it is.
    pub key: OperationKey,
    /// Name of the process when it took the row, NUL-padded.
    pub comm: [u8; COMM_LEN],
    /// Requests submitted.
    pub submitted: u64,
    /// Requests among them that ask for no completion if they succeed
    /// (`IOSQE_CQE_SKIP_SUCCESS`).
    pub silent: u64,
    /// Requests that completed: their own completion, the last one of a multishot request.
    pub completed: u64,
    /// Completed requests whose submission was not seen, because it came before the attach.
    pub unmatched: u64,
    /// Completed requests that are in `silent`: those that failed.
    pub silent_completed: u64,
    /// Requests that ended without a completion that could be told apart. This is noticed when
    /// the kernel uses the memory of the request again.
    pub unreported: u64,
    /// Completions that the request posted before its own (multishot), and messages of other
    /// rings.
    pub posted: u64,
    /// Completions that found the completion queue full.
    pub overflowed: u64,
    /// Sum of the latencies of timed requests, nanoseconds.
    pub total_ns: u64,
    /// Errors with an errno of at least [`ERRNOS`].
    pub errors_unlisted: u64,
    /// Padding.
    pub _pad: [u64; 2],
    /// Bucket counts of timed requests.
    pub buckets: [u32; BUCKETS],
    /// Errno counts.
    pub errnos: [u32; ERRNOS],
}

impl OperationRow {
    /// A row that nobody owns.
    pub const UNOWNED: Self = Self {
        key: OperationKey { start_ns: 0, tgid: 0, opcode: 0 },
        comm: [0; _],
        submitted: 0,
        silent: 0,
        completed: 0,
        unmatched: 0,
        silent_completed: 0,
        unreported: 0,
        posted: 0,
        overflowed: 0,
        total_ns: 0,
        errors_unlisted: 0,
        _pad: [0; _],
        buckets: [0; _],
        errnos: [0; _],
    };
}

/// A request, by its address (`struct io_kiocb`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Request {
    /// Who submitted it.
    pub key: OperationKey,
    /// When it was submitted, `CLOCK_MONOTONIC` nanoseconds; 0 if it is not timed.
    pub submitted_ns: u64,
    /// Index of its row, which can belong to somebody else by now.
    pub row: u32,
    /// [`Self::IN_FLIGHT`], [`Self::SILENT`] and [`Self::SEVERAL`].
    pub flags: u32,
}

impl Request {
    /// It was submitted and has not completed.
    pub const IN_FLIGHT: u32 = 1;
    /// It asks for no completion if it succeeds.
    pub const SILENT: u32 = 2;
    /// It can post several completions.
    pub const SEVERAL: u32 = 4;
}

/// What names a request where its address is unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct DataKey {
    /// Address of the ring (`struct io_ring_ctx`).
    pub ring: u64,
    /// `user_data` of the request.
    pub user_data: u64,
}

/// The requests with the same [`DataKey`] that are in flight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct DataRequests {
    /// Who submitted the first one of them.
    pub key: OperationKey,
    /// When it was submitted, `CLOCK_MONOTONIC` nanoseconds; 0 if it is not timed.
    pub submitted_ns: u64,
    /// How many are in flight.
    pub in_flight: u64,
    /// Index of the row, which can belong to somebody else by now.
    pub row: u32,
    /// [`Self::SEVERAL`] and [`Self::MIXED`].
    pub flags: u32,
}

impl DataRequests {
    /// Several were in flight at one time, so `submitted_ns` may be of another one.
    pub const SEVERAL: u32 = 1;
    /// They have different keys, so the opcode of none is known.
    pub const MIXED: u32 = 2;
}

/// A ring, by its address (`struct io_ring_ctx`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Ring {
    /// Who created it. The opcode is [`UNKNOWN_OPCODE`].
    pub key: OperationKey,
    /// 1 if its creator was watched.
    pub watched: u64,
}

const _: () = {
    assert!(size_of::<OperationKey>() == 16);
    assert!(size_of::<OperationRow>() == 2_048);
    assert!(offset_of!(OperationRow, buckets) == 2 * CACHE_LINE);
    assert!(size_of::<Request>() == 32);
    assert!(size_of::<DataRequests>() == 40);
    assert!(size_of::<Ring>() == 24);
};

#[cfg(feature = "user")]
mod user {
    use super::{OperationKey, OperationRow};

    // SAFETY: repr(C) of integers without padding, so any bytes are a value.
    unsafe impl aya::Pod for OperationRow {}
    // SAFETY: as above.
    unsafe impl aya::Pod for OperationKey {}
}
