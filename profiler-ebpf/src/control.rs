//! What the two sides tell each other while the programs run.

use core::ptr::read_volatile;

use profiler_common::wire::Pool;

use crate::maps::{CONTROL, WAKE};

/// Whether all programs are attached.
#[inline(always)]
pub fn are_programs_attached() -> bool {
    // SAFETY: a live map value.
    CONTROL.get_ptr(0).is_some_and(|control| unsafe { (*control).attached } != 0)
}

/// How often the reader has taken cgroups out of scope.
#[inline(always)]
pub fn scope_changes() -> u64 {
    // SAFETY: a live map value, and an aligned word that the reader writes.
    CONTROL
        .get_ptr(0)
        .map_or(0, |control| unsafe { read_volatile(&raw const (*control).scope_changes) })
}

/// Wakes the reader if a pool runs low. Each allocation above the mark wakes it, until the reader
/// moves the mark. If the buffer is full, the reader has been woken.
///
/// # Safety
/// `pool` is in a live map value.
#[inline(always)]
pub unsafe fn wake_reader_if_low(pool: *const Pool) {
    // SAFETY: the caller's pool.
    let (taken, mark) = unsafe { ((*pool).all.taken, (*pool).wake_at) };
    if taken >= mark {
        let _ = WAKE.output(taken, 0);
    }
}
