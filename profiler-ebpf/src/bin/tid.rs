//! The object for kernels without task storage (Linux 5.10) or without BTF:
//! `raw_tracepoint` programs, and task state in a table by task.
//!
//! By its address, since a thread id is not a task: an exec by a thread that is not the
//! leader changes it, and fails after that without any hook being told. An address is
//! given to another task once this one has ended, when the exit hook has deleted its state.
#![no_std]
#![no_main]

use aya_ebpf::{
    btf_maps::HashMap,
    helpers::bpf_get_current_task,
    macros::{btf_map, raw_tracepoint},
    programs::RawTracePointContext,
};
use profiler_common::{arch, wire::TaskState};
use profiler_ebpf::{
    backend::Backend,
    settings::STATUS_OFFSET,
    task::{Task, field_u32},
};

/// State by the address of the `task_struct`. Preallocated, so that an insert fails only
/// when it is full, and twice as large as the configuration allows threads.
#[btf_map]
static TASKS: HashMap<u64, TaskState, 1> = HashMap::new();

/// Tasks by address, records and cells in arrays.
struct FallbackBackend;

impl Backend for FallbackBackend {
    #[inline(always)]
    fn current() -> Task {
        // SAFETY: always safe to call.
        unsafe { bpf_get_current_task() as Task }
    }

    #[inline(always)]
    fn state(task: Task) -> Option<*mut TaskState> {
        TASKS.get_ptr_mut(task as u64)
    }

    #[inline(always)]
    fn state_or_new(task: Task) -> Option<*mut TaskState> {
        if let Some(state) = Self::state(task) {
            return Some(state);
        }
        TASKS.insert(task as u64, TaskState::default(), 0).ok()?;
        Self::state(task)
    }

    #[inline(always)]
    fn forget(task: Task) {
        let _ = TASKS.remove(task as u64);
    }

    /// Always false: the fallback lists no such calls.
    #[inline(always)]
    fn forget_listed_call(_task: Task) -> bool {
        false
    }

    #[inline(always)]
    fn is_compat(task: Task) -> bool {
        arch::is_compat(field_u32(task, STATUS_OFFSET.load()))
    }

    /// They are a number here.
    #[inline(always)]
    fn distance(regs: u64, _place: *const u8) -> u64 {
        regs
    }
}

profiler_ebpf::programs!(RawTracePointContext, FallbackBackend, raw_tracepoint, tracepoint);

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
