//! Atomic additions, for figures that several threads write.
//!
//! By assembly: Rust gives this target no `fetch_add`. Linux 5.10 knows no other atomic
//! instruction, and none that returns a value.

use core::arch::asm;

/// Adds `value` to `*place`.
///
/// # Safety
/// `place` is within a live map value.
#[inline(always)]
pub unsafe fn add(place: *mut u64, value: u64) {
    // SAFETY: the caller's place is writable. The instruction changes nothing else.
    unsafe {
        asm!("lock *(u64 *)({0} + 0) += {1}", in(reg) place, in(reg) value, options(nostack));
    }
}

/// Adds one to a `u32`.
///
/// # Safety
/// As for [`add`].
#[inline(always)]
pub unsafe fn increment_u32(place: *mut u32) {
    // SAFETY: the caller's place.
    unsafe { add_u32(place, 1) }
}

/// Adds `value` to a `u32`.
///
/// # Safety
/// As for [`add`].
#[inline(always)]
pub unsafe fn add_u32(place: *mut u32, value: u32) {
    // SAFETY: as in `add`.
    unsafe {
        asm!("lock *(u32 *)({0} + 0) += {1}", in(reg) place, in(wreg) value, options(nostack));
    }
}
