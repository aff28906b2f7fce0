//! Calls that a signal interrupted, until their outcome is known.
//!
//! Such a call leaves with a restart code before the signal is handled
//! (`exit_to_user_mode_loop`, kernel/entry/common.c). Then one of these happens:
//!
//! - A handler runs. After it, the call returns EINTR or is restarted (`handle_signal`,
//!   arch/x86/kernel/signal.c). `signal_deliver` tells which.
//! - No handler runs. The call is restarted at once, or after a stop: it enters again.
//! - The thread ends, and the call never returns.
//!
//! Until then, the call counts as in flight. Its key has the bit [`CallKey::INTERRUPTED`], and the
//! record keeps the latency.
//!
//! The outcome depends on the code and on the handler: profiler/docs/outcomes.md has the table. The
//! latency of such a call ends at its `sys_exit`. If a tracer changes the result later, the change
//! is not seen.

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

/// Whether a signal interrupted the call with this key that leaves with `result`.
#[inline(always)]
pub fn is_interruption(result: u64, key: u32) -> bool {
    restart::is_result(result) && global::can_be_interrupted(key) != 0
}

/// Whether a restart code as the result of the call with this key means that a signal interrupted
/// it.
#[inline(always)]
pub fn can_be_interrupted(key: u32) -> bool {
    CallKey(key).can_be_restarted() && !CallKey(key).restores_registers(PROBE_CALLS.load())
}

/// Keeps the interrupted call of the running thread until its outcome is known.
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

/// Counts the interrupted call of the running thread as restarted. The thread enters a call, or
/// leaves a refused call.
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

/// Whether the running task, which has no record, has an interrupted call.
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

/// Handles `signal_deliver`: the running task takes a signal with this action, a `struct
/// k_sigaction`.
///
/// If the task ignores the signal, or the signal stops the task, or a tracer takes the signal, the
/// call is restarted. If the signal kills the task, the exit of the task follows.
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
            // Without `opaque`, the compiler would merge both loads into one through either
            // pointer. The verifier refuses that if one pointer is in an arena.
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
