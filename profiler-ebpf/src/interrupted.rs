//! Calls that a signal interrupted, from when they left until it is known what became of them.
//!
//! Such a call leaves with one of the codes by which the kernel asks itself to restart it, before
//! the signal is handled (`exit_to_user_mode_loop`, kernel/entry/common.c). The program then
//! sees one of these:
//!
//! - a handler runs, and the call returns EINTR or is restarted after it (`handle_signal`,
//!   arch/x86/kernel/signal.c): `signal_deliver` tells which;
//! - no handler runs, and the call is restarted at once, or after a stop: it enters again;
//! - the thread ends, and the call never returns.
//!
//! Until then it counts as in flight: the call's key keeps the mark [`CallKey::INTERRUPTED`],
//! and what it took until it left is kept beside it.
//!
//! The decision depends on the code and on the handler. profiler/docs/outcomes.md has the table.
//! The latency of such a call ends at its `sys_exit`. If a tracer changes the result after that,
//! the change is not seen. While a thread is stopped, its interrupted call is in flight.

use profiler_common::{
    call::CallKey,
    wire::{OVERFLOWED, TaskState, ThreadRecord},
};

use crate::{
    arch::{self, SigAction},
    backend::Backend,
    exit, global,
    pool::overflow::{self, UNTIMED},
    restart,
    settings::PROBE_CALLS,
    thread::record_of,
    verifier::opaque,
};

/// `SIG_IGN`, below which `SIG_DFL` is (include/uapi/asm-generic/signal-defs.h).
const SIG_IGN: u64 = 1;

/// Whether a call of `key` that leaves with `result` has been interrupted.
#[inline(always)]
pub fn is_interruption(result: u64, key: u32) -> bool {
    restart::is_result(result) && global::can_be_interrupted(key) != 0
}

/// Whether a call of `key` has been interrupted if it leaves with a code that says so.
#[inline(always)]
pub fn can_be_interrupted(key: u32) -> bool {
    CallKey(key).can_be_restarted() && !CallKey(key).restores_registers(PROBE_CALLS.load())
}

/// Keeps a call of the running thread's that has been interrupted.
///
/// # Safety
/// `record` is a live map value, the running thread's own.
#[inline(always)]
pub unsafe fn keep(record: *mut ThreadRecord, key: u32, latency_ns: Option<u64>, result: u64) {
    // SAFETY: the caller's record.
    unsafe {
        (*record).interrupted_ns = latency_ns.unwrap_or(UNTIMED);
        (*record).interrupted_by = (result as u32).wrapping_neg();
        (*record).in_flight_key = key | CallKey::INTERRUPTED;
    }
}

/// Counts the interrupted call of the running thread as one that left with `result`. Does
/// nothing if the thread has none.
#[inline(always)]
pub fn count_as<B: Backend>(result: u64) {
    let Some(state) = B::state(B::current()) else { return };
    // SAFETY: a live state and a live map value of the running thread's own.
    unsafe {
        match record_of::<B>(state) {
            Some(record) if CallKey((*record).in_flight_key).is_interrupted() => {
                count_recorded::<B>(record, result);
            }
            None if is_kept_unrecorded(state) => count_unrecorded(state, result),
            _ => {}
        }
    }
}

/// [`count_as`], for a thread with a record.
///
/// # Safety
/// `record` is a live map value, the running thread's own, which keeps a call.
#[inline(always)]
unsafe fn count_recorded<B: Backend>(record: *mut ThreadRecord, result: u64) {
    // SAFETY: the caller's record.
    unsafe {
        let key = (*record).in_flight_key & !CallKey::INTERRUPTED;
        (*record).in_flight_key = CallKey::NONE.0;
        let latency_ns = Some((*record).interrupted_ns).filter(|&ns| ns != UNTIMED);
        let slot = (*record).in_flight_slot;
        if slot == OVERFLOWED {
            overflow::leave(key, latency_ns, result);
        } else {
            exit::add::<B>(record, slot, key, latency_ns, result);
        }
        arch::publish();
        (*record).left += 1;
    }
}

/// Counts the interrupted call of the running thread as restarted. The thread is about to
/// enter a call, or leaves one that was refused.
#[inline(always)]
pub fn count_restarted() {
    global::count_interrupted(restart::RESTARTED);
}

/// [`keep`], for a thread without a record.
///
/// # Safety
/// `state` is a live state of the running task.
#[inline(always)]
pub unsafe fn keep_unrecorded(
    state: *mut TaskState,
    key: u32,
    latency_ns: Option<u64>,
    result: u64,
) {
    // SAFETY: the caller's state.
    unsafe {
        (*state).entry_ns = latency_ns.unwrap_or(UNTIMED);
        (*state).interrupted_by = (result as u32).wrapping_neg();
        (*state).key_plus_one = (key | CallKey::INTERRUPTED) + 1;
    }
}

/// Whether the running task, which has no record, keeps a call.
///
/// # Safety
/// `state` is a live state of the running task.
#[inline(always)]
pub unsafe fn is_kept_unrecorded(state: *mut TaskState) -> bool {
    // SAFETY: the caller's state.
    let key_plus_one = unsafe { (*state).key_plus_one };
    key_plus_one != 0 && CallKey(key_plus_one - 1).is_interrupted()
}

/// [`count_as`], for a thread without a record.
///
/// # Safety
/// `state` is a live state of the running task, which keeps a call.
#[inline(always)]
unsafe fn count_unrecorded(state: *mut TaskState, result: u64) {
    // SAFETY: the caller's state.
    unsafe {
        let key = ((*state).key_plus_one - 1) & !CallKey::INTERRUPTED;
        (*state).key_plus_one = 0;
        let latency_ns = Some((*state).entry_ns).filter(|&ns| ns != UNTIMED);
        overflow::leave(key, latency_ns, result);
    }
}

/// [`count_restarted`], for a thread that may be without a record and may keep a call.
///
/// # Safety
/// `state` is a live state of the running task.
#[inline(always)]
pub unsafe fn count_restarted_if_unrecorded(state: *mut TaskState) {
    // SAFETY: the caller's state.
    if unsafe { is_kept_unrecorded(state) } {
        count_restarted();
    }
}

/// `signal_deliver`: the running task takes a signal for which it has `action`, a
/// `struct k_sigaction`. A signal that it ignores restarts the call, and so does one that stops
/// it and one that a tracer takes; one that ends it is followed by its end.
#[inline(always)]
pub fn deliver<B: Backend>(action: *const u64) {
    let Some(state) = B::state(B::current()) else { return };
    let record = record_of::<B>(state);
    // SAFETY: a live state and a live map value of the running thread's own; nobody else writes
    // them.
    unsafe {
        let code = match record {
            Some(record) if CallKey((*record).in_flight_key).is_interrupted() => {
                (*record).interrupted_by
            }
            // The compiler would make one load of both, from either pointer, which the verifier
            // refuses where one of them is in an arena.
            None if is_kept_unrecorded(state) => opaque((*state).interrupted_by),
            _ => return,
        };
        let SigAction { handler, flags } = SigAction::read(action);
        if handler <= SIG_IGN {
            return;
        }
        let result = restart::result_after_handler(code, flags);
        global::count_interrupted(result);
    }
}
