//! The object for kernels without task storage (Linux 5.10) or without BTF: `raw_tracepoint`
//! programs, and task state in a table by task.
//!
//! The key is the address of the task. A thread id does not identify a task: an exec by a thread
//! that is not the leader changes the id, and can fail after that without an event. Another task
//! gets the address only once this task has ended. By then, the exit hook has deleted the state.
#![no_std]
#![no_main]

use aya_ebpf::{
    btf_maps::HashMap,
    macros::{btf_map, raw_tracepoint},
    programs::RawTracePointContext,
};
use profiler_common::{
    hint,
    wire::{TaskState, ThreadRecord},
};
use profiler_ebpf::{backend::Backend, by_address, task::Task, thread::record_of};

/// State by the address of the `task_struct`. The map is preallocated, so an insert fails only if
/// the map is full. It has twice as many entries as the configuration has threads.
#[btf_map]
static TASKS: HashMap<u64, TaskState, 1> = HashMap::new();

/// See [`Backend::hints`].
#[unsafe(no_mangle)]
static mut HINTS: [u32; hint::HINTS] = [0; hint::HINTS];

/// Tasks by address, records and cells in arrays.
struct FallbackBackend;

impl Backend for FallbackBackend {
    #[inline(always)]
    fn registers(regs: u64) -> u64 {
        by_address::registers(regs)
    }

    #[inline(always)]
    fn current() -> Task {
        by_address::current()
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

    #[inline(always)]
    fn recorded(task: Task) -> Option<*mut ThreadRecord> {
        Self::state(task).and_then(record_of::<Self>)
    }

    /// Always false: the fallback lists no such calls.
    #[inline(always)]
    fn forget_listed_call(_task: Task) -> bool {
        false
    }

    #[inline(always)]
    fn is_compat(task: Task) -> bool {
        by_address::is_compat(task)
    }

    #[inline(always)]
    fn hints() -> *mut u32 {
        (&raw mut HINTS).cast()
    }

    /// The registers are a number here.
    #[inline(always)]
    fn distance(regs: u64, _place: *const u8) -> u64 {
        regs
    }
}

profiler_ebpf::programs!(RawTracePointContext, FallbackBackend, raw_tracepoint, tracepoint);

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
