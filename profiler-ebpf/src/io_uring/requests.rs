//! The requests that are in flight, by their address.
//!
//! A completed request stays in the map. A ring uses the memory of its requests again
//! (`io_alloc_req`, io_uring/io_uring.h), so the next submission finds its entry there, which is
//! cheaper than an insert and a delete for each request. The map forgets the oldest entries if it is
//! full.

use profiler_common::io_uring::{OperationKey, Request};

use super::rows;
use crate::maps::REQUESTS;

/// A request that was in flight.
pub struct InFlight {
    /// Who submitted it.
    pub key: OperationKey,
    /// When; 0 if it is not timed.
    pub submitted_ns: u64,
    /// Index of its row.
    pub row: u32,
    /// Whether it asks for no completion if it succeeds.
    pub is_silent: bool,
    /// Whether it can post several completions.
    pub can_post_several: bool,
}

/// What is known of a request that completes.
pub enum Found {
    /// It was submitted, and completes now.
    InFlight(InFlight),
    /// It has completed before.
    Completed,
    /// Nothing.
    Unknown,
}

/// Whether the request was submitted and has not completed.
#[inline(always)]
pub fn is_in_flight(request: u64) -> bool {
    // SAFETY: copied at once.
    unsafe { REQUESTS.get(request) }.is_some_and(|found| found.flags & Request::IN_FLIGHT != 0)
}

/// Notes that a request was submitted, which can be silent, and can post several completions.
#[inline(always)]
pub fn submitted(
    request: u64,
    key: &OperationKey,
    row: u32,
    [silent, several]: [bool; 2],
    submitted_ns: u64,
) {
    let flags = Request::IN_FLIGHT
        | if silent { Request::SILENT } else { 0 }
        | if several { Request::SEVERAL } else { 0 };
    let new = Request { key: *key, submitted_ns, row, flags };
    let Some(found) = REQUESTS.get_ptr_mut(request) else {
        let _ = REQUESTS.insert(request, new, 0);
        return;
    };
    // SAFETY: a live map value. The kernel has nobody else use the request at this moment.
    unsafe {
        if (*found).flags & (Request::IN_FLIGHT | Request::SILENT) == Request::IN_FLIGHT {
            let old = (*found).key;
            if let Some(row) = rows::of_index((*found).row, &old) {
                rows::unreported(row);
            }
        }
        *found = new;
    }
}

/// Notes that a request completed, and says what is known of it.
#[inline(always)]
pub fn completed(request: u64) -> Found {
    let Some(found) = REQUESTS.get_ptr_mut(request) else { return Found::Unknown };
    // SAFETY: a live map value. The kernel completes a request once.
    unsafe {
        let flags = (*found).flags;
        if flags & Request::IN_FLIGHT == 0 {
            return Found::Completed;
        }
        (*found).flags = 0;
        Found::InFlight(InFlight {
            key: (*found).key,
            submitted_ns: (*found).submitted_ns,
            row: (*found).row,
            is_silent: flags & Request::SILENT != 0,
            can_post_several: flags & Request::SEVERAL != 0,
        })
    }
}

/// Notes that a request completed whose submission was not seen.
#[inline(always)]
pub fn note_completed(request: u64, key: &OperationKey, row: u32) {
    let _ = REQUESTS.insert(request, Request { key: *key, submitted_ns: 0, row, flags: 0 }, 0);
}

/// Forgets a request, which was submitted out of scope.
#[inline(always)]
pub fn forget(request: u64) {
    let _ = REQUESTS.remove(request);
}
