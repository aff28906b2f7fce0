//! The exit program of a trace.

use aya_ebpf::helpers::{bpf_get_current_pid_tgid, bpf_ktime_get_ns};
use profiler_common::{
    call::CallKey,
    trace::{AT_ENTRY, AT_FAILURE, AT_SUCCESS, DENIED, ENTERED_BEFORE, Header, TracedTask},
    wire::TaskState,
};

use super::{
    TraceBackend, begin, capture, change, entry, maps::ERRNOS, output, recorder, skipped,
    traced_or_new,
};
use profiler_ebpf::{
    arch::call_number,
    refusal, restart,
    scope::{self, outside},
    settings::{CALLS_ONLY, ERRNOS_ONLY, FAILED_ONLY, SLOWER_HIGH, SLOWER_LOW},
    verifier::masked,
};

/// Handles a call that leaves with `result`, with registers at `regs`.
#[inline(always)]
pub fn exit<B: TraceBackend>(regs: u64, result: u64) {
    if outside::has::<B>(regs) || CALLS_ONLY.load() != 0 && skipped::take(regs) {
        return;
    }
    // SAFETY: always safe to call.
    let now = unsafe { bpf_ktime_get_ns() };
    // SAFETY: a live state of the running task.
    let hinted = match recorder::has_hints() {
        true => recorder::hinted(regs).filter(|owned| unsafe { (**owned).call.about } != 0),
        false => None,
    };
    let Some(traced) = hinted.or_else(|| state_of_call::<B>(regs)) else { return };
    // SAFETY: as above.
    unsafe {
        (*traced).call.exit_ns = now;
        (*traced).call.result = result as i64;
        if recorder::is_on() {
            if (*traced).flags & TracedTask::HAS_PLAN != 0 {
                copy_at_exit(traced);
            }
            recorder::record_call(traced);
        } else if is_wanted(&raw const (*traced).call) {
            if (*traced).flags & TracedTask::HAS_PLAN != 0 {
                copy_at_exit(traced);
            }
            output::send_call(traced);
        }
        change(traced, || (*traced).call.about = 0);
    }
}

/// The state with the call that leaves, of the running task. `None` if the call is out of scope.
#[inline(always)]
fn state_of_call<B: TraceBackend>(regs: u64) -> Option<*mut TracedTask> {
    let traced = traced_or_new::<B>(B::current())?;
    // SAFETY: a live state of the running task.
    unsafe {
        let owned = recorder::owned(traced);
        if (*owned).call.about != 0 {
            return Some(owned);
        }
        begin_unmatched::<B>(traced, regs)
    }
}

/// Makes up the call of an exit without an entry. Returns the state with the call, or `None` if the
/// call is out of scope.
///
/// # Safety
/// `traced` is the live state of the running task.
#[inline(always)]
unsafe fn begin_unmatched<B: TraceBackend>(
    traced: *mut TracedTask,
    regs: u64,
) -> Option<*mut TracedTask> {
    let state = traced.cast::<TaskState>();
    let task = B::current();
    let ids = bpf_get_current_pid_tgid();
    // SAFETY: the caller's state.
    unsafe {
        if !scope::counts_at_exit(state, task, (ids >> 32) as u32) {
            return None;
        }
        let flags = (*state).flags;
        (*state).flags = flags & !TaskState::NEWBORN | TaskState::KNOWN;
        // The second return of a fork, in the child; or a call that the filter excludes.
        let is_excluded = (*state).key_plus_one == CallKey::UNCOUNTED.0 + 1;
        (*state).key_plus_one = 0;
        if flags & TaskState::NEWBORN != 0 || is_excluded {
            return None;
        }
        let nr = call_number(regs);
        let is_compat = B::is_compat(task);
        let key = CallKey::new(nr, is_compat);
        if !scope::counts_call(key.0) {
            return None;
        }
        let is_denied = flags & TaskState::KNOWN != 0 || refusal::is_presumed::<B>(nr, is_compat);
        // The memory is copied at the exit only. That is right for a call that was denied.
        let traced = recorder::owned_or_new(traced, task, regs, ids);
        change(traced, || {
            let flags = if is_denied { DENIED } else { ENTERED_BEFORE };
            let call = &raw mut (*traced).call;
            begin(call, flags, ids, key);
            B::write_arguments(regs, is_compat, &raw mut (*call).args);
            entry::prepare(traced, key);
        });
        Some(traced)
    }
}

/// Copies the memory that is copied at the exit, and what could not be read at the entry.
///
/// # Safety
/// `traced` is the live state of the running task, whose call leaves.
#[inline(always)]
unsafe fn copy_at_exit(traced: *mut TracedTask) {
    // SAFETY: the caller's state.
    unsafe {
        if (*traced).flags & TracedTask::RAN_EXEC != 0 {
            return;
        }
        let call = &raw const (*traced).call;
        let mut at = if is_error((*call).result) { AT_FAILURE } else { AT_SUCCESS };
        if (*call).flags & (DENIED | ENTERED_BEFORE) != 0 {
            at |= AT_ENTRY;
        }
        let retried = (*traced).flags >> TracedTask::FAULTED_SHIFT;
        let what = u32::from(at) | retried << capture::RETRIED_SHIFT;
        let plan = CallKey((*call).nr).overflow_index();
        change(traced, || capture::run((*traced).slot, plan, what, (*call).result as u64));
    }
}

/// Whether a result is an error: an errno or a restart code.
#[inline(always)]
pub(super) fn is_error(result: i64) -> bool {
    (-4095..0).contains(&result)
}

/// Whether the filters of results include a call that leaves.
///
/// # Safety
/// `call` is in a live map value.
#[inline(always)]
pub(super) unsafe fn is_wanted(call: *const Header) -> bool {
    // SAFETY: the caller's call.
    let (entry_ns, exit_ns, result) =
        unsafe { ((*call).entry_ns, (*call).exit_ns, (*call).result) };
    let slower = u64::from(SLOWER_HIGH.load()) << 32 | u64::from(SLOWER_LOW.load());
    // The time of a call without an entry is unknown.
    if slower != 0 && (entry_ns == 0 || exit_ns.wrapping_sub(entry_ns) < slower) {
        return false;
    }
    if FAILED_ONLY.load() == 0 && ERRNOS_ONLY.load() == 0 {
        return true;
    }
    if !is_error(result) || restart::is_result(result as u64) {
        return false;
    }
    ERRNOS_ONLY.load() == 0 || has_errno(result.unsigned_abs())
}

/// Whether the filter includes an errno.
#[inline(always)]
pub(super) fn has_errno(errno: u64) -> bool {
    let word = ERRNOS.get_ptr((errno / 64) as u32);
    // SAFETY: a live map value. Nobody writes it any more.
    word.is_some_and(|word| unsafe { *word } >> masked::<63>(errno) & 1 != 0)
}
