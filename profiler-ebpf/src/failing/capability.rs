//! Which capability the kernel found missing.

use profiler_common::{failing::CapabilityCheck, wire::ThreadRecord};

use crate::{backend::Backend, maps::CAPABILITY_CHECKS, thread::record_of};

/// Handles a check: the kernel checked whether the running task has a capability. A result
/// other than 0 means that it has not.
///
/// The check belongs to the call that the record of the thread has in flight. The count of entered
/// calls identifies the call.
#[inline(always)]
pub fn check<B: Backend>(capability: u32, result: i32) {
    if result == 0 {
        return;
    }
    let Some(state) = B::state(B::current()) else { return };
    let Some(record) = record_of::<B>(state) else { return };
    // SAFETY: live map values of the running thread's own.
    unsafe {
        if let Some(check) = CAPABILITY_CHECKS.get_ptr_mut((*record).index) {
            (*check).entered = (*record).entered;
            (*check).capability = capability.into();
        }
    }
}

/// The capability that the kernel found missing last in the call of `record`, plus one; 0 if there
/// is none.
///
/// # Safety
/// `record` is a live map value, the running thread's own.
#[inline(always)]
pub unsafe fn missing(record: *mut ThreadRecord) -> u32 {
    // SAFETY: the caller's record, and a live map value.
    unsafe {
        let Some(check) = CAPABILITY_CHECKS.get_ptr((*record).index) else { return 0 };
        let CapabilityCheck { entered, capability } = check.read();
        if entered == (*record).entered { capability as u32 + 1 } else { 0 }
    }
}
