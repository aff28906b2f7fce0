//! Adds calls to the sums of their stacks.

use aya_ebpf::helpers::bpf_get_current_comm;
use profiler_common::{
    call::{Abi, CallKey},
    stacks::{NO_STACK, SQUARE_SHIFT, StackKey, StackSums, WEIGHT_TIME},
};
use profiler_ebpf::{
    atomic,
    settings::{STACK_COPIED, STACK_OF_EVERY, STACK_WEIGHT},
};

use super::{
    Call, copy, frames,
    maps::{STACK_ROWS, STACK_SAMPLERS},
    sampler,
};

/// `BPF_NOEXIST` (include/uapi/linux/bpf.h).
const NOT_THERE: u64 = 1;

/// Adds the call to the sums, if it is chosen. `user` is its stack in user space, if that is taken
/// already.
///
/// # Safety
/// The call is of the running task, whose state is live.
#[inline(always)]
pub unsafe fn add(call: &Call, user: u64) {
    // SAFETY: the caller's state, and a live map value of this CPU.
    unsafe {
        let index = CallKey((*call.known).call).overflow_index();
        let Some(sampler) = STACK_SAMPLERS.get_ptr_mut(index) else { return };
        let weight = sampler::choose(sampler, call.size);
        if weight != 0 || STACK_OF_EVERY.load() != 0 {
            take(call, weight, user);
        }
    }
}

/// Takes the stack of the call. `chosen` is its weight among the calls that the sampler chooses; 0
/// if it does not choose the call.
#[inline(never)]
unsafe fn take(call: &Call, chosen: u64, user: u64) {
    // SAFETY: the caller's state, and live map values.
    unsafe {
        let is_taken = user != NO_STACK;
        let key = StackKey {
            tgid: (*call.known).tgid,
            image: (*call.known).image_of_call,
            call: (*call.known).call,
            reserved: 0,
            user: if is_taken { user } else { frames::of_user(call.ctx, call.place) },
            kernel: (*call.known).kernel,
        };
        let weight = if STACK_OF_EVERY.load() != 0 { call.size } else { chosen };
        // Without a row, the weight is in the sum of the sampler only, and the user side shows it.
        let Some(row) = row(&key) else { return };
        atomic::add(&raw mut (*row).weight, weight);
        atomic::add(&raw mut (*row).stacks, 1);
        if STACK_OF_EVERY.load() == 0 {
            let shift = if STACK_WEIGHT.load() == WEIGHT_TIME { SQUARE_SHIFT } else { 0 };
            let extra = weight.saturating_sub(call.size) >> shift;
            atomic::add(&raw mut (*row).squares, (weight >> shift).wrapping_mul(extra));
        }
        // The stack of before an exec is gone, and a 32-bit stack is not unwound.
        let is_compat = matches!(CallKey(key.call).abi(), Some(Abi::I386));
        if STACK_COPIED.load() != 0 && chosen != 0 && !is_taken && !is_compat {
            copy::send(&key, chosen, call.regs, call.place);
        }
    }
}

/// The row of `key`, which is created if there is none. `None` if there is no space.
#[inline(always)]
fn row(key: &StackKey) -> Option<*mut StackSums> {
    if let Some(row) = STACK_ROWS.get_ptr_mut(key) {
        return Some(row);
    }
    let comm = bpf_get_current_comm().unwrap_or_default();
    let new = StackSums { weight: 0, stacks: 0, squares: 0, comm };
    let _ = STACK_ROWS.insert(key, &new, NOT_THERE);
    STACK_ROWS.get_ptr_mut(key)
}
