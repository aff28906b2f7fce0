//! Takes stacks by their frame pointers.

use core::ffi::c_void;

use aya_ebpf::helpers::generated::bpf_get_stack;
use profiler_common::stacks::{FIRST_STACK, LOST_STACK, MAX_FRAMES, NO_STACK};

use super::{
    count_loss,
    maps::{FRAMES, SCRATCH},
};

/// `BPF_F_USER_STACK` (include/uapi/linux/bpf.h).
const USER: u64 = 1 << 8;

/// `BPF_NOEXIST` (include/uapi/linux/bpf.h).
const NOT_THERE: u64 = 1;

/// `EEXIST`: another CPU has just added the same stack.
const EXISTS: i32 = -17;

/// An odd constant with about as many ones as zeros, which spreads the bits of an address.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// Takes the stack of the running task in user space. Returns its id. `place` is that of the program
/// in `SCRATCH`.
#[inline(always)]
pub fn of_user(ctx: *mut c_void, place: u32) -> u64 {
    take(ctx, USER, place)
}

/// Same as [`of_user`], for the stack in the kernel.
#[inline(always)]
pub fn of_kernel(ctx: *mut c_void, place: u32) -> u64 {
    take(ctx, 0, place)
}

#[inline(never)]
fn take(ctx: *mut c_void, flags: u64, place: u32) -> u64 {
    let Some(scratch) = SCRATCH.get_ptr_mut(place) else { return LOST_STACK };
    // SAFETY: a live map value of this CPU that no other program uses. The helper writes no more
    // bytes than the addresses have, and overwrites all of them.
    unsafe {
        let addresses = &raw mut (*scratch).addresses;
        let bytes = bpf_get_stack(ctx, addresses.cast(), (MAX_FRAMES * 8) as u32, flags);
        if bytes <= 0 {
            return NO_STACK;
        }
        let count = bytes as u64 / 8;
        (*scratch).count = count;
        let mut id = count;
        for index in 0..MAX_FRAMES {
            if index as u64 >= count {
                break;
            }
            id = (id.rotate_left(5) ^ (*addresses)[index]).wrapping_mul(SPREAD);
        }
        if id < FIRST_STACK {
            id = FIRST_STACK;
        }
        if FRAMES.get_ptr(id).is_some() {
            return id;
        }
        match FRAMES.insert(id, &*scratch, NOT_THERE) {
            Ok(()) => id,
            Err(EXISTS) => id,
            Err(_) => {
                count_loss!(without_frames);
                LOST_STACK
            }
        }
    }
}
