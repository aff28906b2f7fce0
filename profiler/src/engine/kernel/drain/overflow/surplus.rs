//! Makes the figures of an overflow slot consistent.
//!
//! Many threads write an overflow slot at once, so the reader cannot wait for a moment without a
//! writer. The reader reads the number of calls that left first, and their other figures later. So
//! the other figures may already include later calls. This surplus is left to the next reading.

use profiler_common::wire::OverflowSlot;

use crate::model::{Extremes, Timed};

/// Removes from `new` the figures of calls that had not left when the calls were counted. `old` was
/// already reported. If `alone` is true, every figure in the slot belongs to a call that the slot
/// itself counted. Then each call that left has one bucket, and each error belongs to a call that
/// returned.
pub(super) fn hold_over(
    new: &mut OverflowSlot,
    old: &OverflowSlot,
    extremes: Option<Extremes>,
    (timed, alone): (Timed, bool),
) {
    let returned = new.returned.wrapping_sub(old.returned);
    let left = returned.wrapping_add(new.restarted.wrapping_sub(old.restarted));
    let mut latencies = sum(&new.buckets, &old.buckets);
    if alone {
        // With weights, the buckets can count more than the calls that left. So the surplus is
        // unknown.
        let is_weighted = matches!(timed, Timed::Adaptive(_));
        let surplus = if is_weighted { 0 } else { latencies.saturating_sub(left) };
        take_back(&mut new.buckets, &old.buckets, surplus);
        latencies -= surplus;
        let unlisted = new.errors_unlisted.wrapping_sub(old.errors_unlisted).min(returned);
        new.errors_unlisted = old.errors_unlisted.wrapping_add(unlisted);
        let listed = sum(&new.errnos, &old.errnos);
        take_back(&mut new.errnos, &old.errnos, (listed + unlisted).saturating_sub(returned));
    }
    let unlisted = new.errors_unlisted.wrapping_sub(old.errors_unlisted);
    new.errors = old.errors.wrapping_add(unlisted + sum(&new.errnos, &old.errnos));
    if let Some(Extremes { min_ns, max_ns }) = extremes {
        let extra = new.extra.wrapping_sub(old.extra);
        let calls = if timed == Timed::All { left } else { latencies.saturating_sub(extra) };
        let bounds = (calls.saturating_mul(min_ns), calls.saturating_mul(max_ns.max(min_ns)));
        let total_ns = new.total_ns.wrapping_sub(old.total_ns).clamp(bounds.0, bounds.1);
        new.total_ns = old.total_ns.wrapping_add(total_ns);
    }
}

/// Returns the sum of the increases from `old` to `new`.
fn sum(new: &[u32], old: &[u32]) -> u64 {
    new.iter().zip(old).map(|(new, old)| u64::from(new.wrapping_sub(*old))).sum()
}

/// Reduces the increases from `old` to `new` by `surplus` in total.
fn take_back(new: &mut [u32], old: &[u32], mut surplus: u64) {
    for (new, old) in new.iter_mut().zip(old) {
        if surplus == 0 {
            return;
        }
        let taken = u64::from(new.wrapping_sub(*old)).min(surplus);
        *new = new.wrapping_sub(taken as u32);
        surplus -= taken;
    }
}

#[cfg(test)]
mod tests {
    use profiler_common::hist;
    use proptest::prelude::*;

    use super::*;
    use crate::engine::kernel::tables::ZERO_OVERFLOW;

    /// A call that leaves: its latency, its errno, and how many of its stores precede the reading.
    fn call() -> impl Strategy<Value = (u64, Option<usize>, u32)> {
        (1..300_u64, prop::option::of(1..134_usize), 0..4_u32)
    }

    fn store(slot: &mut OverflowSlot, (ns, errno, _): (u64, Option<usize>, u32), step: u32) {
        match (step, errno) {
            (0, _) => slot.total_ns += ns,
            (1, _) => slot.buckets[hist::bucket(ns) as usize] += 1,
            (2, Some(errno)) => (slot.errnos[errno] += 1, slot.errors += 1).1,
            (2, None) => {}
            _ => slot.returned += 1,
        }
    }

    proptest! {
        /// Each reading finds some calls half stored. Each row is consistent, and the rows add up
        /// to all calls.
        #[test]
        fn what_is_reported_agrees_and_adds_up(
            readings in prop::collection::vec(prop::collection::vec(call(), 0..20), 1..20)
        ) {
            let (mut stored, mut reported) = (ZERO_OVERFLOW, ZERO_OVERFLOW);
            let extremes = Some(Extremes { min_ns: 1, max_ns: 299 });
            let read = |stored: &OverflowSlot, old: &OverflowSlot| {
                let mut new = *stored;
                hold_over(&mut new, old, extremes, (Timed::All, true));
                new
            };
            for calls in readings {
                for &call in &calls {
                    (0..call.2).for_each(|step| store(&mut stored, call, step));
                }
                let new = read(&stored, &reported);
                let left = new.returned - reported.returned;
                let errors = new.errors - reported.errors;
                prop_assert!(errors <= left);
                prop_assert_eq!(sum(&new.errnos, &reported.errnos), errors);
                prop_assert_eq!(sum(&new.buckets, &reported.buckets), left);
                let total_ns = new.total_ns - reported.total_ns;
                prop_assert!((left..=left * 299).contains(&total_ns));
                reported = new;
                for &call in &calls {
                    (call.2..4).for_each(|step| store(&mut stored, call, step));
                }
            }
            let new = read(&stored, &reported);
            prop_assert_eq!((new.returned, new.errors), (stored.returned, stored.errors));
            prop_assert_eq!(new.buckets, stored.buckets);
            prop_assert_eq!(new.errnos, stored.errnos);
        }
    }
}
