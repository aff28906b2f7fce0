//! Rare messages to the log of the user side.
//!
//! Out of the program at a thread's end, and not from where room runs out: a
//! message is a lot of code to verify, more than Linux 5.10 takes in one piece with
//! the bookkeeping of a call, and it would stand in the way of every call.

use aya_log_ebpf::warn;

use crate::maps::{COUNTERS, REPORTED};

/// Reports once a CPU that room has run out there.
#[inline(always)]
pub fn exhaustion() {
    let (Some(counters), Some(reported)) = (COUNTERS.get_ptr(0), REPORTED.get_ptr_mut(0)) else {
        return;
    };
    // SAFETY: live map values of this CPU.
    unsafe {
        let records = (*counters).records_refused();
        let extents = (*counters).extents_refused();
        if *reported != 0 || records + extents == 0 {
            return;
        }
        *reported = 1;
        warn!(
            (),
            "tables full, or a user's share of them: {} times no room for a thread, {} times none for figures; such calls are counted without their process",
            records,
            extents
        );
    }
}
