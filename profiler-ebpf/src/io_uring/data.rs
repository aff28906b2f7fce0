//! Requests by ring and `user_data`, for completions that do not name their request.
//!
//! Several requests with the same `user_data` can be in flight. If they have the same opcode and
//! the same process, a completion of one of them belongs to both. Otherwise, its opcode stays
//! unknown.

use profiler_common::io_uring::{DataKey, DataRequests, OperationKey, UNKNOWN_OPCODE};

use crate::{atomic::add, maps::DATA_REQUESTS};

/// Opcodes whose requests can post several completions (include/uapi/linux/io_uring.h): POLL_ADD,
/// RECVMSG, TIMEOUT, ACCEPT, RECV, URING_CMD, SEND_ZC, SENDMSG_ZC, READ_MULTISHOT and RECV_ZC.
const SEVERAL: [u32; 10] = [6, 10, 11, 13, 27, 46, 47, 48, 49, 58];

/// `URING_CMD128`, as `URING_CMD`.
const URING_CMD128: u32 = 64;

/// `SEND`, which posts several completions if it sends a bundle of provided buffers
/// (`io_send_finish`, io_uring/net.c).
const SEND: u32 = 26;

/// `IOSQE_BUFFER_SELECT`, which is `REQ_F_BUFFER_SELECT` in the flags of a request
/// (include/linux/io_uring_types.h).
const BUFFER_SELECT: u32 = 1 << 5;

/// [`SEVERAL`] as bits.
const SEVERAL_BITS: u64 = {
    let (mut bits, mut at) = (0, 0);
    while at < SEVERAL.len() {
        bits |= 1 << SEVERAL[at];
        at += 1;
    }
    bits
};

/// Whether a request with this opcode and these flags (`REQ_F_*`) can post several completions.
#[inline(always)]
pub fn can_post_several(opcode: u32, flags: u32) -> bool {
    if opcode >= u64::BITS {
        return opcode == URING_CMD128;
    }
    SEVERAL_BITS >> opcode & 1 != 0 || (opcode == SEND && flags & BUFFER_SELECT != 0)
}

/// The request that a completion belongs to, as far as it is known.
pub struct Found {
    /// Who submitted it; with [`UNKNOWN_OPCODE`] if requests with several opcodes are in flight.
    pub key: OperationKey,
    /// Index of its row, which may have another key by now.
    pub row: u32,
    /// When it was submitted; 0 if that is not known.
    pub submitted_ns: u64,
}

/// Notes that a request was submitted.
#[inline(never)]
pub fn submitted(ring: u64, user_data: u64, key: &OperationKey, row: u32, submitted_ns: u64) {
    let at = DataKey { ring, user_data };
    let new = DataRequests { key: *key, submitted_ns, in_flight: 1, row, flags: 0 };
    let Some(found) = DATA_REQUESTS.get_ptr_mut(&at) else {
        let _ = DATA_REQUESTS.insert(&at, new, 0);
        return;
    };
    // SAFETY: a live map value. If two requests with the same data are submitted or completed at
    // the same time, the flags make the result less precise, and never wrong.
    unsafe {
        if (*found).in_flight == 0 {
            *found = new;
            return;
        }
        let old = (*found).key;
        let is_same =
            old.tgid == key.tgid && old.start_ns == key.start_ns && old.opcode == key.opcode;
        (*found).flags |= DataRequests::SEVERAL | if is_same { 0 } else { DataRequests::MIXED };
        add(&raw mut (*found).in_flight, 1);
    }
}

/// Finds the request that a completion belongs to. `is_last` says that the request ends.
#[inline(always)]
pub fn completed(ring: u64, user_data: u64, is_last: bool) -> Option<Found> {
    let found = DATA_REQUESTS.get_ptr_mut(&DataKey { ring, user_data })?;
    // SAFETY: a live map value, as in `submitted`.
    unsafe {
        if (*found).in_flight == 0 {
            return None;
        }
        let (mut key, flags) = ((*found).key, (*found).flags);
        if flags & DataRequests::MIXED != 0 {
            key.opcode = UNKNOWN_OPCODE;
        }
        let submitted_ns = if flags == 0 { (*found).submitted_ns } else { 0 };
        if is_last {
            add(&raw mut (*found).in_flight, u64::MAX);
        }
        Some(Found { key, row: (*found).row, submitted_ns })
    }
}

/// Notes that a request ended.
#[inline(always)]
pub fn ended(ring: u64, user_data: u64) {
    let _ = completed(ring, user_data, true);
}
