//! Capacities: how much of each thing there is at most.

/// Bytes in a cache line of every CPU this runs on.
pub const CACHE_LINE: usize = 64;

/// `TASK_COMM_LEN` of the kernel (include/linux/sched.h): a name and its NUL.
pub const COMM_LEN: usize = 16;

/// Cells in an extent, the unit in which a thread takes room from the pool.
///
/// Eight cells are 1 KiB: small enough that an idle thread holds little, large
/// enough that a short-lived process gives its room back in a few pushes.
pub const CELLS_PER_EXTENT: u32 = 8;

/// Threads that can be recorded apart at one time, unless configured.
pub const DEFAULT_THREADS: u32 = 32_768;

/// Extents in the pool, unless configured: 40 MiB of cells.
pub const DEFAULT_EXTENTS: u32 = 40_960;

/// Fewest threads and extents with which the maps still make sense.
pub const MIN_THREADS: u32 = 1;
/// See [`MIN_THREADS`]. Extent 0 is never handed out, since cell 0 means "none".
pub const MIN_EXTENTS: u32 = 2;

/// Most threads a configuration may ask for: `PID_MAX_LIMIT` on 64 bits.
pub const MAX_THREADS: u32 = 4 * 1024 * 1024;
/// Most extents a configuration may ask for: 2.5 GiB of cells, which with the records for
/// [`MAX_THREADS`] and their reserve are within the 4 GiB of an arena.
pub const MAX_EXTENTS: u32 = 5 * 512 * 1024;

/// Processes that a scope (`-p`, a command) can name at its start.
pub const MAX_TARGETS: u32 = 4_096;

/// Cgroups that a filter can name.
pub const MAX_CGROUPS: u32 = 256;
/// Names of processes that a filter can name.
pub const MAX_COMMS: u32 = 256;
/// Levels of the cgroup tree, from the root down, on which a filter's cgroup may be.
pub const CGROUP_LEVELS: u32 = 64;
/// Renamings of processes that are remembered at one time, where names decide: those that
/// are under way have to be among them.
pub const RENAMES: u32 = 16_384;
/// Tasks out of scope that are known to be at one time.
pub const OUTSIDE: usize = 4_096;

/// Errnos are counted each on its own below this. The largest errno that a
/// system call may return on x86 is 133 (`EHWPOISON`).
pub const ERRNOS: usize = 160;
/// Errnos per page of a slot.
pub const ERRNOS_PER_PAGE: usize = 32;
/// Pages of errnos in a slot.
pub const ERRNO_PAGES: usize = ERRNOS / ERRNOS_PER_PAGE;

/// Numbers in the instructions of the object with an arena, in whose place the user side
/// puts others before it loads them. Ones that nothing else there is likely to have.
pub mod patch {
    /// The function to call: `bpf_rdonly_cast`, by its BTF id.
    pub const RDONLY_CAST: i32 = 0x7072_6f01;
    /// The type to cast to: a structure of integers, by its BTF id.
    pub const RDONLY_CAST_TYPE: i32 = 0x7072_6f02;
}

/// Names of the read-only globals in the object.
pub mod globals {
    /// Host process id of the profiler, left out; 0 leaves nothing out.
    pub const OWN_TGID: &str = "OWN_TGID";
    /// Host process id of the profiler, which signals are sent to.
    pub const PROFILER_TGID: &str = "PROFILER_TGID";
    /// Host process id of the command, likewise.
    pub const COMMAND_TGID: &str = "COMMAND_TGID";
    /// 1 when only [`TARGETS`](crate::maps::TARGETS) and their children count.
    pub const TARGETS_ONLY: &str = "TARGETS_ONLY";
    /// Which calls are timed: a threshold of [`sampling`](crate::sampling).
    pub const TIMED: &str = "TIMED";
    /// 1 when what counts is less than the host.
    pub const SCOPE_IS_NARROW: &str = "SCOPE_IS_NARROW";
    /// 1 when a task can come into scope and leave it.
    pub const SCOPE_CHANGES: &str = "SCOPE_CHANGES";
    /// 1 when only processes in [`CGROUPS`](crate::maps::CGROUPS) count.
    pub const CGROUPS_ONLY: &str = "CGROUPS_ONLY";
    /// 1 when only processes named in [`COMMS`](crate::maps::COMMS) count.
    pub const COMMS_ONLY: &str = "COMMS_ONLY";
    /// 1 when not all of [`CALLS`](crate::maps::CALLS) count.
    pub const CALLS_ONLY: &str = "CALLS_ONLY";
    /// How many of `uretprobe` and `uprobe`, in this order, the kernel has.
    pub const PROBE_CALLS: &str = "PROBE_CALLS";
    /// `offsetof(struct task_struct, thread_info.status)`.
    pub const STATUS_OFFSET: &str = "STATUS_OFFSET";
    /// Where the records begin in the arena: [`arena::records`](crate::arena::records).
    pub const RECORDS_AT: &str = "RECORDS_AT";
    /// `offsetof(struct task_struct, pid)`.
    pub const PID_OFFSET: &str = "PID_OFFSET";
    /// `offsetof(struct task_struct, tgid)`.
    pub const TGID_OFFSET: &str = "TGID_OFFSET";
    /// `offsetof(struct task_struct, group_leader)`.
    pub const LEADER_OFFSET: &str = "LEADER_OFFSET";
    /// `offsetof(struct task_struct, start_boottime)`.
    pub const START_OFFSET: &str = "START_OFFSET";
    /// `offsetof(struct task_struct, comm)`.
    pub const COMM_OFFSET: &str = "COMM_OFFSET";
    /// 1 where the kernel may skip the entry program, so that an entry can be missed.
    pub const ENTRIES_CAN_BE_MISSED: &str = "ENTRIES_CAN_BE_MISSED";
    /// `offsetof(struct task_struct, thread_info.syscall_work)`; 0 before Linux 5.11.
    pub const WORK_OFFSET: &str = "WORK_OFFSET";
    /// `offsetof(struct task_struct, ptrace)`.
    pub const PTRACE_OFFSET: &str = "PTRACE_OFFSET";
    /// `offsetof(struct task_struct, seccomp.mode)`; this and those up to
    /// `ALLOWED_COMPAT_BYTES` are 0 where the kernel's BTF lacks them.
    pub const SECCOMP_MODE_OFFSET: &str = "SECCOMP_MODE_OFFSET";
    /// `offsetof(struct task_struct, seccomp.filter)`.
    pub const SECCOMP_FILTER_OFFSET: &str = "SECCOMP_FILTER_OFFSET";
    /// `offsetof(struct seccomp_filter, cache.allow_native)`.
    pub const ALLOWED_OFFSET: &str = "ALLOWED_OFFSET";
    /// `sizeof(struct action_cache.allow_native)`.
    pub const ALLOWED_NATIVE_BYTES: &str = "ALLOWED_NATIVE_BYTES";
    /// `sizeof(struct action_cache.allow_compat)`, which follows it.
    pub const ALLOWED_COMPAT_BYTES: &str = "ALLOWED_COMPAT_BYTES";
    /// 1 where `bpf_task_pt_regs` can be called (Linux 5.15, with BTF).
    pub const HAS_TASK_REGS: &str = "HAS_TASK_REGS";
    /// `offsetof(struct seccomp_filter, prev)`.
    pub const FILTER_PREV_OFFSET: &str = "FILTER_PREV_OFFSET";
    /// `offsetof(struct seccomp_filter, notif)`.
    pub const FILTER_NOTIF_OFFSET: &str = "FILTER_NOTIF_OFFSET";
    /// `offsetof(struct notification, notifications)`.
    pub const NOTIFICATIONS_OFFSET: &str = "NOTIFICATIONS_OFFSET";
    /// `offsetof(struct seccomp_knotif, list)`.
    pub const KNOTIF_LIST_OFFSET: &str = "KNOTIF_LIST_OFFSET";
    /// `offsetof(struct seccomp_knotif, task)`.
    pub const KNOTIF_TASK_OFFSET: &str = "KNOTIF_TASK_OFFSET";
    /// `offsetof(struct task_struct, cgroups)`; this and those up to `NR_THREADS_OFFSET` are
    /// only for filters.
    pub const CGROUPS_OFFSET: &str = "CGROUPS_OFFSET";
    /// `offsetof(struct css_set, dfl_cgrp)`.
    pub const DFL_CGRP_OFFSET: &str = "DFL_CGRP_OFFSET";
    /// `offsetof(struct cgroup, level)`.
    pub const LEVEL_OFFSET: &str = "LEVEL_OFFSET";
    /// `offsetof(struct cgroup, ancestor_ids)`; 0 from Linux 6.1 on.
    pub const ANCESTOR_IDS_OFFSET: &str = "ANCESTOR_IDS_OFFSET";
    /// `offsetof(struct cgroup, ancestors)`; 0 before.
    pub const ANCESTORS_OFFSET: &str = "ANCESTORS_OFFSET";
    /// `offsetof(struct cgroup, kn)`.
    pub const KN_OFFSET: &str = "KN_OFFSET";
    /// `offsetof(struct kernfs_node, id)`.
    pub const KN_ID_OFFSET: &str = "KN_ID_OFFSET";
    /// `offsetof(struct task_struct, signal)`.
    pub const SIGNAL_OFFSET: &str = "SIGNAL_OFFSET";
    /// `offsetof(struct signal_struct, nr_threads)`.
    pub const NR_THREADS_OFFSET: &str = "NR_THREADS_OFFSET";
    /// `offsetof(struct task_struct, last_siginfo)`; this and those that follow are only in the
    /// object with task storage.
    pub const LAST_SIGINFO_OFFSET: &str = "LAST_SIGINFO_OFFSET";
    /// `offsetof(struct kernel_siginfo, si_code)`.
    pub const SI_CODE_OFFSET: &str = "SI_CODE_OFFSET";
    /// `offsetof(struct task_struct, __state)`.
    pub const STATE_OFFSET: &str = "STATE_OFFSET";
    /// `offsetof(struct task_struct, flags)`.
    pub const FLAGS_OFFSET: &str = "FLAGS_OFFSET";
    /// `offsetof(struct task_struct, on_cpu)`.
    pub const ON_CPU_OFFSET: &str = "ON_CPU_OFFSET";
    /// `offsetof(struct task_struct, jobctl)`.
    pub const JOBCTL_OFFSET: &str = "JOBCTL_OFFSET";
    /// `offsetof(struct task_struct, nvcsw)`.
    pub const NVCSW_OFFSET: &str = "NVCSW_OFFSET";
    /// `offsetof(struct task_struct, nivcsw)`.
    pub const NIVCSW_OFFSET: &str = "NIVCSW_OFFSET";
}
