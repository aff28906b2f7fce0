//! Taking records and cells. Off the common path: once a thread, and once a
//! thread and system call first seen, and once an octave or two of latency.

use core::{
    arch::asm,
    sync::atomic::{Ordering::SeqCst, compiler_fence},
};

use profiler_common::{
    limits::CELLS_PER_EXTENT,
    wire::{CellIndex, ThreadRecord},
};

use crate::maps::{CONTROL, EXTENT_OWNERS, FREE_EXTENTS, FREE_RECORDS, WAKE};

/// An atomic addition without a result: the one atomic that Linux 5.10 knows.
///
/// # Safety
/// `place` is within a live map value.
#[inline(always)]
pub unsafe fn add(place: *mut u64, value: u64) {
    // SAFETY: the caller's place is writable, and this touches nothing else.
    unsafe {
        asm!("lock *(u64 *)({0} + 0) += {1}", in(reg) place, in(reg) value, options(nostack));
    }
}

/// [`add`] of one to a `u32`.
///
/// # Safety
/// As for [`add`].
#[inline(always)]
pub unsafe fn increment_u32(place: *mut u32) {
    // SAFETY: as in `add`.
    unsafe {
        asm!("lock *(u32 *)({0} + 0) += {1}", in(reg) place, in(wreg) 1_u32, options(nostack));
    }
}

/// Adds one to a field of this CPU's `Counters`. Atomically, since the programs of
/// one CPU may interleave where tracepoints can be preempted (Linux 7.0).
macro_rules! count {
    ($field:ident) => {
        if let Some(counters) = $crate::maps::COUNTERS.get_ptr_mut(0) {
            #[allow(unused_unsafe, reason = "used inside and outside of unsafe blocks")]
            // SAFETY: a field of a live map value.
            unsafe {
                $crate::pool::add(&raw mut (*counters).$field, 1)
            }
        }
    };
}
pub(crate) use count;

/// A free record's index.
#[inline(always)]
pub fn take_record() -> Option<u32> {
    let Ok(Some(index)) = FREE_RECORDS.pop() else {
        count!(records_exhausted);
        return None;
    };
    if let Some(control) = CONTROL.get_ptr_mut(0) {
        // SAFETY: fields of a live map value.
        unsafe {
            add(&raw mut (*control).records_taken, 1);
            wake_if((*control).records_taken, (*control).wake_at_records);
        }
    }
    Some(index)
}

/// Whether all programs are attached.
#[inline(always)]
pub fn attached() -> bool {
    // SAFETY: a live map value.
    CONTROL.get_ptr(0).is_some_and(|control| unsafe { (*control).attached } != 0)
}

/// The same number, of which the compiler knows nothing: a comparison that it
/// would drop as always true is kept, for the verifier to see.
#[inline(always)]
pub fn unproven(mut value: u32) -> u32 {
    // A real instruction, since the line of an empty one collides with that of the
    // next, which the kernel refuses.
    // SAFETY: moves a register onto itself.
    unsafe { asm!("{0} = {0}", inlateout(wreg) value, options(nomem, nostack, pure)) };
    value
}

/// Keeps the compiler from moving a store across: what stands above is in memory
/// before what stands below, for the reader on another CPU (x86 keeps the order of
/// stores).
#[inline(always)]
pub fn publish() {
    compiler_fence(SeqCst);
}

/// A cell for the owner of `record`, zeroed; 0 where the pool is used up.
#[inline(always)]
pub fn take_cell(record: *mut ThreadRecord) -> CellIndex {
    // SAFETY: `record` is a live map value that only this thread writes.
    unsafe {
        let mut next = (*record).next_cell;
        if next % CELLS_PER_EXTENT == 0 {
            let extent = take_extent((*record).index);
            if extent == 0 {
                return 0;
            }
            next = extent * CELLS_PER_EXTENT;
        }
        (*record).next_cell = next + 1;
        next
    }
}

#[inline(never)]
fn take_extent(record_index: u32) -> u32 {
    let Ok(Some(extent)) = FREE_EXTENTS.pop() else {
        count!(extents_exhausted);
        return 0;
    };
    if let Some(owner) = EXTENT_OWNERS.get_ptr_mut(extent) {
        // SAFETY: a live map value, ours since the pop.
        unsafe { *owner = record_index + 1 };
    }
    if let Some(control) = CONTROL.get_ptr_mut(0) {
        // SAFETY: fields of a live map value.
        unsafe {
            add(&raw mut (*control).extents_taken, 1);
            wake_if((*control).extents_taken, (*control).wake_at_extents);
        }
    }
    extent
}

/// Wakes the reader at every taking beyond the mark, until it moves the mark.
/// When the buffer is full it has been woken.
#[inline(always)]
fn wake_if(taken: u64, mark: u64) {
    if taken >= mark {
        let _ = WAKE.output(taken, 0);
    }
}
