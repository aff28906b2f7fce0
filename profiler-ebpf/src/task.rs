//! The fields of a `task_struct`, and what the user side has set.

use aya_ebpf::{Global, bindings::task_struct};
use profiler_common::limits::COMM_LEN;

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
pub(crate) use settings;

settings! {
    /// `offsetof(struct task_struct, thread_info.status)`.
    STATUS_OFFSET,
    /// Where the records begin in the arena, bytes; only in the object with one.
    RECORDS_AT,
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
    /// 1 where the kernel may skip the entry program, so that an entry can be missed.
    ENTRIES_CAN_BE_MISSED,
    /// `offsetof(struct task_struct, thread_info.syscall_work)`; 0 before Linux 5.11.
    WORK_OFFSET,
    /// `offsetof(struct task_struct, ptrace)`.
    PTRACE_OFFSET,
    /// `offsetof(struct task_struct, seccomp.mode)`. This one and the next four are only for
    /// [`refusal`](crate::refusal), and 0 where the kernel lacks the field.
    SECCOMP_MODE_OFFSET,
    /// `offsetof(struct task_struct, seccomp.filter)`.
    SECCOMP_FILTER_OFFSET,
    /// `offsetof(struct seccomp_filter, cache.allow_native)`.
    ALLOWED_OFFSET,
    /// `sizeof(struct action_cache.allow_native)`.
    ALLOWED_NATIVE_BYTES,
    /// `sizeof(struct action_cache.allow_compat)`.
    ALLOWED_COMPAT_BYTES,
    /// 1 where `bpf_task_pt_regs` can be called (Linux 5.15, with BTF).
    HAS_TASK_REGS,
    /// `offsetof(struct seccomp_filter, prev)`. This one and the next four are only for
    /// [`refusal::is_held`](crate::refusal::is_held), and 0 where the kernel lacks the field.
    FILTER_PREV_OFFSET,
    /// `offsetof(struct seccomp_filter, notif)`.
    FILTER_NOTIF_OFFSET,
    /// `offsetof(struct notification, notifications)`.
    NOTIFICATIONS_OFFSET,
    /// `offsetof(struct seccomp_knotif, list)`.
    KNOTIF_LIST_OFFSET,
    /// `offsetof(struct seccomp_knotif, task)`.
    KNOTIF_TASK_OFFSET,
    /// `offsetof(struct task_struct, last_siginfo)`. This one and the next seven are only for
    /// [`before`](crate::before).
    LAST_SIGINFO_OFFSET,
    /// `offsetof(struct kernel_siginfo, si_code)`.
    SI_CODE_OFFSET,
    /// `offsetof(struct task_struct, __state)`.
    STATE_OFFSET,
    /// `offsetof(struct task_struct, flags)`.
    FLAGS_OFFSET,
    /// `offsetof(struct task_struct, on_cpu)`.
    ON_CPU_OFFSET,
    /// `offsetof(struct task_struct, jobctl)`.
    JOBCTL_OFFSET,
    /// `offsetof(struct task_struct, nvcsw)`.
    NVCSW_OFFSET,
    /// `offsetof(struct task_struct, nivcsw)`.
    NIVCSW_OFFSET,
    /// Which calls are timed: a threshold of [`sampling`](profiler_common::sampling).
    TIMED,
    /// Host process id of the profiler, left out; 0 leaves nothing out.
    OWN_TGID,
    /// Host process id of the profiler, and of the command that it started; only for
    /// [`signals`](crate::signals).
    PROFILER_TGID,
    /// See there.
    COMMAND_TGID,
    /// 1 when only the targets and their children count.
    TARGETS_ONLY,
    /// 1 when what counts is less than the host.
    SCOPE_IS_NARROW,
    /// 1 when a task can come into scope and leave it.
    SCOPE_CHANGES,
    /// 1 when only processes in cgroups of [`filter`](crate::filter) count.
    CGROUPS_ONLY,
    /// 1 when only processes of these names count.
    COMMS_ONLY,
    /// Calls for probes that this kernel has: `uretprobe`, and `uprobe` after it.
    PROBE_CALLS,
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
///
/// By way of the stack, since a helper does not write into an arena.
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

/// Whether the user side found the layout of `task_struct`.
#[inline(always)]
pub fn layout_known() -> bool {
    COMM_OFFSET.load() != 0
}

/// `SYSCALL_WORK_SYSCALL_TRACEPOINT`, `_AUDIT` and `_EXIT_TRAP`
/// (include/linux/thread_info.h): what a call can have to do that cannot refuse it.
const HARMLESS_WORK: u64 = 1 << 1 | 1 << 4 | 1 << 6;

/// Whether something may have refused the call that the running task leaves: seccomp, a
/// tracer, or user dispatch. Always true where no entry can be missed.
///
/// If a tracer refuses a call and detaches before the tracee leaves that call, the refusal goes
/// unnoticed.
#[inline(always)]
pub fn may_be_refused(task: Task) -> bool {
    let work = WORK_OFFSET.load();
    ENTRIES_CAN_BE_MISSED.load() == 0
        || work == 0
        || field_u64(task, work) & !HARMLESS_WORK != 0
        // A tracer that lets its tracee go on by PTRACE_CONT clears the work.
        || field_u32(task, PTRACE_OFFSET.load()) != 0
}
