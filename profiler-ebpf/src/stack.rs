//! The kernel stacks of tasks that do not run.
//!
//! The running task is recognised by its registers, which are at the top of its kernel stack, and
//! which only the tracepoints of syscalls pass. Of another task, only the address of the stack is
//! known (`task_struct.stack`). How far the registers are from that address is the same for all
//! tasks (`task_pt_regs`, arch/x86/include/asm/processor.h). The first task that is noted shows it.

use core::ptr::{read_volatile, write_volatile};

use crate::{
    settings::STACK_OFFSET,
    task::{Task, field_u64},
};

/// Learns how far a distance of the running task is from the address of its stack, unless that is
/// known. The distance is from a fixed place to the task's registers.
///
/// # Safety
/// `learned` is in a live map value.
#[inline(always)]
pub unsafe fn learn(learned: *mut u64, task: Task, distance: impl FnOnce() -> u64) {
    if STACK_OFFSET.load() == 0 {
        return;
    }
    // SAFETY: the caller's place, an aligned word. Whoever writes it writes the same number.
    unsafe {
        if read_volatile(learned) == 0 {
            let stack = field_u64(task, STACK_OFFSET.load());
            write_volatile(learned, distance().wrapping_sub(stack));
        }
    }
}

/// The distance from the fixed place to the registers of `task`, which can be any task. `None` if no
/// task has been noted by that distance, or if the kernel's types are unknown.
///
/// # Safety
/// `learned` is in a live map value.
#[inline(always)]
pub unsafe fn distance(learned: *const u64, task: Task) -> Option<u64> {
    // SAFETY: the caller's place, an aligned word.
    let learned = unsafe { read_volatile(learned) };
    if STACK_OFFSET.load() == 0 || learned == 0 {
        return None;
    }
    Some(field_u64(task, STACK_OFFSET.load()).wrapping_add(learned))
}
