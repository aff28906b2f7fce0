//! Capacities and names, each written once.

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
/// Most extents a configuration may ask for: 4 GiB of cells.
pub const MAX_EXTENTS: u32 = 4 * 1024 * 1024;

/// Processes that a scope (`-p`, a command) can name at its start.
pub const MAX_TARGETS: u32 = 4_096;

/// Errnos are counted each on its own below this. The largest errno that a
/// system call may return on x86 is 133 (`EHWPOISON`).
pub const ERRNOS: usize = 160;
/// Errnos per page of a slot.
pub const ERRNOS_PER_PAGE: usize = 32;
/// Pages of errnos in a slot.
pub const ERRNO_PAGES: usize = ERRNOS / ERRNOS_PER_PAGE;

/// Names of the maps in the object, as the user side looks them up.
pub mod maps {
    /// One [`ThreadRecord`](crate::wire::ThreadRecord) a thread, by index.
    pub const RECORDS: &str = "RECORDS";
    /// The pool of [`Cell`](crate::wire::Cell)s.
    pub const CELLS: &str = "CELLS";
    /// Indexes of records that nobody owns.
    pub const FREE_RECORDS: &str = "FREE_RECORDS";
    /// Indexes of extents that nobody owns.
    pub const FREE_EXTENTS: &str = "FREE_EXTENTS";
    /// Which record owns an extent.
    pub const EXTENT_OWNERS: &str = "EXTENT_OWNERS";
    /// One [`OverflowSlot`](crate::wire::OverflowSlot) a system call.
    pub const OVERFLOW: &str = "OVERFLOW";
    /// Least and greatest latency of the overflow slots, per CPU.
    pub const OVERFLOW_EXTREMES: &str = "OVERFLOW_EXTREMES";
    /// [`Counters`](crate::wire::Counters), per CPU.
    pub const COUNTERS: &str = "COUNTERS";
    /// [`Control`](crate::wire::Control).
    pub const CONTROL: &str = "CONTROL";
    /// Ring buffer with a wake-up when the pool runs low.
    pub const WAKE: &str = "WAKE";
    /// Host process ids in scope, when the scope is not the whole host.
    pub const TARGETS: &str = "TARGETS";
    /// Calls from before the programs attached, only in the object with task storage.
    pub const BEFORE: &str = "BEFORE";
    /// Which of them is whose, likewise.
    pub const BEFORE_BY_TASK: &str = "BEFORE_BY_TASK";
    /// Task state by task, only in the object for kernels without task storage.
    pub const TASKS: &str = "TASKS";
}

/// Names of the read-only globals in the object.
pub mod globals {
    /// Host process id of the profiler, left out; 0 leaves nothing out.
    pub const OWN_TGID: &str = "OWN_TGID";
    /// 1 when only [`TARGETS`](super::maps::TARGETS) and their children count.
    pub const TARGETS_ONLY: &str = "TARGETS_ONLY";
    /// How many of `uretprobe` and `uprobe`, in this order, the kernel has.
    pub const PROBE_CALLS: &str = "PROBE_CALLS";
    /// `offsetof(struct task_struct, thread_info.status)`.
    pub const STATUS_OFFSET: &str = "STATUS_OFFSET";
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
    /// `offsetof(struct task_struct, thread_info.syscall_work)`; 0 before Linux 5.11.
    pub const WORK_OFFSET: &str = "WORK_OFFSET";
    /// `offsetof(struct task_struct, ptrace)`.
    pub const PTRACE_OFFSET: &str = "PTRACE_OFFSET";
    /// `offsetof(struct task_struct, __state)`; this and those that follow are only in the
    /// object with task storage.
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
