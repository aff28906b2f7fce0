//! The overflow slots: one per syscall, for calls for which there is no record or no cell.
//!
//! All threads share them, by atomic additions, which are slower. Totals, errnos and histograms of
//! such calls stay exact. Only their process is unknown.

use profiler_common::{
    call::CallKey,
    hist::{self, BUCKETS},
    limits::ERRNOS,
    sampling::adaptive::Sample,
    wire::OverflowSlot,
};

use crate::{
    atomic::{add, add_u32, increment_u32},
    backend::Backend,
    exit::{Outcome, is_negative},
    global,
    maps::{OVERFLOW, OVERFLOW_EXTREMES},
    sampling::is_adaptive,
    verifier::opaque,
};

#[inline(always)]
fn slot(key: u32) -> Option<*mut OverflowSlot> {
    OVERFLOW.get_ptr_mut(CallKey(key).overflow_index())
}

/// Counts a call that enters.
#[inline(always)]
pub fn entered(key: u32) {
    if let Some(slot) = slot(key) {
        // SAFETY: a field of a live map value.
        unsafe { add(&raw mut (*slot).entered, 1) }
    }
}

/// Counts a call that entered here and whose thread ended before the call left.
#[inline(always)]
pub fn never_returned(key: u32) {
    if let Some(slot) = slot(key) {
        // SAFETY: as above.
        unsafe { add(&raw mut (*slot).never_returned, 1) }
    }
}

/// Counts a call that was refused before it entered.
#[inline(always)]
pub fn denied(key: u32) {
    if let Some(slot) = slot(key) {
        // SAFETY: as above.
        unsafe { add(&raw mut (*slot).denied, 1) }
    }
}

/// Stands for the latency of a call that was not timed.
pub const UNTIMED: u64 = u64::MAX;

/// Counts a call that entered here and left with `result`, after `latency_ns` if it was timed. With
/// adaptive sampling, the latency is a [`Sample`], here and in the functions below.
#[inline(always)]
pub fn leave(key: u32, latency_ns: Option<u64>, result: u64) {
    global::leave_overflow(key, latency_ns.unwrap_or(UNTIMED), result);
}

/// Does the work of [`leave`] in a global function. `latency_ns` is [`UNTIMED`] if the call was not
/// timed.
#[inline(always)]
pub fn left<B: Backend>(key: u32, latency_ns: u64, result: u64) {
    if latency_ns != UNTIMED {
        timed::<B>(key, latency_ns);
    }
    ended(key, result);
}

#[inline(never)]
fn ended(key: u32, result: u64) {
    let Some(slot) = slot(key) else { return };
    // SAFETY: fields of a live map value.
    unsafe {
        match Outcome::of(result, key) {
            Outcome::Ok => add(&raw mut (*slot).returned, 1),
            Outcome::Restarted => add(&raw mut (*slot).restarted, 1),
            Outcome::Error(errno) => {
                let errno = opaque(errno);
                if errno < ERRNOS as u32 {
                    increment_u32((&raw mut (*slot).errnos).cast::<u32>().add(errno as usize));
                } else {
                    add(&raw mut (*slot).errors_unlisted, 1);
                }
                add(&raw mut (*slot).errors, 1);
                // Last, so that a reader that sees the return sees its figures.
                add(&raw mut (*slot).returned, 1);
            }
        }
    }
}

#[inline(never)]
fn timed<B: Backend>(key: u32, latency_ns: u64) {
    let Some(slot) = slot(key) else { return };
    add_bucket(slot, latency_ns);
    let latency_ns = if is_adaptive() {
        let sample = Sample(latency_ns);
        let shift = sample.shift();
        // SAFETY: a field of a live map value.
        unsafe { add(&raw mut (*slot).extra_ns, (sample.ns() << shift) - sample.ns()) };
        sample.ns()
    } else if is_negative(latency_ns) {
        0
    } else {
        latency_ns
    };
    // SAFETY: a field of a live map value.
    unsafe { add(&raw mut (*slot).total_ns, latency_ns) };
    if let Some(extremes) = OVERFLOW_EXTREMES.get_ptr_mut(CallKey(key).overflow_index()) {
        // SAFETY: fields of a live map value of this CPU. Every copy of the exit program writes
        // them, each by `raise`.
        unsafe {
            B::raise(&raw mut (*extremes).max_ns, latency_ns);
            B::raise(&raw mut (*extremes).min_ns_inverted, !latency_ns);
        }
    }
}

/// Counts only the bucket of a call, for whose slot there was no cell with the bucket.
#[inline(always)]
pub fn bucket_only(key: u32, latency_ns: u64) {
    if let Some(slot) = slot(key) {
        add_bucket(slot, latency_ns);
    }
}

/// Counts only the errno of a call, for whose slot there was no cell with the errno.
#[inline(always)]
pub fn error_only(key: u32, errno: u32) {
    if let Some(slot) = slot(key)
        && errno < ERRNOS as u32
    {
        // SAFETY: fields of a live map value, and an errno below the bound.
        unsafe {
            increment_u32((&raw mut (*slot).errnos).cast::<u32>().add(errno as usize));
            add(&raw mut (*slot).errors, 1);
        }
    }
}

#[inline(always)]
fn add_bucket(slot: *mut OverflowSlot, latency_ns: u64) {
    if is_adaptive() {
        add_sample(slot, Sample(latency_ns));
        return;
    }
    let latency_ns = if is_negative(latency_ns) { 0 } else { latency_ns };
    let bucket = opaque(hist::bucket(latency_ns));
    if bucket < BUCKETS as u32 {
        // SAFETY: compared with the bound just above.
        unsafe { increment_u32((&raw mut (*slot).buckets).cast::<u32>().add(bucket as usize)) }
    }
}

/// Same as [`add_bucket`], with adaptive sampling: as often as the weight of the call.
#[inline(always)]
fn add_sample(slot: *mut OverflowSlot, sample: Sample) {
    let shift = sample.shift();
    let bucket = opaque(hist::bucket(sample.ns()));
    if bucket < BUCKETS as u32 {
        // SAFETY: fields of a live map value, and a bucket below the bound.
        unsafe {
            add_u32((&raw mut (*slot).buckets).cast::<u32>().add(bucket as usize), 1 << shift);
            if shift > 0 {
                add(&raw mut (*slot).extra, (1 << shift) - 1);
                add(&raw mut (*slot).squares, 1 << (2 * shift));
            }
        }
    }
}
