//! Tasks in a table by the address of the task: for kernels without task storage, and for objects that
//! follow calls and have no records.

use aya_ebpf::helpers::{bpf_get_current_task, bpf_probe_read_kernel};
use profiler_common::arch;

use crate::{
    settings::STATUS_OFFSET,
    task::{Task, field_u32},
};

/// The running task.
#[inline(always)]
pub fn current() -> Task {
    // SAFETY: always safe to call.
    unsafe { bpf_get_current_task() as Task }
}

/// The address of registers as a number. The verifier forgets that it was a pointer, because a helper
/// copies it.
#[inline(always)]
pub fn registers(regs: u64) -> u64 {
    // SAFETY: copies a variable.
    unsafe { bpf_probe_read_kernel(&raw const regs) }.unwrap_or(0)
}

/// Whether `task` is in a 32-bit syscall.
#[inline(always)]
pub fn is_compat(task: Task) -> bool {
    arch::is_compat(field_u32(task, STATUS_OFFSET.load()))
}

/// Defines the backend `$Backend` of an object that follows calls: tasks by address in the map `$TASKS`
/// of `$Known`, which begins with a `TaskState`; no records and no cells. `$is_compat` says whether a
/// task is in a 32-bit syscall.
///
/// A macro, because a generic type would be in the names of functions beside that of the object. Before
/// Linux 6.1, the kernel refuses names of 128 characters (`btf_name_valid_identifier`,
/// kernel/bpf/btf.c; `KSYM_NAME_LEN`).
#[macro_export]
macro_rules! backend_of_calls {
    ($Backend:ident, $TASKS:ident, $Known:ty, $is_compat:path) => {
        /// The state of a task about which nothing is known.
        static UNKNOWN: $Known = {
            // SAFETY: integers.
            unsafe { core::mem::zeroed() }
        };

        /// Tasks by address; no records and no cells.
        struct $Backend;

        const _: () = {
            use profiler_common::wire::{TaskIdentity, TaskState, ThreadRecord};
            use $crate::{backend::Backend, by_address, task::Task};

            impl Backend for $Backend {
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
                    $TASKS.get_ptr_mut(task as u64).map(|known| known.cast())
                }

                #[inline(always)]
                fn state_or_new(task: Task) -> Option<*mut TaskState> {
                    if let Some(state) = Self::state(task) {
                        return Some(state);
                    }
                    $TASKS.insert(task as u64, &UNKNOWN, 0).ok()?;
                    Self::state(task)
                }

                #[inline(always)]
                fn forget(task: Task) {
                    let _ = $TASKS.remove(task as u64);
                }

                #[inline(always)]
                fn record(_index: u32) -> Option<*mut ThreadRecord> {
                    None
                }

                #[inline(always)]
                fn identity(_index: u32) -> Option<*mut TaskIdentity> {
                    None
                }

                #[inline(always)]
                fn recorded(_task: Task) -> Option<*mut ThreadRecord> {
                    None
                }

                #[inline(always)]
                fn forget_hint(_task: Task) {}

                /// Always false: no such calls are listed.
                #[inline(always)]
                fn forget_listed_call(_task: Task) -> bool {
                    false
                }

                #[inline(always)]
                fn is_compat(task: Task) -> bool {
                    $is_compat(task)
                }

                /// The registers are a number here.
                #[inline(always)]
                fn distance(regs: u64, _place: *const u8) -> u64 {
                    regs
                }
            }
        };
    };
}
