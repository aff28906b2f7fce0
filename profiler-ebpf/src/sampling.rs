//! Adaptive sampling ([`adaptive`]): decides which calls are timed, and adds up their weights.

use aya_ebpf::helpers::{bpf_get_prandom_u32, bpf_jiffies64, bpf_ktime_get_ns};
use profiler_common::{
    call::CallKey,
    sampling::{
        self,
        adaptive::{Choice, FRACTION_BITS, Limit, Pace, Sample},
        sampler::Sampler,
    },
    wire::CellIndex,
};

use crate::{
    backend::Backend,
    global,
    maps::OVERFLOW_SAMPLERS,
    settings::{SAMPLING_BUDGET, SAMPLING_COST, TIMED},
};

/// Whether sampling is adaptive. The verifier knows the answer.
#[inline(always)]
pub fn is_adaptive() -> bool {
    TIMED.load() == sampling::ADAPTIVE
}

#[inline(always)]
fn limit() -> Limit {
    Limit { cost: SAMPLING_COST.load().into(), budget: SAMPLING_BUDGET.load().into() }
}

/// The time by the kernel's tick counter, with a fraction of 0.
#[inline(always)]
fn now() -> u64 {
    // SAFETY: always safe to call.
    unsafe { bpf_jiffies64() << FRACTION_BITS }
}

#[inline(always)]
fn random() -> u32 {
    // SAFETY: always safe to call.
    unsafe { bpf_get_prandom_u32() }
}

/// A choice as a number, which a global function can return: 0 to skip the call, or the shift plus
/// one.
#[inline(always)]
fn to_number(choice: Choice) -> u32 {
    match choice {
        Choice::Skip => 0,
        Choice::Time(shift) => shift + 1,
    }
}

/// The time with the shift if the call is timed, and 0 otherwise. `choice` is of [`to_number`].
#[inline(always)]
fn entry(choice: u32) -> u64 {
    if choice == 0 {
        return 0;
    }
    // SAFETY: always safe to call.
    Sample::new(unsafe { bpf_ktime_get_ns() }, choice - 1).0
}

/// Decides about a call that enters, and that is counted in the slot at `slot`. Returns what
/// `ThreadRecord::entry_ns` becomes.
#[inline(always)]
pub fn enter<B: Backend>(slot: CellIndex, turn: u64) -> u64 {
    let Some(sampler) = B::sampler(slot) else { return 0 };
    // SAFETY: a live map value of the running thread's own.
    unsafe {
        let pace = Pace { until: (*sampler).until, block: (*sampler).block };
        match pace.decide_cheaply(turn as u32, now(), limit()) {
            Some((_, Choice::Skip)) => 0,
            Some((Pace { until, .. }, Choice::Time(shift))) => {
                (*sampler).until = until;
                entry(shift + 1)
            }
            None => entry(global::sample(slot, turn as u32)),
        }
    }
}

/// Decides about a call with this turn that is counted in the slot at `slot`. Returns the choice as
/// a number.
#[inline(always)]
pub fn decide<B: Backend>(slot: CellIndex, turn: u32) -> u32 {
    let Some(sampler) = B::sampler(slot) else { return 0 };
    // SAFETY: a live map value of the running thread's own.
    unsafe { decide_by(&raw mut (*sampler).until, &raw mut (*sampler).block, turn) }
}

/// Decides about a call with this turn by the [`Pace`] in these fields, and stores the new pace.
/// Returns the choice as a number.
///
/// # Safety
/// The fields are of a sampler in a live map value.
#[inline(always)]
unsafe fn decide_by(until: *mut u64, block: *mut u32, turn: u32) -> u32 {
    // SAFETY: the caller's fields.
    unsafe {
        let pace = Pace { until: *until, block: *block };
        let (pace, choice) = pace.decide(turn, now(), limit(), random);
        *until = pace.until;
        *block = pace.block;
        to_number(choice)
    }
}

/// Same as [`enter`], for a call that is counted in the overflow slot of its syscall. The limit
/// applies to each syscall and CPU there.
#[inline(always)]
pub fn enter_overflow(key: u32) -> u64 {
    entry(global::sample_overflow(key))
}

/// Same as [`decide`], for a call that is counted in the overflow slot of its syscall.
#[inline(always)]
pub fn decide_overflow(key: u32) -> u32 {
    let index = CallKey(key).overflow_index();
    let Some(sampler) = OVERFLOW_SAMPLERS.get_ptr_mut(index) else { return 0 };
    // SAFETY: a live map value of this CPU. If programs can be preempted, another task can use the
    // sampler at the same time. A decision of one of the two is then lost, which changes only
    // which calls are timed.
    unsafe {
        let turn = (*sampler).turn;
        (*sampler).turn = turn.wrapping_add(1);
        decide_by(&raw mut (*sampler).until, &raw mut (*sampler).block, turn)
    }
}

/// Begins the sampling of a slot without calls.
#[inline(always)]
pub fn begin<B: Backend>(slot: CellIndex) {
    if is_adaptive()
        && let Some(sampler) = B::sampler(slot)
    {
        // Volatile, because LLVM would call `memset`, which other programs call for their stack. The
        // verifier refuses an instruction that writes either into an arena or to the stack.
        // SAFETY: a live map value of the running thread's own.
        unsafe {
            let Sampler { until, extra_ns, squares, block, extra } = &mut *sampler;
            for field in [until, extra_ns, squares] {
                core::ptr::write_volatile(field, 0);
            }
            for field in [block, extra] {
                core::ptr::write_volatile(field, 0);
            }
        }
    }
}

/// Adds what the weight of a timed call exceeds 1 by. `is_bucketed` says that the slot has the
/// bucket of the call.
#[inline(always)]
pub fn add_weight<B: Backend>(slot: CellIndex, sample: Sample, is_bucketed: bool) {
    let shift = sample.shift();
    if shift == 0 {
        return;
    }
    let Some(sampler) = B::sampler(slot) else { return };
    // SAFETY: a live map value of the running thread's own.
    unsafe {
        (*sampler).extra_ns += (sample.ns() << shift) - sample.ns();
        if is_bucketed {
            (*sampler).extra = (*sampler).extra.wrapping_add((1 << shift) - 1);
            (*sampler).squares += 1 << (2 * shift);
        }
    }
}
