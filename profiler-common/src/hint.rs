//! Hints: the records that threads most likely have, in a table by kernel stack.

use crate::arch::KERNEL_STACK_SHIFT;

/// How many hints there are.
pub const HINTS: usize = 1 << 16;
/// Bytes of the table. A hint has four.
pub const TABLE_BYTES: usize = HINTS * size_of::<u32>();
/// By how many bits a distance is shifted to become the [`offset`] of a hint.
pub const SHIFT: u32 = KERNEL_STACK_SHIFT - size_of::<u32>().trailing_zeros();
/// The bits of the [`offset`] of a hint.
pub const MASK: u64 = (TABLE_BYTES - size_of::<u32>()) as u64;

/// Byte offset of the hint for a task in the table. `distance` is how far the task's saved registers
/// are from any place that does not move.
///
/// Most kernel stacks lie side by side in the kernel's dynamic memory. So [`HINTS`] neighbouring
/// stacks have hints of their own.
#[inline(always)]
pub const fn offset(distance: u64) -> u64 {
    (distance >> SHIFT) & MASK
}

const _: () = assert!(HINTS.is_power_of_two() && MASK == (HINTS as u64 - 1) << 2);
