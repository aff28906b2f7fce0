//! Where things are in the arena, the one piece of memory that stands for the arrays of
//! records and cells where the kernel has such (Linux 6.9). Offsets in bytes.
//!
//! First the hints, then the cells, and last the records, whose offset therefore depends on
//! how many cells there are.

use crate::{
    arch::KERNEL_STACK_SHIFT,
    limits::{CELLS_PER_EXTENT, MAX_EXTENTS, MAX_THREADS},
    share,
    wire::{Cell, ThreadRecord},
};

/// Hints: offsets of records, by [`hint`].
pub const HINTS: usize = 1 << 16;
/// Where the cells begin.
pub const CELLS: u32 = (HINTS * size_of::<u32>()) as u32;
/// Of a cell, and of a record.
pub const CELL_SHIFT: u32 = size_of::<Cell>().trailing_zeros();
/// See [`CELL_SHIFT`].
pub const RECORD_SHIFT: u32 = size_of::<ThreadRecord>().trailing_zeros();

/// Byte offset of the hint for a task. `distance` is how far the task's saved registers are from
/// any place that does not move.
///
/// Most kernel stacks lie side by side in the kernel's dynamic memory. So [`HINTS`] neighbouring
/// stacks have hints of their own.
#[inline(always)]
pub const fn hint(distance: u64) -> u64 {
    // Hints have four bytes.
    (distance >> (KERNEL_STACK_SHIFT - 2)) & ((HINTS as u64 - 1) << 2)
}

/// Where the records begin, with so many extents of cells.
pub const fn records(extents: u32) -> u32 {
    let end = CELLS as u64 + ((extents as u64 * CELLS_PER_EXTENT as u64) << CELL_SHIFT);
    (end as u32).next_multiple_of(4096)
}

/// All of it, with so many extents and records (not threads: see
/// [`share::with_reserve`](crate::share::with_reserve)).
pub const fn len(extents: u32, records: u32) -> u64 {
    (self::records(extents) as u64 + ((records as u64) << RECORD_SHIFT)).next_multiple_of(4096)
}

const _: () = {
    let records = share::with_reserve(MAX_THREADS);
    assert!(len(MAX_EXTENTS, records) <= 1 << 32);
    assert!(1 << CELL_SHIFT == size_of::<Cell>());
    assert!(1 << RECORD_SHIFT == size_of::<ThreadRecord>());
};
