//! Capacities: how much of each thing there is at most.

/// Bytes in a cache line.
pub const CACHE_LINE: usize = 64;

/// `TASK_COMM_LEN` of the kernel (include/linux/sched.h): a name and its NUL.
pub const COMM_LEN: usize = 16;

/// Cells in an extent. A thread takes cells from the pool by the extent.
///
/// Eight cells are 1 KiB. That is small enough for an idle thread to hold little memory, and large
/// enough for the reader to free a short-lived process with a few pushes.
pub const CELLS_PER_EXTENT: u32 = 8;

/// How many threads can have a record at the same time, by default.
pub const DEFAULT_THREADS: u32 = 32_768;

/// Extents in the pool by default: 40 MiB of cells.
pub const DEFAULT_EXTENTS: u32 = 40_960;

/// The smallest number of threads that a configuration can ask for.
pub const MIN_THREADS: u32 = 1;
/// The smallest number of extents that a configuration can ask for. Extent 0 is never handed out,
/// because cell 0 means "none".
pub const MIN_EXTENTS: u32 = 2;

/// The largest number of threads that a configuration can ask for: `PID_MAX_LIMIT` on 64 bits
/// (include/linux/threads.h).
pub const MAX_THREADS: u32 = 4 * 1024 * 1024;
/// The largest number of extents that a configuration can ask for: 2.5 GiB of cells. With the
/// records for [`MAX_THREADS`] and their reserve, they fit in the 4 GiB of an arena.
pub const MAX_EXTENTS: u32 = 5 * 512 * 1024;
/// [`MAX_EXTENTS`] with adaptive sampling, for which each cell has a sampler: 2 GiB of cells.
pub const MAX_EXTENTS_SAMPLED: u32 = 4 * 512 * 1024;

/// How many processes a scope (`-p`, a command) can name.
pub const MAX_TARGETS: u32 = 4_096;

/// How many cgroups a filter can name.
pub const MAX_CGROUPS: u32 = 256;
/// How many cgroups can be in scope or undecided at the same time, if a filter names units,
/// containers or pods. A cgroup below one that is in scope needs no space.
pub const MAX_PLACES: u32 = 4_096;
/// How many names of processes a filter can name.
pub const MAX_COMMS: u32 = 256;
/// How deep in the cgroup tree the cgroup of a filter can be, in levels from the root.
pub const CGROUP_LEVELS: u32 = 64;
/// How many threads of a process are followed when the process moves to another cgroup. The other
/// threads take notice when they next have to look their record up.
pub const MAX_MOVED_THREADS: u32 = 1_024;
/// Bytes of the path of a cgroup in an event. The kernel cuts the path to this length
/// (`TRACE_CGROUP_PATH_LEN`, kernel/cgroup/cgroup-internal.h).
pub const CGROUP_PATH_LEN: usize = 1_024;
/// Bytes of the ring buffer of events about cgroups: thousands of events between two drains.
pub const CGROUP_EVENTS_BYTES: usize = 256 * 1024;
/// How many renames of processes are remembered at the same time, if a filter names processes. The
/// renames that the kernel has not finished must be among them.
pub const RENAMES: u32 = 16_384;
/// Places in the table of tasks that are known to be out of scope.
pub const OUTSIDE: usize = 4_096;

/// Each errno below this number has a counter of its own. The largest errno that a syscall returns
/// is 133 (`EHWPOISON`, include/uapi/asm-generic/errno.h).
pub const ERRNOS: usize = 160;
/// Errnos per page of a slot.
pub const ERRNOS_PER_PAGE: usize = 32;
/// Pages of errnos in a slot.
pub const ERRNO_PAGES: usize = ERRNOS / ERRNOS_PER_PAGE;
