//! Finds the slot of a syscall in the record of a thread, by a table of two levels. That takes two
//! look-ups and no hash, and a thread has only the pages of the table that it uses.
//!
//! The table works like a page table: `nr / 32` in the record, `nr % 32` in a page. The record
//! remembers the last call and its slot.

use profiler_common::{
    arch,
    wire::{CALLS_PER_PAGE, Cell, CellIndex, Slot, ThreadRecord},
};

use crate::{backend::Backend, pool::cells, sampling};

/// Finds the cell with the slot for `key`, and takes one if the thread makes this syscall for the
/// first time. Returns 0 if the pool is used up.
#[inline(always)]
pub fn find<B: Backend>(record: *mut ThreadRecord, key: u32) -> CellIndex {
    // A comparison, because LLVM rewrites masks into wider masks that the verifier refuses.
    if key < arch::NATIVE.limit() {
        let page = key / CALLS_PER_PAGE;
        // SAFETY: `page` is below NATIVE_PAGES, since `key` is below the limit.
        unsafe {
            let entry = (&raw mut (*record).native_pages).cast::<u32>().add(page as usize);
            return in_page::<B>(entry, record, key % CALLS_PER_PAGE);
        }
    }
    find_foreign::<B>(record, key)
}

/// Finds the slot in the page that `entry` names. Takes cells for the page and the slot as needed.
#[inline(always)]
unsafe fn in_page<B: Backend>(
    entry: *mut CellIndex,
    record: *mut ThreadRecord,
    offset: u32,
) -> CellIndex {
    // SAFETY: the caller's `entry` is in a live map value of this thread's own.
    unsafe {
        let mut page = *entry;
        if page == 0 {
            page = cells::take(record);
            if page == 0 {
                return 0;
            }
            *entry = page;
        }
        let Some(cell) = B::cell(page) else { return 0 };
        if offset >= CALLS_PER_PAGE {
            return 0;
        }
        let place = cell.cast::<u32>().add(offset as usize);
        let mut slot = *place;
        if slot == 0 {
            slot = new_slot::<B>(record);
            *place = slot;
        }
        slot
    }
}

/// Takes a cell for a slot without calls. Returns 0 if the pool is used up.
#[inline(never)]
fn new_slot<B: Backend>(record: *mut ThreadRecord) -> CellIndex {
    let index = cells::take(record);
    if index != 0
        && let Some(slot) = slot::<B>(index)
    {
        // So the common path need not test whether a call is the first.
        // SAFETY: a live map value of this thread's own.
        unsafe { (*slot).min_ns = u64::MAX };
        sampling::begin::<B>(index);
    }
    index
}

#[inline(never)]
fn find_foreign<B: Backend>(record: *mut ThreadRecord, key: u32) -> CellIndex {
    let nr = key & 0xffff;
    let page = nr / CALLS_PER_PAGE;
    if page >= CALLS_PER_PAGE {
        return 0;
    }
    // SAFETY: constant offsets in a live map value, and a cell index below 32.
    unsafe {
        let roots = (&raw mut (*record).foreign_roots).cast::<CellIndex>();
        let root = roots.add(arch::foreign_index(key >> 16));
        if *root == 0 {
            *root = cells::take(record);
        }
        let Some(pages) = B::cell(*root) else { return 0 };
        if *root == 0 {
            return 0;
        }
        in_page::<B>(pages.cast::<u32>().add(page as usize), record, nr % CALLS_PER_PAGE)
    }
}

/// The slot at `index`.
#[inline(always)]
pub fn slot<B: Backend>(index: CellIndex) -> Option<*mut Slot> {
    B::cell(index).map(<*mut Cell>::cast)
}
