//! Allocates cells: 128 bytes each, for a slot, a page of the table, a chunk of a histogram or a
//! page of errnos.
//!
//! A thread takes an extent of eight cells from the stack of free extents, and uses it up before
//! it takes the next. The reader returns the extents of threads that ended.

use profiler_common::{
    limits::CELLS_PER_EXTENT,
    wire::{CellIndex, ThreadRecord},
};

use super::claim::{Claim, claim, withdraw};
use crate::{
    backend::Backend,
    control::wake_reader_if_low,
    counters::count,
    global,
    maps::{CONTROL, EXTENT_OWNERS, FREE_EXTENTS, USERS},
};

/// Takes a zeroed cell for the owner of `record`. Returns 0 if the pool or the user's share is used
/// up.
#[inline(always)]
pub fn take(record: *mut ThreadRecord) -> CellIndex {
    // SAFETY: `record` is a live map value that only this thread writes.
    unsafe {
        let mut next = (*record).next_cell;
        if next % CELLS_PER_EXTENT == 0 {
            let extent = global::take_extent((*record).index);
            if extent == 0 {
                return 0;
            }
            next = extent * CELLS_PER_EXTENT;
        }
        (*record).next_cell = next + 1;
        next
    }
}

/// Takes an extent for the owner of the record at `index`. Returns 0 if the pool or the user's
/// share is used up.
#[inline(always)]
pub fn take_extent<B: Backend>(index: u32) -> u32 {
    let Some(record) = B::record(index) else { return 0 };
    // SAFETY: a live map value.
    let user = unsafe { (*record).user };
    let (Some(control), Some(user)) = (CONTROL.get_ptr_mut(0), USERS.get_ptr_mut(user.into()))
    else {
        return 0;
    };
    // SAFETY: fields of live map values.
    unsafe {
        let (pool, of_user) = (&raw mut (*control).extents, &raw mut (*user).extents);
        match claim(pool, of_user) {
            Claim::Granted => {}
            Claim::Withheld => {
                count!(extents_withheld);
                return 0;
            }
            _ => {
                count!(extents_exhausted);
                return 0;
            }
        }
        let Ok(Some(extent)) = FREE_EXTENTS.pop() else {
            withdraw(pool, of_user);
            count!(extents_exhausted);
            return 0;
        };
        if let Some(owner) = EXTENT_OWNERS.get_ptr_mut(extent) {
            *owner = index + 1;
        }
        wake_reader_if_low(pool);
        extent
    }
}
