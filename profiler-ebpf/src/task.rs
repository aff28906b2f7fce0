//! Reads the fields of a `task_struct`.

use aya_ebpf::bindings::task_struct;
use profiler_common::limits::COMM_LEN;

use crate::settings::{COMM_OFFSET, ENTRIES_CAN_BE_MISSED, PTRACE_OFFSET, WORK_OFFSET};

/// A task, as the kernel passes it.
pub type Task = *mut task_struct;

/// A `u32` field of any task.
#[inline(always)]
pub fn field_u32(task: Task, offset: u32) -> u32 {
    // SAFETY: the helper checks the address and fails rather than faults.
    unsafe {
        aya_ebpf::helpers::bpf_probe_read_kernel(task.cast::<u8>().add(offset as usize).cast())
            .unwrap_or(0)
    }
}

/// A `u64` field of any task.
#[inline(always)]
pub fn field_u64(task: Task, offset: u32) -> u64 {
    // SAFETY: as above.
    unsafe {
        aya_ebpf::helpers::bpf_probe_read_kernel(task.cast::<u8>().add(offset as usize).cast())
            .unwrap_or(0)
    }
}

/// Copies `task->comm`. If it cannot be read, `comm` keeps its value.
///
/// The copy goes through the stack, because a helper does not write into an arena.
#[inline(always)]
pub fn read_comm(task: Task, comm: *mut [u8; COMM_LEN]) {
    // SAFETY: as above; `comm` is aligned as the words are, in a live map value.
    unsafe {
        let source = task.cast::<u8>().add(COMM_OFFSET.load() as usize);
        if let Ok(words) = aya_ebpf::helpers::bpf_probe_read_kernel(source.cast()) {
            comm.cast::<[u64; COMM_LEN / 8]>().write(words);
        }
    }
}

/// Whether the user side knows the layout of `task_struct`.
#[inline(always)]
pub fn layout_known() -> bool {
    COMM_OFFSET.load() != 0
}

/// `SYSCALL_WORK_SYSCALL_TRACEPOINT`, `_AUDIT` and `_EXIT_TRAP` (include/linux/thread_info.h): the
/// work of a call that cannot refuse the call.
const HARMLESS_WORK: u64 = 1 << 1 | 1 << 4 | 1 << 6;

/// Whether seccomp, a tracer or user dispatch may have refused the call that the running task
/// leaves. Always true if no entry can be missed.
///
/// If a tracer refuses a call and detaches before the tracee leaves that call, the refusal goes
/// unnoticed.
#[inline(always)]
pub fn may_be_refused(task: Task) -> bool {
    let work = WORK_OFFSET.load();
    ENTRIES_CAN_BE_MISSED.load() == 0
        || work == 0
        || field_u64(task, work) & !HARMLESS_WORK != 0
        // A tracer that continues its tracee by PTRACE_CONT clears the work.
        || field_u32(task, PTRACE_OFFSET.load()) != 0
}
