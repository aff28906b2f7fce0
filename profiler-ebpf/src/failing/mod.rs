//! Calls that fail: notes on which path or address, and which capability was missing.
//!
//! The exit program notes a call after it has counted the error, so a call that succeeds costs
//! nothing more. The registers of the call still have its arguments, and the kernel has just read
//! the memory to which they point. If the program changes that memory meanwhile, the changed text
//! is noted.
//!
//! Each failure is counted in the row of its process, call, errno, reason and target. If there is no
//! row, the failure is counted nowhere here. The user side knows the number of errors, and so knows
//! how many are missing.

mod capability;
mod rows;
mod target;

use core::ptr::write_volatile;

use profiler_common::{
    call::{Abi, CallKey},
    failing::{FailureKey, REGISTERS, Scratch},
    wire::ThreadRecord,
};

pub use self::capability::check;
use crate::{
    arch::{self, CallRegisters},
    backend::Backend,
    exit::FIRST_ERRNO,
    maps::{FAILURE_SCRATCH, TARGET_PLANS},
    settings::FAILURES_NOTED,
};

/// `EPERM` and `EACCES` (include/uapi/asm-generic/errno-base.h).
const EPERM: u32 = 1;
const EACCES: u32 = 13;

/// Whether failures are noted.
#[inline(always)]
pub fn is_on() -> bool {
    FAILURES_NOTED.load() != 0
}

/// Notes that the call of the running thread, which has the record at this index, failed.
/// [`FailureKey::DENIED`] as the errno says that seccomp or a tracer refused the call.
#[inline(always)]
pub fn note<B: Backend>(record: u32, call: u32, errno: u32) {
    let Some(record) = B::record(record) else { return };
    let Some(scratch) = FAILURE_SCRATCH.get_ptr_mut(0) else { return };
    // SAFETY: live map values. Nobody else uses the scratch space while it is taken.
    unsafe {
        if !B::take(&raw mut (*scratch).is_taken) {
            return;
        }
        note_with::<B>(scratch, record, call, errno);
        write_volatile(&raw mut (*scratch).is_taken, 0);
    }
}

/// # Safety
/// The map values are live. The record is the running thread's own, and so is the scratch space.
#[inline(always)]
unsafe fn note_with<B: Backend>(
    scratch: *mut Scratch,
    record: *mut ThreadRecord,
    call: u32,
    errno: u32,
) {
    // SAFETY: the caller's map values.
    unsafe {
        let registers = (&raw mut (*scratch).registers).cast::<CallRegisters>();
        CallRegisters::read_to(registers, B::saved_registers(record));
        let arguments = (*registers).arguments(matches!(CallKey(call).abi(), Some(Abi::I386)));
        for (index, argument) in arguments.into_iter().enumerate() {
            let place = (&raw mut (*scratch).arguments).cast::<u64>();
            write_volatile(place.add(index), argument);
        }
        let errno = match errno {
            FailureKey::DENIED => FailureKey::DENIED | errno_of((*registers).result()),
            errno => errno,
        };
        let plan = TARGET_PLANS.get_ptr(CallKey(call).overflow_index());
        target::describe(scratch, plan.map_or(0, |plan| *plan));
        let key = FailureKey {
            start_ns: (*record).process_start_ns,
            hash: target::hash(&raw const (*scratch).target),
            tgid: (*record).tgid,
            call,
            errno,
            capability: match errno {
                EPERM | EACCES => capability::missing(record),
                _ => 0,
            },
        };
        rows::count(&key, record, &raw const (*scratch).target);
    }
}

/// The errno in a result; 0 if there is none.
#[inline(always)]
fn errno_of(result: u64) -> u32 {
    if result >= FIRST_ERRNO { (result as u32).wrapping_neg() } else { 0 }
}

const _: () = assert!(size_of::<arch::CallRegisters>() <= 8 * REGISTERS);
