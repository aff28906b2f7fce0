//! The entry program of a trace.

use aya_ebpf::helpers::{bpf_get_current_comm, bpf_get_current_pid_tgid, bpf_ktime_get_ns};
use profiler_common::{
    call::CallKey,
    trace::{AT_ENTRY, Kind, TracedTask, WITHOUT_DATA, number_index},
    wire::TaskState,
};

use super::{
    TraceBackend, begin, capture, change,
    maps::{FREE_PENDING, NUMBERS, PENDING, PLANS},
    output::count_loss,
    recorder, skipped, traced_or_new,
};
use profiler_ebpf::{
    scope::{self, outside},
    settings::CALLS_ONLY,
    task::Task,
};

/// Whether the filter may include a call with number `nr` of any ABI.
#[inline(always)]
fn may_count(nr: u64) -> bool {
    // SAFETY: a live map value. Nobody writes it any more.
    NUMBERS.get_ptr(number_index(nr)).is_some_and(|counts| unsafe { *counts } != 0)
}

/// Handles a call that enters, with number `nr` and registers at `regs`.
#[inline(always)]
pub fn enter<B: TraceBackend>(regs: u64, nr: u64) {
    if outside::has::<B>(regs) {
        return;
    }
    if CALLS_ONLY.load() != 0 {
        if !may_count(nr) {
            skipped::add(regs);
            return;
        }
        // An exit that was missed.
        skipped::take(regs);
    }
    if recorder::has_hints()
        && let Some(owned) = recorder::hinted(regs)
    {
        // The task is in scope, which does not change, and its states are known.
        // SAFETY: the live state of the running task.
        unsafe {
            let is_compat = B::is_compat((*owned).task as Task);
            let ids = match (*owned).call.tid {
                0 => bpf_get_current_pid_tgid(),
                tid => u64::from((*owned).call.tgid) << 32 | u64::from(tid),
            };
            enter_call::<B>(owned, regs, CallKey::new(nr, is_compat), is_compat, ids);
        }
        return;
    }
    follow::<B>(regs, nr);
}

/// Follows a call that may be in scope.
#[inline(always)]
fn follow<B: TraceBackend>(regs: u64, nr: u64) {
    let task = B::current();
    let Some(traced) = traced_or_new::<B>(task) else {
        count_loss!(unseen);
        return;
    };
    // The ids are those of the last call, if there was one: an exec notes a new one.
    // SAFETY: a live state of the running task.
    let (tid, tgid) = unsafe { ((*traced).call.tid, (*traced).call.tgid) };
    let ids = match tid {
        0 => bpf_get_current_pid_tgid(),
        _ => u64::from(tgid) << 32 | u64::from(tid),
    };
    let state = traced.cast::<TaskState>();
    // SAFETY: a live state that only its own task writes by now.
    unsafe {
        (*recorder::owned(traced)).call.about = 0;
        if !scope::counts_at_entry(state, task, (ids >> 32) as u32) {
            scope::note_out_of_scope::<B>(state, None, regs);
            return;
        }
        (*state).flags = (*state).flags & !TaskState::NEWBORN | TaskState::KNOWN;
        let is_compat = B::is_compat(task);
        let key = CallKey::new(nr, is_compat);
        if !scope::counts_call(key.0) {
            (*state).key_plus_one = CallKey::UNCOUNTED.0 + 1;
            return;
        }
        (*state).key_plus_one = 0;
        let owned = recorder::owned_or_new(traced, task, regs, ids);
        enter_call::<B>(owned, regs, key, is_compat, ids);
    }
}

/// Notes the call that the running task enters.
///
/// # Safety
/// `traced` is the live state of the running task that has its call.
#[inline(always)]
unsafe fn enter_call<B: TraceBackend>(
    traced: *mut TracedTask,
    regs: u64,
    key: CallKey,
    is_compat: bool,
    ids: u64,
) {
    // SAFETY: the caller's state.
    unsafe {
        change(traced, || {
            let call = &raw mut (*traced).call;
            // The name is read when a call leaves. Until then, that of the call before is known.
            if (*call).comm[0] == 0 {
                (*call).comm = bpf_get_current_comm().unwrap_or_default();
            }
            begin(call, 0, ids, key);
            B::write_arguments(regs, is_compat, &raw mut (*call).args);
            prepare(traced, key);
            if (*traced).flags & TracedTask::HAS_PLAN != 0 {
                let faulted =
                    capture::run((*traced).slot, key.overflow_index(), AT_ENTRY.into(), 0);
                (*traced).flags |= faulted << TracedTask::FAULTED_SHIFT;
            }
            (*call).entry_ns = bpf_ktime_get_ns();
        });
    }
}

/// Prepares the copying of memory for the call in flight, if its plan says so.
///
/// # Safety
/// `traced` is the live state of the running task.
#[inline(always)]
pub(super) unsafe fn prepare(traced: *mut TracedTask, key: CallKey) {
    // SAFETY: the caller's state, and live map values.
    unsafe {
        (*traced).flags = 0;
        let has_plan = PLANS
            .get_ptr(key.overflow_index())
            .is_some_and(|plan| (*plan)[0].kind != Kind::Nothing as u8);
        if !has_plan {
            return;
        }
        if (*traced).slot == 0 {
            match FREE_PENDING.pop() {
                Ok(Some(index)) => (*traced).slot = index + 1,
                _ => {
                    count_loss!(without_data);
                    (*traced).call.flags |= WITHOUT_DATA;
                    return;
                }
            }
        }
        if let Some(pending) = PENDING.get_ptr_mut((*traced).slot.wrapping_sub(1)) {
            (*pending).header.parts = 0;
            (*pending).header.bytes = 0;
            (*pending).header.nr = key.0;
            (*pending).header.args = (*traced).call.args;
            (*traced).flags = TracedTask::HAS_PLAN;
        }
    }
}
