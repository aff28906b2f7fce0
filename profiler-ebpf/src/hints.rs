//! The hints where there is no arena: a table of the indexes of records. With an arena, the hints are
//! in it.

use core::{
    arch::asm,
    ptr::{read_volatile, write_volatile},
};

use profiler_common::hint;

use crate::{backend::Backend, stack, task::Task};

/// How far the distance of a task from [`Backend::hints`] is from the address of the task's stack.
#[unsafe(no_mangle)]
static mut HINTS_FROM_STACK: u64 = 0;

/// No record has this index.
const NONE: u32 = u32::MAX;

/// The hint for a task with this distance from the table.
#[inline(always)]
fn place<B: Backend>(distance: u64) -> *mut u32 {
    let mut offset = distance >> hint::SHIFT;
    // By an instruction of our own: LLVM would rewrite the mask, and the verifier would not see the
    // bound.
    // SAFETY: changes a register, and the offset is below the size of the table.
    unsafe {
        asm!("{0} &= {1}", inlateout(reg) offset, const hint::MASK,
            options(nomem, nostack, pure));
        B::hints().cast::<u8>().add(offset as usize).cast()
    }
}

#[inline(always)]
fn distance<B: Backend>(regs: u64) -> u64 {
    B::distance(regs, B::hints().cast())
}

/// The index of the record that the task whose registers are at `regs` most likely has.
#[inline(always)]
pub fn get<B: Backend>(regs: u64) -> u32 {
    // SAFETY: a place in the table.
    unsafe { read_volatile(place::<B>(distance::<B>(regs))) }
}

/// Makes the hint for the task whose registers are at `regs` name the record at `index`.
#[inline(always)]
pub fn set<B: Backend>(regs: u64, index: u32) {
    // SAFETY: a place in the table.
    unsafe { write_volatile(place::<B>(distance::<B>(regs)), index) };
}

/// See [`Backend::learn_stack`].
#[inline(always)]
pub fn learn_stack<B: Backend>(task: Task, regs: u64) {
    // SAFETY: a static of our own.
    unsafe { stack::learn(&raw mut HINTS_FROM_STACK, task, || distance::<B>(regs)) };
}

/// See [`Backend::forget_hint`].
#[inline(always)]
pub fn forget<B: Backend>(task: Task) {
    // SAFETY: a static of our own, and a place in the table.
    unsafe {
        if let Some(distance) = stack::distance(&raw const HINTS_FROM_STACK, task) {
            write_volatile(place::<B>(distance), NONE);
        }
    }
}
