//! `sys_exit`: add the call to the slot that entry chose.

use aya_ebpf::helpers::bpf_ktime_get_ns;
use profiler_common::{
    call::CallKey,
    hist::{self, BUCKETS_PER_CHUNK, CHUNKS},
    limits::{ERRNOS, ERRNOS_PER_PAGE},
    wire::{CellIndex, OVERFLOWED, Slot, ThreadRecord},
};

use crate::{
    overflow,
    pool::{self, count},
    scope, slots,
    task::{PROBE_CALLS, Tasks, may_be_refused},
    thread,
};

/// The least result that is an errno: -4095, `MAX_ERRNO` of include/linux/err.h.
const FIRST_ERRNO: u64 = -4095_i64 as u64;

/// How a call left.
pub enum Outcome {
    /// With a result.
    Ok,
    /// With this errno.
    Error(u32),
    /// With one of the codes by which the kernel asks itself to restart the call
    /// once a signal is handled (include/linux/errno.h). User space never sees
    /// them. 515, ENOIOCTLCMD, stands among them and is no such code.
    Restarted,
}

impl Outcome {
    /// Reads a result.
    #[inline(always)]
    pub fn of(result: u64, key: u32) -> Self {
        if result < FIRST_ERRNO || CallKey(key).restores_registers(PROBE_CALLS.load()) {
            return Self::Ok;
        }
        match result.wrapping_neg() as u32 {
            512..=514 | 516 => Self::Restarted,
            errno => Self::Error(errno),
        }
    }
}

/// What a further copy of the program does: the same, if no copy before it has. See
/// [`enter_again`](crate::entry::enter_again).
#[inline(always)]
pub fn exit_again<T: Tasks>(regs: u64, result: u64) {
    if scope::is_outside::<T>(regs) {
        return;
    }
    if let Some((record, _)) = thread::hinted(regs) {
        // SAFETY: a live map value of the running thread's own.
        if unsafe { (*record).in_flight_key } == CallKey::NONE.0 {
            return;
        }
    } else if thread::has_left::<T>(T::current()) {
        return;
    }
    count!(exits_taken_over);
    exit::<T>(regs, result);
}

/// A call leaves with `result`, `regs` being its registers.
#[inline(always)]
pub fn exit<T: Tasks>(regs: u64, result: u64) {
    if scope::is_outside::<T>(regs) {
        return;
    }
    // First, for the same reason as the entry's clock is last.
    // SAFETY: always safe to call.
    let now = unsafe { bpf_ktime_get_ns() };
    let (record, index) = match thread::hinted(regs) {
        Some(found) => found,
        None => {
            let found = thread::leaving::<T>(now, result, regs);
            if found == 0 {
                return;
            }
            let Some(record) = pool::record(found - 1) else { return };
            (record, found - 1)
        }
    };
    // SAFETY: a live map value, and its owner, the running thread, is its only writer.
    unsafe {
        let key = (*record).in_flight_key;
        if key == CallKey::NONE.0 {
            denied::<T>(record, index, regs);
            return;
        }
        (*record).in_flight_key = CallKey::NONE.0;
        if scope::is_uncounted(key) {
            return;
        }
        let latency_ns = now.wrapping_sub((*record).entry_ns);
        let slot = (*record).in_flight_slot;
        if slot == OVERFLOWED {
            overflow::left(key, latency_ns, result);
        } else {
            add(record, index, slot, key, latency_ns, result);
        }
        // Once a reader sees the sum, it sees all that is in it.
        pool::publish();
        (*record).left += 1;
    }
}

/// The clock can step back by a little (`ktime_get_mono_fast_ns`,
/// kernel/time/timekeeping.c): a call that took next to no time has then taken less than
/// none, and a great number of nanoseconds.
#[inline(always)]
pub fn is_negative(latency_ns: u64) -> bool {
    (latency_ns as i64) < 0
}

/// Adds a call that left to its slot.
#[inline(always)]
unsafe fn add(
    record: *mut ThreadRecord,
    index: u32,
    slot: CellIndex,
    key: u32,
    latency_ns: u64,
    result: u64,
) {
    let Some(slot) = slots::slot(slot) else { return };
    // SAFETY: live map values of the running thread's own.
    unsafe {
        let mut latency_ns = latency_ns;
        if latency_ns > (*slot).max_ns {
            if is_negative(latency_ns) {
                latency_ns = 0;
            } else {
                (*slot).max_ns = latency_ns;
            }
        }
        (*slot).total_ns += latency_ns;
        if latency_ns < (*slot).min_ns {
            (*slot).min_ns = latency_ns;
        }
        add_bucket(record, index, slot, key, latency_ns);
        if result >= FIRST_ERRNO {
            failed(record, index, slot, result, key);
            return;
        }
        // Once a reader sees the call, it sees all its figures.
        pool::publish();
        (*slot).returned += 1;
    }
}

/// Adds a latency to a slot's histogram.
#[inline(always)]
unsafe fn add_bucket(
    record: *mut ThreadRecord,
    index: u32,
    slot: *mut Slot,
    key: u32,
    latency_ns: u64,
) {
    let bucket = pool::unproven(hist::bucket(latency_ns));
    let chunk = bucket / BUCKETS_PER_CHUNK as u32;
    if chunk >= CHUNKS as u32 {
        return;
    }
    // SAFETY: live map values of the running thread's own, and a chunk below the bound.
    unsafe {
        let place = (&raw mut (*slot).chunks).cast::<u32>().add(chunk as usize);
        let mut cell = *place;
        if cell == 0 {
            cell = pool::take_cell(record, index);
            *place = cell;
        }
        match pool::cell(cell) {
            Some(counts) if cell != 0 => {
                let offset = bucket % BUCKETS_PER_CHUNK as u32;
                *counts.cast::<u32>().add(offset as usize) += 1;
            }
            _ => {
                (*slot).unbucketed += 1;
                overflow::bucket_only(key, latency_ns);
            }
        }
    }
}

/// Counts how a call of `key` left whose result may be an errno.
#[inline(never)]
fn failed(record: *mut ThreadRecord, index: u32, slot: *mut Slot, result: u64, key: u32) {
    // SAFETY: live map values of the running thread's own.
    unsafe {
        match Outcome::of(result, key) {
            Outcome::Ok => {}
            Outcome::Restarted => {
                pool::publish();
                (*slot).restarted += 1;
                return;
            }
            Outcome::Error(errno) => {
                let errno = pool::unproven(errno);
                if errno >= ERRNOS as u32 {
                    (*slot).errors += 1;
                    (*slot).errors_unlisted += 1;
                } else if add_errno(record, index, slot, errno) {
                    (*slot).errors += 1;
                } else {
                    overflow::error_only(key, errno);
                }
            }
        }
        pool::publish();
        (*slot).returned += 1;
    }
}

/// Counts an errno below [`ERRNOS`]; false if there is no room.
#[inline(always)]
unsafe fn add_errno(record: *mut ThreadRecord, index: u32, slot: *mut Slot, errno: u32) -> bool {
    let page = errno / ERRNOS_PER_PAGE as u32;
    // SAFETY: live map values of the running thread's own, and a page below the bound.
    unsafe {
        let place = (&raw mut (*slot).errno_pages).cast::<u32>().add(page as usize);
        let mut cell = *place;
        if cell == 0 {
            cell = pool::take_cell(record, index);
            *place = cell;
        }
        match pool::cell(cell) {
            Some(counts) if cell != 0 => {
                *counts.cast::<u32>().add((errno % ERRNOS_PER_PAGE as u32) as usize) += 1;
                true
            }
            _ => false,
        }
    }
}

/// An exit without an entry: seccomp or ptrace refused the call before the entry
/// tracepoint (`syscall_trace_enter`, kernel/entry/common.c), or the kernel skipped our
/// program there.
#[inline(never)]
fn denied<T: Tasks>(record: *mut ThreadRecord, index: u32, regs: u64) {
    // While the programs attach and detach, an entry may be missing for our own sake.
    if !pool::attached() {
        return;
    }
    let task = T::current();
    if !scope::may_be_denied::<T>(task) {
        return;
    }
    let key = CallKey::new(T::number_at_exit(regs), T::is_compat(task)).0;
    if !scope::counts(key) {
        return;
    }
    if !may_be_refused(task) {
        count!(missed_entries);
        return;
    }
    // SAFETY: live map values of the running thread's own.
    unsafe {
        let slot = slots::find(record, index, key);
        match slots::slot(slot) {
            Some(figures) if slot != 0 => (*figures).denied += 1,
            _ => overflow::denied(key),
        }
        pool::publish();
        (*record).denied += 1;
    }
}
