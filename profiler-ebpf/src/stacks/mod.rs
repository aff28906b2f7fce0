//! Sums up the stacks of calls by process, program, syscall, stack in user space and stack in the
//! kernel.
//!
//! The programs share the scope and the filters with the programs that count calls. If each call has
//! the size 1 and no filter needs the exit, only the entry program is loaded, which takes the stack
//! when the call enters. Otherwise, the exit program takes it. The stack in user space is the same
//! then, but for an exec.

pub mod copy;
pub mod frames;
pub mod life;
pub mod maps;
pub mod rows;
pub mod sampler;

use core::ffi::c_void;

use aya_ebpf::helpers::{bpf_get_current_pid_tgid, bpf_ktime_get_ns};
use profiler_common::{
    call::CallKey,
    stacks::{NO_STACK, StackTask, WEIGHT_CALLS, WEIGHT_ERRORS, WEIGHT_TIME},
    wire::TaskState,
};
use profiler_ebpf::{
    arch,
    backend::Backend,
    restart,
    scope::{self, outside},
    settings::{SLOWER_HIGH, SLOWER_LOW, STACK_OF_KERNEL, STACK_WEIGHT},
    task::Task,
};

/// Adds one to a field of this CPU's `StackLosses`.
macro_rules! count_loss {
    ($field:ident) => {
        if let Some(losses) = $crate::stacks::maps::STACK_LOSSES.get_ptr_mut(0) {
            #[allow(unused_unsafe, reason = "used inside and outside of unsafe blocks")]
            // SAFETY: a field of a live map value.
            unsafe {
                profiler_ebpf::atomic::add(&raw mut (*losses).$field, 1)
            }
        }
    };
}
pub(crate) use count_loss;

/// The place of the entry program in the scratch maps.
pub const AT_ENTRY: u32 = 0;
/// The place of the exit program.
pub const AT_EXIT: u32 = 1;
/// The place of the program that follows switches.
pub const AT_SWITCH: u32 = 2;

/// A backend whose task states are the beginnings of [`StackTask`]s.
pub trait StackBackend: Backend {}

/// A call whose stack may be taken.
pub struct Call {
    /// The context of the program.
    pub ctx: *mut c_void,
    /// The address of the registers of the task.
    pub regs: u64,
    /// The task.
    pub known: *mut StackTask,
    /// What the call adds to the sums.
    pub size: u64,
    /// The program's place in the scratch maps.
    pub place: u32,
}

/// Whether calls are chosen when they leave.
#[inline(always)]
fn needs_exits() -> bool {
    STACK_WEIGHT.load() != WEIGHT_CALLS || slower_ns() != 0 || STACK_OF_KERNEL.load() != 0
}

/// Only calls that took at least this long count; 0 if all do.
#[inline(always)]
fn slower_ns() -> u64 {
    u64::from(SLOWER_HIGH.load()) << 32 | u64::from(SLOWER_LOW.load())
}

/// The state of `task`, if it has one.
#[inline(always)]
fn known<B: StackBackend>(task: Task) -> Option<*mut StackTask> {
    B::state(task).map(of_state)
}

#[inline(always)]
fn of_state(state: *mut TaskState) -> *mut StackTask {
    state.cast()
}

/// Handles a call that enters, with number `nr` and registers at `regs`.
#[inline(always)]
pub fn enter<B: StackBackend>(ctx: *mut c_void, regs: u64, nr: u64) {
    if outside::has::<B>(regs) {
        return;
    }
    let task = B::current();
    let Some(known) = B::state_or_new(task).map(of_state) else {
        count_loss!(unseen);
        return;
    };
    let state = known.cast::<TaskState>();
    // SAFETY: a live state that only its own task writes by now.
    unsafe {
        if (*known).tgid == 0 {
            (*known).tgid = (bpf_get_current_pid_tgid() >> 32) as u32;
        }
        (*known).entry_ns = 0;
        if !scope::counts_at_entry(state, task, (*known).tgid) {
            scope::note_out_of_scope::<B>(state, None, regs);
            return;
        }
        (*state).flags = (*state).flags & !TaskState::NEWBORN | TaskState::KNOWN;
        let is_compat = B::is_compat(task);
        let key = CallKey::new(nr, is_compat);
        if !scope::counts_call(key.0) {
            return;
        }
        (*known).call = key.0;
        (*known).image_of_call = (*known).image;
        if !needs_exits() {
            let call = Call { ctx, regs, known, size: 1, place: AT_ENTRY };
            rows::add(&call, NO_STACK);
            return;
        }
        (*known).kernel = NO_STACK;
        // An exec that succeeds replaces the stack.
        (*known).user = match arch::is_exec(nr, is_compat) {
            true => frames::of_user(ctx, AT_ENTRY),
            false => NO_STACK,
        };
        (*known).entry_ns = bpf_ktime_get_ns();
    }
}

/// Handles a call that leaves with `result`, with registers at `regs`.
#[inline(always)]
pub fn exit<B: StackBackend>(ctx: *mut c_void, regs: u64, result: u64) {
    if outside::has::<B>(regs) {
        return;
    }
    // SAFETY: always safe to call.
    let now = unsafe { bpf_ktime_get_ns() };
    let task = B::current();
    let Some(known) = known::<B>(task) else { return };
    // SAFETY: a live state of the running task.
    unsafe {
        let entry_ns = (*known).entry_ns;
        if entry_ns == 0 {
            return;
        }
        (*known).entry_ns = 0;
        let latency = now.saturating_sub(entry_ns);
        if latency < slower_ns() {
            return;
        }
        let size = match STACK_WEIGHT.load() {
            WEIGHT_TIME => latency.max(1),
            WEIGHT_ERRORS => u64::from(is_failure(result)),
            _ => 1,
        };
        if size == 0 {
            return;
        }
        let call = Call { ctx, regs, known, size, place: AT_EXIT };
        rows::add(&call, (*known).user);
    }
}

/// Whether a result is an errno. A code that asks for a restart is none.
#[inline(always)]
fn is_failure(result: u64) -> bool {
    (-4095..0).contains(&(result as i64)) && !restart::is_result(result)
}

/// Handles a task that leaves its CPU, `is_preempted` or because it waits.
#[inline(always)]
pub fn switch<B: StackBackend>(ctx: *mut c_void, is_preempted: bool, prev: Task) {
    if is_preempted {
        return;
    }
    let Some(known) = known::<B>(prev) else { return };
    // SAFETY: a live state of the running task.
    unsafe {
        if (*known).entry_ns != 0 {
            (*known).kernel = frames::of_kernel(ctx, AT_SWITCH);
        }
    }
}
