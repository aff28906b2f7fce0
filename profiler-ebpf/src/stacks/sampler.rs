//! Chooses the calls whose stacks are taken.
//!
//! Points lie at random distances on the sum of the sizes of the calls. A call that covers a point is
//! chosen. The distances are uniform between 0 and twice the mean, and do not depend on when a call
//! comes, so each call is chosen in proportion to its size, whatever pattern the calls have.

use aya_ebpf::helpers::{bpf_get_prandom_u32, bpf_jiffies64, bpf_ktime_get_ns};
use profiler_common::stacks::{StackSampler, WINDOW_NS, WINDOW_STACKS};
use profiler_ebpf::settings::STACK_RATE;

use super::maps::STACK_PACE;

/// Ticks without a stack after which the mean distance is reduced: 64 to 640 ms.
const IDLE_TICKS: u32 = 64;

/// The greatest mean distance.
const MAX_MEAN: u64 = 1 << 31;

/// The greatest weight of a window for which the pace is computed, so that no product overflows.
const MAX_PACED: u64 = 1 << 40;

/// The time between two stacks of a syscall is at most this many times as long as without others.
const MAX_SLOWDOWN: u64 = 4096;

/// `value`, or the nearest of the two limits. The method of integers panics if the limits are
/// exchanged, and a program must not.
#[inline(always)]
fn within(value: u64, least: u64, most: u64) -> u64 {
    if value < least {
        least
    } else if value > most {
        most
    } else {
        value
    }
}

/// A random number below `limit`, which is at most `1 << 32`.
#[inline(always)]
fn below(limit: u64) -> u64 {
    // SAFETY: always safe to call.
    let random = u64::from(unsafe { bpf_get_prandom_u32() });
    (random * limit) >> 32
}

/// A distance from a point to the next one: 1 to `2 * mean - 1`.
#[inline(always)]
fn distance(mean: u64) -> u64 {
    1 + below(2 * mean - 1)
}

/// Adds a call to the sampler. Returns its weight if it is chosen, and 0 otherwise.
///
/// # Safety
/// `sampler` is a live map value of this CPU.
#[inline(always)]
pub unsafe fn choose(sampler: *mut StackSampler, size: u64) -> u64 {
    // SAFETY: the caller's sampler. If programs can be preempted, another thread can use it in
    // between, and one of the two calls can be missing from the sums.
    unsafe {
        (*sampler).total += size;
        (*sampler).calls += 1;
        let pending = (*sampler).pending + size;
        (*sampler).pending = pending;
        let tick = bpf_jiffies64() as u32;
        if pending < (*sampler).until {
            if tick.wrapping_sub((*sampler).last_tick) < IDLE_TICKS {
                return 0;
            }
            hurry(sampler, tick);
            return 0;
        }
        (*sampler).last_tick = tick;
        weight(sampler)
    }
}

/// Reduces the mean distance, because calls have become rare.
#[inline(never)]
unsafe fn hurry(sampler: *mut StackSampler, tick: u32) {
    // SAFETY: the caller's sampler.
    unsafe {
        (*sampler).last_tick = tick;
        let mean = ((*sampler).mean >> 2).max(1);
        (*sampler).mean = mean;
        let until = (*sampler).pending + distance(mean);
        if until < (*sampler).until {
            (*sampler).until = until;
        }
    }
}

/// The weight of a call that covers at least one point.
#[inline(never)]
unsafe fn weight(sampler: *mut StackSampler) -> u64 {
    // SAFETY: the caller's sampler.
    unsafe {
        let pending = (*sampler).pending;
        // The first call has a point at its end.
        let first = if (*sampler).until == 0 { pending } else { (*sampler).until };
        let old_mean = within((*sampler).mean, 1, MAX_MEAN);
        let rest = pending.saturating_sub(first);
        // Most calls cover one point. A call that covers several ends somewhere between two points.
        let next = distance(old_mean);
        let age = if rest < next {
            rest
        } else {
            // Long distances are more likely to have the end of a call within them: the greater one
            // of two uniform numbers has that distribution.
            let (one, other) = (below(2 * old_mean), below(2 * old_mean));
            let longest = if one > other { one } else { other };
            let age = below(longest + 1);
            if age < rest { age } else { rest }
        };
        let weight = pending - age;
        (*sampler).pending = age;
        let now = bpf_ktime_get_ns();
        let mean = within(paced(sampler, weight, now), 1, MAX_MEAN);
        (*sampler).mean = mean;
        let until = if rest < next { next } else { age + distance(mean) };
        (*sampler).until = if until > age { until } else { age + 1 };
        weight
    }
}

/// The new mean distance, by which the rate of stacks approaches the one that was set.
#[inline(always)]
unsafe fn paced(sampler: *mut StackSampler, weight: u64, now: u64) -> u64 {
    let base = (1_000_000_000 / u64::from(STACK_RATE.load().max(1))).max(1);
    let Some(pace) = STACK_PACE.get_ptr_mut(0) else { return 1 };
    // SAFETY: the caller's sampler, and a live map value of this CPU.
    unsafe {
        let mut period = within((*pace).period_ns, base, base * MAX_SLOWDOWN);
        (*pace).taken += 1;
        let passed = now.saturating_sub((*pace).since_ns);
        if passed > WINDOW_NS {
            // As many stacks of all syscalls as of one.
            let wanted = (passed / base).max(1);
            period = within(period * (*pace).taken / wanted, base, base * MAX_SLOWDOWN);
            (*pace).since_ns = now;
            (*pace).taken = 0;
        }
        (*pace).period_ns = period;
        let mean = within((*sampler).mean, 1, MAX_MEAN);
        if (*sampler).window_ns == 0 {
            (*sampler).window_ns = now;
        }
        (*sampler).window_stacks += 1;
        (*sampler).window_weight += weight;
        if (*sampler).window_stacks < WINDOW_STACKS {
            return mean;
        }
        // Sizes per stack, if stacks are one period apart.
        let per_stack = within((*sampler).window_weight, 1, MAX_PACED) / u64::from(WINDOW_STACKS);
        let passed = now.saturating_sub((*sampler).window_ns) / u64::from(WINDOW_STACKS);
        (*sampler).window_ns = now;
        (*sampler).window_weight = 0;
        (*sampler).window_stacks = 0;
        let wanted = per_stack * (period >> 6) / ((passed >> 6) + 1);
        let wanted = if wanted < 8 * mean { wanted } else { 8 * mean };
        (mean + wanted).div_ceil(2)
    }
}
