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
