//! The table of tasks that are known to be out of scope, which ends their calls at once.
//!
//! [`has`] comes before everything else, and makes no call, no look-up and no write. A task that is
//! found to be out of scope writes the address of its registers into the table. Its end, its exec
//! and every change clear the entry. If its end is not reported, the fork of the next task with its
//! kernel stack does. Two tasks can share a place; the last one has it.
//!
//! The writer of a change bumps the generation, then clears the table. The task publishes itself,
//! then rereads the generation. A full barrier between the two guarantees that one of them sees the
//! other.

use core::{
    arch::asm,
    ptr::{read_volatile, write_volatile},
};

use profiler_common::{
    arch::KERNEL_STACK_SHIFT,
    limits::{CACHE_LINE, OUTSIDE as PLACES},
    wire::TaskState,
};

use super::{changes, generation, is_narrow};
use crate::{arch, backend::Backend, stack, task::Task};

/// The addresses of the saved registers of tasks that are out of scope.
#[unsafe(no_mangle)]
static mut OUTSIDE: [u64; PLACES] = [0; PLACES];

/// Bytes of a place.
const PLACE: usize = size_of::<u64>();

/// Places in a cache line.
const LINE: usize = CACHE_LINE / PLACE;

/// How far the distance of a task from [`OUTSIDE`] is from the address of the task's stack.
#[unsafe(no_mangle)]
static mut OUTSIDE_FROM_STACK: u64 = 0;

/// The distance from [`OUTSIDE`] to the registers at `regs`.
#[inline(always)]
fn distance<B: Backend>(regs: u64) -> u64 {
    B::distance(regs, (&raw mut OUTSIDE).cast())
}

/// Byte offset of the place of the task with this [`distance`].
#[inline(always)]
pub fn offset(distance: u64) -> u64 {
    const { assert!(PLACES.is_power_of_two()) };
    // The registers are at the top of the kernel stack, so tasks are a stack apart.
    let shift = KERNEL_STACK_SHIFT - PLACE.trailing_zeros();
    let mut offset = distance >> shift;
    // By an instruction of our own: LLVM would rewrite the mask, and the verifier would not see the
    // bound.
    // SAFETY: changes a register.
    unsafe {
        asm!("{0} &= {1}", inlateout(reg) offset, const PLACE * (PLACES - 1),
            options(nomem, nostack, pure));
    }
    offset
}

/// The place at an [`offset`].
///
/// # Safety
/// The offset is below the size of the table, and the verifier can see that.
#[inline(always)]
unsafe fn place(offset: u64) -> *mut u64 {
    // SAFETY: the caller's offset.
    unsafe { (&raw mut OUTSIDE).cast::<u8>().add(offset as usize).cast() }
}

/// Whether the task whose registers are at `regs` is known to be out of scope.
#[inline(always)]
pub fn has<B: Backend>(regs: u64) -> bool {
    // SAFETY: a place in the table.
    is_narrow() && unsafe { read_volatile(place(offset(distance::<B>(regs)))) } == regs
}

/// Adds the running task, whose registers are at `regs`, unless a decision has become stale since.
///
/// # Safety
/// `state` is the live state of the running task.
#[inline(always)]
pub(super) unsafe fn add<B: Backend>(state: *mut TaskState, regs: u64) {
    // SAFETY: the caller's state, and a place in the table.
    unsafe {
        stack::learn(&raw mut OUTSIDE_FROM_STACK, B::current(), || distance::<B>(regs));
        let offset = offset(distance::<B>(regs));
        (*state).outside = offset + 1;
        let place = place(offset);
        write_volatile(place, regs);
        // The writer of a change counts it, and clears the table after that. Either the writer
        // finds what is written here, or the change is found here.
        arch::add_with_full_barrier(&raw mut (*state).outside, 0);
        if changes() && (*state).generation != generation() {
            write_volatile(place, 0);
        }
    }
}

/// Clears the place of a task that ends, or whose decision is stale.
#[inline(always)]
pub fn forget(state: *mut TaskState) {
    if !is_narrow() {
        return;
    }
    // SAFETY: a live state that only its own task writes, and a place in the table. If another task
    // has the place by now, that task is decided about once more.
    unsafe {
        let offset_plus_one = (*state).outside;
        if offset_plus_one != 0 && offset_plus_one <= (PLACE * PLACES) as u64 {
            write_volatile(place((offset_plus_one - 1) & !(PLACE as u64 - 1)), 0);
        }
        (*state).outside = 0;
    }
}

/// Clears the place that belongs to the kernel stack of `task`, which has not run yet. The last
/// task with that stack has ended. If another task has the place, that task is decided about once
/// more.
#[inline(always)]
pub fn forget_stack(task: Task) {
    if !is_narrow() {
        return;
    }
    // SAFETY: a static of our own, and a place in the table.
    unsafe {
        if let Some(distance) = stack::distance(&raw const OUTSIDE_FROM_STACK, task) {
            write_volatile(place(offset(distance)), 0);
        }
    }
}

/// Clears the table.
#[inline(always)]
pub(super) fn clear() {
    // A cache line at a time, with one branch for each line. The verifier keeps a state for each
    // branch that it has passed: with one for each place, these took 30 MiB. If this clears a place
    // that a task has just written, the task is decided about once more.
    // SAFETY: places in the table.
    unsafe {
        for line in 0..PLACES / LINE {
            let first = (&raw mut OUTSIDE).cast::<u64>().add(line * LINE);
            let mut noted = 0;
            for index in 0..LINE {
                noted |= read_volatile(first.add(index));
            }
            if noted != 0 {
                for index in 0..LINE {
                    write_volatile(first.add(index), 0);
                }
            }
        }
    }
}
