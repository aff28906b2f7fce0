//! The table of tasks in a call that the filter of syscalls excludes, which ends the exits of these
//! calls at once.
//!
//! The entry writes the address of the task's registers into the table, and the exit clears it. If
//! two tasks share a place, the exit of the first one finds nothing, and looks at the number of the
//! call.

use core::ptr::{read_volatile, write_volatile};

use profiler_common::limits::OUTSIDE as PLACES;

use profiler_ebpf::scope::outside;

/// The addresses of the saved registers of tasks in calls that do not count.
#[unsafe(no_mangle)]
static mut SKIPPED: [u64; PLACES] = [0; PLACES];

/// The place of the task whose registers are at `regs`.
#[inline(always)]
fn place(regs: u64) -> *mut u64 {
    // SAFETY: an offset in a table with as many places as that of the tasks out of scope.
    unsafe { (&raw mut SKIPPED).cast::<u8>().add(outside::offset(regs) as usize).cast() }
}

/// Notes that the task whose registers are at `regs` is in a call that does not count.
#[inline(always)]
pub fn add(regs: u64) {
    // SAFETY: a place in the table.
    unsafe { write_volatile(place(regs), regs) };
}

/// Whether the task whose registers are at `regs` was in a call that does not count, which ends
/// now.
#[inline(always)]
pub fn take(regs: u64) -> bool {
    let place = place(regs);
    // SAFETY: a place in the table.
    unsafe {
        if read_volatile(place) != regs {
            return false;
        }
        write_volatile(place, 0);
    }
    true
}
