//! How a task is known: its state, and the fields of its `task_struct`.
//!
//! Two ways, behind one trait, so that everything else is written once.

use aya_ebpf::{Global, bindings::task_struct};
use profiler_common::wire::TaskState;

/// A task, as the kernel passes it.
pub type Task = *mut task_struct;

/// Constants that the user side sets before loading; the verifier then knows
/// their values, and drops the branches that they rule out.
macro_rules! settings {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[unsafe(no_mangle)]
        pub static $name: Global<u32> = Global::new(0);
    )+};
}

settings! {
    /// `offsetof(struct task_struct, thread_info.status)`.
    STATUS_OFFSET,
    /// `offsetof(struct task_struct, pid)`.
    PID_OFFSET,
    /// `offsetof(struct task_struct, tgid)`.
    TGID_OFFSET,
    /// `offsetof(struct task_struct, group_leader)`.
    LEADER_OFFSET,
    /// `offsetof(struct task_struct, start_boottime)`.
    START_OFFSET,
    /// `offsetof(struct task_struct, comm)`.
    COMM_OFFSET,
    /// Host process id of the profiler, left out; 0 leaves nothing out.
    OWN_TGID,
    /// 1 when only the targets and their children count.
    TARGETS_ONLY,
}

/// Access to tasks on this kind of kernel.
pub trait Tasks {
    /// The running task.
    fn current() -> Task;

    /// The state of `task`, if it has one. `tid` is its thread id, or 0 for the
    /// running task's own.
    fn state(task: Task, tid: u32) -> Option<*mut TaskState>;

    /// The state of `task`, made now if it has none; `None` where there is no room.
    fn state_or_new(task: Task, tid: u32) -> Option<*mut TaskState>;

    /// Forgets the running task, which ends. Task storage does that by itself.
    fn forget_current();

    /// The running task went from thread id `from` to `to`, by an exec.
    fn moved(from: u32, to: u32);

    /// Whether the running task is in a 32-bit system call.
    fn is_compat(task: Task) -> bool;

    /// `orig_ax`, the number of a call, out of the registers that `sys_exit` gives.
    fn number_at_exit(regs: u64) -> u64;
}

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

/// Copies `task->comm`; leaves `comm` as it was where that cannot be read.
#[inline(always)]
pub fn read_comm(task: Task, comm: *mut [u8; 16]) {
    // SAFETY: as above; `comm` points into a map value of this length.
    unsafe {
        let source = task.cast::<u8>().add(COMM_OFFSET.load() as usize);
        let _ = aya_ebpf::helpers::bpf_probe_read_kernel_buf(source, &mut *comm);
    }
}

/// Whether the user side found the layout of `task_struct`.
#[inline(always)]
pub fn layout_known() -> bool {
    COMM_OFFSET.load() != 0
}
