//! The exit program: adds a call that leaves to the slot that the entry program chose.
//!
//! A result from -4095 to -1 is an errno, as for the C library. profiler/docs/outcomes.md has the
//! consequences.

use aya_ebpf::helpers::bpf_ktime_get_ns;
use profiler_common::{
    call::CallKey,
    failing::FailureKey,
    hist::{self, BUCKETS_PER_CHUNK, CHUNKS},
    limits::{ERRNOS, ERRNOS_PER_PAGE},
    sampling::{self, adaptive::Sample},
    wire::{CellIndex, FURTHER_EXITS, OVERFLOWED, Slot, ThreadRecord},
};

use crate::{
    arch,
    backend::Backend,
    control,
    counters::count,
    failing, global, interrupted,
    pool::{self, overflow, slots},
    refusal,
    restart::{ERESTART_RESTARTBLOCK, ERESTARTNOHAND, ERESTARTSYS},
    sampling as adaptive, scope,
    settings::{PROBE_CALLS, TIMED},
    task::may_be_refused,
    thread::{self, Remaining},
    verifier::opaque,
};

/// The least result that is an errno: -4095, `MAX_ERRNO` of include/linux/err.h.
pub(crate) const FIRST_ERRNO: u64 = -4095_i64 as u64;

/// Whether a result, or the lower half of it, is an errno: see [`arch::lower_half_is_at_least`].
#[inline(always)]
fn may_be_errno(result: u64) -> bool {
    arch::lower_half_is_at_least(result, FIRST_ERRNO)
}

/// How a call left.
pub enum Outcome {
    /// With a result.
    Ok,
    /// With this errno.
    Error(u32),
    /// With a restart code.
    Restarted,
}

impl Outcome {
    /// Reads a result.
    #[inline(always)]
    pub fn of(result: u64, key: u32) -> Self {
        let key = CallKey(key);
        let is_errno = result >= FIRST_ERRNO || key.has_result_of_tracer() && may_be_errno(result);
        if !is_errno || key.restores_registers(PROBE_CALLS.load()) {
            return Self::Ok;
        }
        match (result as u32).wrapping_neg() {
            ERESTARTSYS..=ERESTARTNOHAND | ERESTART_RESTARTBLOCK if key.can_be_restarted() => {
                Self::Restarted
            }
            errno => Self::Error(errno),
        }
    }
}

/// Runs a further copy of the program, with this number: it counts the exit if no earlier copy has.
/// See [`enter_again`](crate::entry::enter_again).
#[inline(always)]
pub fn exit_again<B: Backend>(regs: u64, result: u64, copy: usize) {
    if scope::outside::has::<B>(regs) {
        return;
    }
    let record = thread::from_hint::<B>(regs);
    let state = if record.is_some() { None } else { B::state(B::current()) };
    let record = record.or_else(|| state.and_then(thread::record_of::<B>));
    let is_certain = if let Some(record) = record {
        // SAFETY: a live map value of the running thread's own.
        let key = CallKey(unsafe { (*record).in_flight_key });
        let entered = key != CallKey::NONE && !key.is_interrupted();
        if !entered && (unsafe { was_counted(record, copy) } || !may_be_refused(B::current())) {
            return;
        }
        entered
    } else {
        if state.is_some_and(|state| thread::exit_is_accounted_for(state, copy)) {
            return;
        }
        true
    };
    if is_certain {
        count!(exits_taken_over);
    }
    exit::<B>(regs, result);
    // The thread has a record now, if this was its first refused call.
    let record = record.or_else(|| B::state(B::current()).and_then(thread::record_of::<B>));
    // SAFETY: as above. The second look includes what this copy has counted itself.
    if record.is_some_and(|record| unsafe { was_counted(record, copy) }) && !is_certain {
        count!(exits_taken_over);
    }
}

/// Whether an exit of the running thread has been counted since this copy last called this
/// function. The exit of a refused call leaves no other trace.
///
/// # Safety
/// `record` is a live map value, the running thread's own.
#[inline(always)]
unsafe fn was_counted(record: *mut ThreadRecord, copy: usize) -> bool {
    if copy >= FURTHER_EXITS {
        return true;
    }
    // SAFETY: the caller's record, and a copy below the bound.
    unsafe {
        // An interrupted call has left. It will be in `left` once its outcome is known.
        let interrupted = u32::from(CallKey((*record).in_flight_key).is_interrupted());
        let counted =
            ((*record).left as u32).wrapping_add((*record).denied).wrapping_add(interrupted);
        let seen = (&raw mut (*record).exits_seen).cast::<u32>().add(copy);
        let was = *seen != counted;
        *seen = counted;
        was
    }
}

/// Counts a call that leaves with `result`, with registers at `regs`.
#[inline(always)]
pub fn exit<B: Backend>(regs: u64, result: u64) {
    if scope::outside::has::<B>(regs) {
        return;
    }
    // As early as possible, so that little of our own time is in the latency. If not all calls are
    // timed, the record says whether this call is. SAFETY: always safe to call.
    let now = if TIMED.load() == sampling::ALL { unsafe { bpf_ktime_get_ns() } } else { 0 };
    let record = match thread::from_hint::<B>(regs) {
        Some(found) => found,
        None => {
            let Remaining::Count(index) = thread::at_exit::<B>(result, regs) else { return };
            let Some(record) = index.record::<B>() else { return };
            record
        }
    };
    // SAFETY: a live map value, and its owner, the running thread, is its only writer.
    unsafe {
        let key = (*record).in_flight_key;
        if CallKey(key).is_special() {
            if scope::is_uncounted(key) {
                (*record).in_flight_key = CallKey::NONE.0;
                return;
            }
            if key != CallKey::NONE.0 {
                interrupted::count_restarted();
            }
            global::count_denied(arch::call_number(regs));
            return;
        }
        let latency_ns = latency(now, &raw const (*record).entry_ns);
        if interrupted::is_interruption(result, key) {
            interrupted::keep(record, key, latency_ns, result);
            return;
        }
        (*record).in_flight_key = CallKey::NONE.0;
        let slot = (*record).in_flight_slot;
        if slot == OVERFLOWED {
            overflow::leave(key, latency_ns, result);
        } else {
            add::<B>(record, slot, key, latency_ns, result);
        }
        // A reader that sees the sum sees what is in it.
        arch::publish();
        (*record).left += 1;
    }
}

/// The latency of a call that entered at `*entry_ns`; `None` if the call is not timed. `now` is the
/// time if all calls are timed. With adaptive sampling, both are [`Sample`]s.
///
/// # Safety
/// `entry_ns` is in a live map value.
#[inline(always)]
pub unsafe fn latency(now: u64, entry_ns: *const u64) -> Option<u64> {
    // SAFETY: the caller's place.
    unsafe {
        match TIMED.load() {
            sampling::ALL => Some(now.wrapping_sub(*entry_ns)),
            sampling::NONE => None,
            sampling::ADAPTIVE => match *entry_ns {
                0 => None,
                entry => Some(Sample(entry).latency(bpf_ktime_get_ns()).0),
            },
            _ => match *entry_ns {
                0 => None,
                entry_ns => Some(bpf_ktime_get_ns().wrapping_sub(entry_ns)),
            },
        }
    }
}

/// Whether a latency is negative.
///
/// The clock can step back by a little (`ktime_get_mono_fast_ns`, kernel/time/timekeeping.c). A
/// very short call can then have a negative latency, which is a great number of nanoseconds if
/// unsigned.
#[inline(always)]
pub fn is_negative(latency_ns: u64) -> bool {
    (latency_ns as i64) < 0
}

/// Adds a call that left to its slot.
///
/// # Safety
/// `record` is a live map value, the running thread's own.
#[inline(always)]
pub unsafe fn add<B: Backend>(
    record: *mut ThreadRecord,
    slot: CellIndex,
    key: u32,
    latency_ns: Option<u64>,
    result: u64,
) {
    let index = slot;
    let Some(slot) = slots::slot::<B>(slot) else { return };
    // SAFETY: live map values of the running thread's own.
    unsafe {
        if adaptive::is_adaptive() {
            if let Some(sample) = latency_ns {
                add_sample::<B>(record, (slot, index), key, Sample(sample));
            }
        } else if let Some(mut latency_ns) = latency_ns {
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
            add_bucket::<B>(record, slot, key, latency_ns, 1);
        }
        if may_be_errno(result) {
            failed::<B>(record, slot, result, key);
            return;
        }
        // A reader that sees the call sees its figures.
        arch::publish();
        (*slot).returned += 1;
    }
}

/// Adds the latency of a call to its slot, with adaptive sampling.
#[inline(always)]
unsafe fn add_sample<B: Backend>(
    record: *mut ThreadRecord,
    (slot, index): (*mut Slot, CellIndex),
    key: u32,
    sample: Sample,
) {
    let latency_ns = sample.ns();
    // SAFETY: live map values of the running thread's own.
    unsafe {
        if latency_ns > (*slot).max_ns {
            (*slot).max_ns = latency_ns;
        }
        (*slot).total_ns += latency_ns;
        if latency_ns < (*slot).min_ns {
            (*slot).min_ns = latency_ns;
        }
        let is_bucketed = add_bucket::<B>(record, slot, key, sample.0, 1 << sample.shift());
        adaptive::add_weight::<B>(index, sample, is_bucketed);
    }
}

/// Adds a latency to a slot's histogram, as often as its weight. With adaptive sampling,
/// `latency_ns` is a [`Sample`]. Returns false if there is no cell for it.
#[inline(always)]
unsafe fn add_bucket<B: Backend>(
    record: *mut ThreadRecord,
    slot: *mut Slot,
    key: u32,
    latency_ns: u64,
    weight: u32,
) -> bool {
    let ns = if adaptive::is_adaptive() { Sample(latency_ns).ns() } else { latency_ns };
    let bucket = opaque(hist::bucket(ns));
    let chunk = bucket / BUCKETS_PER_CHUNK as u32;
    if chunk >= CHUNKS as u32 {
        return false;
    }
    // SAFETY: live map values of the running thread's own, and a chunk below the bound.
    unsafe {
        let place = (&raw mut (*slot).chunks).cast::<u32>().add(chunk as usize);
        let mut cell = *place;
        if cell == 0 {
            cell = pool::cells::take(record);
            *place = cell;
        }
        match B::cell(cell) {
            Some(counts) if cell != 0 => {
                let offset = bucket % BUCKETS_PER_CHUNK as u32;
                let count = counts.cast::<u32>().add(offset as usize);
                *count = (*count).wrapping_add(weight);
                true
            }
            _ => {
                (*slot).unbucketed += 1;
                global::count_bucket_only(key, latency_ns);
                false
            }
        }
    }
}

/// Counts the outcome of a call with this key. Its result may be an errno.
#[inline(always)]
unsafe fn failed<B: Backend>(record: *mut ThreadRecord, slot: *mut Slot, result: u64, key: u32) {
    let mut noted = 0;
    // SAFETY: live map values of the running thread's own.
    unsafe {
        match Outcome::of(result, key) {
            Outcome::Ok => {}
            Outcome::Restarted => {
                arch::publish();
                (*slot).restarted += 1;
                return;
            }
            Outcome::Error(errno) => {
                let errno = opaque(errno);
                if errno >= ERRNOS as u32 {
                    (*slot).errors += 1;
                    (*slot).errors_unlisted += 1;
                } else if add_errno::<B>(record, slot, errno) {
                    (*slot).errors += 1;
                    noted = errno;
                } else {
                    global::count_error_only(key, errno);
                }
            }
        }
        arch::publish();
        (*slot).returned += 1;
        // After the sums: a reader that reads targets first never sees more of them than errors.
        if failing::is_on() && noted != 0 {
            global::note_failure((*record).index, key, noted);
        }
    }
}

/// Counts an errno below [`ERRNOS`]. Returns false if there is no cell for it.
#[inline(always)]
unsafe fn add_errno<B: Backend>(record: *mut ThreadRecord, slot: *mut Slot, errno: u32) -> bool {
    let page = errno / ERRNOS_PER_PAGE as u32;
    // SAFETY: live map values of the running thread's own, and a page below the bound.
    unsafe {
        let place = (&raw mut (*slot).errno_pages).cast::<u32>().add(page as usize);
        let mut cell = *place;
        if cell == 0 {
            cell = pool::cells::take(record);
            *place = cell;
        }
        match B::cell(cell) {
            Some(counts) if cell != 0 => {
                *counts.cast::<u32>().add((errno % ERRNOS_PER_PAGE as u32) as usize) += 1;
                true
            }
            _ => false,
        }
    }
}

/// Counts an exit without an entry of the running thread, which has a record. Either seccomp or
/// ptrace refused call `nr` before the entry tracepoint (`syscall_trace_enter`,
/// kernel/entry/common.c), or the kernel skipped our program there.
#[inline(always)]
pub fn denied<B: Backend>(nr: u64) {
    // While the programs attach or detach, an entry may be missing because of us.
    if !control::are_programs_attached() {
        return;
    }
    let task = B::current();
    if !scope::may_count_denied::<B>(task) {
        return;
    }
    let key = CallKey::new(nr, B::is_compat(task)).0;
    if !scope::counts_call(key) {
        return;
    }
    if !may_be_refused(task) {
        count!(missed_entries);
        return;
    }
    let Some(state) = B::state(task) else { return };
    refusal::note_kill(state, task);
    let Some(record) = thread::record_of::<B>(state) else { return };
    // SAFETY: live map values of the running thread's own.
    unsafe {
        let slot = slots::find::<B>(record, key);
        let mut noted = 0;
        match slots::slot::<B>(slot) {
            Some(figures) if slot != 0 => {
                (*figures).denied += 1;
                noted = FailureKey::DENIED;
            }
            _ => overflow::denied(key),
        }
        arch::publish();
        (*record).denied = (*record).denied.wrapping_add(1);
        if failing::is_on() && noted != 0 {
            global::note_failure((*record).index, key, noted);
        }
    }
}
