//! The rows: one per process and opcode.

use aya_ebpf::helpers::bpf_ktime_get_ns;
use profiler_common::{
    hist::{self, BUCKETS},
    io_uring::{OVERFLOW_ROWS, OperationKey, OperationRow, UNKNOWN_OPCODE},
    limits::{COMM_LEN, ERRNOS},
};

use crate::{
    arch,
    atomic::{add, increment_u32},
    maps::{CONTROL, FREE_OPERATIONS, OPERATION_INDEX, OPERATIONS},
    settings::COMM_OFFSET,
    task::Task,
    verifier::opaque,
};

/// `BPF_NOEXIST` (include/uapi/linux/bpf.h): the insert fails if the key is there.
const ONLY_NEW: u64 = 1;

/// The index of the row with this key. Takes a row if there is none; if none is free, the overflow
/// row of the opcode. `leader` leads the process, and names it; it can be null.
#[inline(never)]
pub fn find(key: &OperationKey, leader: Task) -> Option<u32> {
    // SAFETY: copied at once.
    if let Some(&index) = unsafe { OPERATION_INDEX.get(key) } {
        return Some(index);
    }
    if key.tgid == 0 {
        return Some(overflow(key));
    }
    let Ok(Some(index)) = FREE_OPERATIONS.pop() else { return Some(overflow(key)) };
    let row = OPERATIONS.get_ptr_mut(index)?;
    // SAFETY: a live map value that nobody else uses. The reader has zeroed it.
    unsafe {
        if let Ok(comm) = aya_ebpf::helpers::bpf_probe_read_kernel::<[u64; COMM_LEN / 8]>(
            leader.cast::<u8>().wrapping_add(COMM_OFFSET.load() as usize).cast(),
        ) {
            (&raw mut (*row).comm).cast::<[u64; COMM_LEN / 8]>().write(comm);
        }
        (*row).key.start_ns = key.start_ns;
        (*row).key.opcode = key.opcode;
        // The process id last: a reader that sees it sees the rest.
        arch::publish();
        (*row).key.tgid = key.tgid;
        if OPERATION_INDEX.insert(key, index, ONLY_NEW).is_ok() {
            return Some(index);
        }
        // Another task of the process was first, or the index is full.
        (*row).key.tgid = 0;
        arch::publish();
        let _ = FREE_OPERATIONS.push(index, 0);
        Some(OPERATION_INDEX.get(key).copied().unwrap_or_else(|| overflow(key)))
    }
}

#[inline(always)]
fn overflow(key: &OperationKey) -> u32 {
    if key.opcode < UNKNOWN_OPCODE { key.opcode } else { UNKNOWN_OPCODE }
}

/// The index of the row at `index`, if it still has this key, and otherwise of the row that has it
/// now.
#[inline(always)]
pub fn of_index(index: u32, key: &OperationKey) -> Option<u32> {
    let row = OPERATIONS.get_ptr(index)?;
    // SAFETY: a live map value.
    let is_same = index < OVERFLOW_ROWS
        || unsafe {
            (*row).key.tgid == key.tgid
                && (*row).key.start_ns == key.start_ns
                && (*row).key.opcode == key.opcode
        };
    if is_same { Some(index) } else { find(key, core::ptr::null_mut()) }
}

/// Adds one to a field of the row at `index`.
macro_rules! count {
    ($index:expr, $field:ident) => {
        if let Some(row) = OPERATIONS.get_ptr_mut($index) {
            // SAFETY: a field of a live map value.
            unsafe { add(&raw mut (*row).$field, 1) }
        }
    };
}

/// Tells the reader that a row has changed.
#[inline(always)]
fn note_change() {
    if let Some(control) = CONTROL.get_ptr_mut(0) {
        // Written only if the reader has cleared it, so that CPUs share the cache line.
        // SAFETY: a field of a live map value.
        unsafe {
            if (&raw const (*control).operations).read_volatile() == 0 {
                (&raw mut (*control).operations).write_volatile(1);
            }
        }
    }
}

/// Counts a submission.
#[inline(always)]
pub fn submitted(index: u32, silent: bool) {
    count!(index, submitted);
    if silent {
        count!(index, silent);
    }
    note_change();
}

/// Counts a completed request, with an errno unless that is 0, and with a latency if it was
/// submitted at a time that is not 0.
///
/// The count comes before its figures, and the reader reads in the opposite order: there are never
/// more errors or latencies than completed requests.
#[inline(never)]
pub fn completed(index: u32, errno: u32, submitted_ns: u64) {
    count!(index, completed);
    note_errno(index, errno);
    if submitted_ns != 0
        && let Some(row) = OPERATIONS.get_ptr_mut(index)
    {
        // SAFETY: fields of a live map value, and a bucket below the bound.
        unsafe {
            let latency_ns = bpf_ktime_get_ns().saturating_sub(submitted_ns);
            add(&raw mut (*row).total_ns, latency_ns);
            let bucket = opaque(hist::bucket(latency_ns));
            if bucket < BUCKETS as u32 {
                increment_u32((&raw mut (*row).buckets).cast::<u32>().add(bucket as usize));
            }
        }
    }
    note_change();
}

#[inline(always)]
fn note_errno(index: u32, errno: u32) {
    if errno != 0
        && let Some(row) = OPERATIONS.get_ptr_mut(index)
    {
        let errno = opaque(errno);
        // SAFETY: fields of a live map value, and an errno below the bound.
        unsafe {
            if errno < ERRNOS as u32 {
                increment_u32((&raw mut (*row).errnos).cast::<u32>().add(errno as usize));
            } else {
                add(&raw mut (*row).errors_unlisted, 1);
            }
        }
    }
}

/// Counts that the submission of a completed request was not seen.
#[inline(always)]
pub fn unmatched(index: u32) {
    count!(index, unmatched);
}

/// Counts that a completed request is one of those that ask for no completion.
#[inline(always)]
pub fn silent_completed(index: u32) {
    count!(index, silent_completed);
}

/// Counts a request that ended without a completion.
#[inline(always)]
pub fn unreported(index: u32) {
    count!(index, unreported);
    note_change();
}

/// Counts a completion that is not the last one of its request, or is of no request.
#[inline(always)]
pub fn posted(index: u32) {
    count!(index, posted);
    note_change();
}

/// Counts a completion that found its queue full.
#[inline(always)]
pub fn overflowed(index: u32, errno: u32) {
    count!(index, overflowed);
    note_errno(index, errno);
    note_change();
}

const _: () = assert!(size_of::<OperationRow>().is_multiple_of(8));
