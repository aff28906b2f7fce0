//! Messages to the log of the user side.
//!
//! The program at the end of a thread sends them, and not the code that finds a pool used up. A
//! message is much code to verify: Linux 5.10 cannot verify it together with the code for a call.
//! It would also slow down every call.

use aya_log_ebpf::warn;

use crate::maps::{COUNTERS, REPORTED};

/// Reports, once per CPU, that a pool ran out.
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
