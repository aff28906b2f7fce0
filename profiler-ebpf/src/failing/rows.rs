//! The rows: one per process, call, errno, reason and target.

use core::ptr::{read_volatile, write_volatile};

use profiler_common::{
    failing::{FailureKey, FailureRow, TARGET_WORDS, Target},
    limits::COMM_LEN,
    wire::ThreadRecord,
};

use crate::{
    arch,
    atomic::add,
    maps::{FAILURE_INDEX, FAILURES, FREE_FAILURES},
};

/// `BPF_NOEXIST` (include/uapi/linux/bpf.h): the insert fails if the key is there.
const ONLY_NEW: u64 = 1;

/// Counts a failure of the owner of `record`. Takes a row if there is none. If no row is free,
/// nothing is counted.
///
/// # Safety
/// `record` and `target` are in live map values.
#[inline(always)]
pub unsafe fn count(key: &FailureKey, record: *const ThreadRecord, target: *const Target) {
    // SAFETY: the index is copied at once, and the caller's map values.
    unsafe {
        if let Some(&index) = FAILURE_INDEX.get(key) {
            count_at(index, target);
            return;
        }
        let Ok(Some(index)) = FREE_FAILURES.pop() else { return };
        let Some(row) = FAILURES.get_ptr_mut(index) else { return };
        // The reader has zeroed the row, and nobody else uses it.
        let name = (&raw const (*record).comm).cast::<[u64; COMM_LEN / 8]>().read();
        (&raw mut (*row).comm).cast::<[u64; COMM_LEN / 8]>().write(name);
        let (from, to) = (target.cast::<u64>(), (&raw mut (*row).target).cast::<u64>());
        for word in 0..TARGET_WORDS {
            write_volatile(to.add(word), read_volatile(from.add(word)));
        }
        (*row).key.start_ns = key.start_ns;
        (*row).key.hash = key.hash;
        (*row).key.call = key.call;
        (*row).key.errno = key.errno;
        (*row).key.capability = key.capability;
        (*row).calls = 1;
        // The process id last: a reader that sees it sees the rest.
        arch::publish();
        (*row).key.tgid = key.tgid;
        if FAILURE_INDEX.insert(key, index, ONLY_NEW).is_ok() {
            return;
        }
        // Another thread of the process was first, or the index is full.
        (*row).key.tgid = 0;
        arch::publish();
        (*row).calls = 0;
        let _ = FREE_FAILURES.push(index, 0);
        if let Some(&index) = FAILURE_INDEX.get(key) {
            count_at(index, target);
        }
    }
}

/// Counts a failure in the row at `index`, if that has this target.
///
/// # Safety
/// As of [`count`].
#[inline(always)]
unsafe fn count_at(index: u32, target: *const Target) {
    let Some(row): Option<*mut FailureRow> = FAILURES.get_ptr_mut(index) else { return };
    // SAFETY: live map values.
    unsafe {
        let (a, b) = (target.cast::<u64>(), (&raw const (*row).target).cast::<u64>());
        let mut differs = 0;
        for word in 0..TARGET_WORDS {
            differs |= read_volatile(a.add(word)) ^ read_volatile(b.add(word));
        }
        if differs == 0 {
            add(&raw mut (*row).calls, 1);
        }
    }
}
