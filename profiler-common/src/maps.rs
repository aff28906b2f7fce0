//! Names of the maps in the object, as the user side looks them up.

/// Records, cells and hints in one, where the kernel has arenas.
pub const ARENA: &str = "ARENA";
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
/// One [`User`](crate::wire::User) for each hash of a user id.
pub const USERS: &str = "USERS";
/// Ring buffer with a wake-up when the pool runs low.
pub const WAKE: &str = "WAKE";
/// Host process ids in scope, when the scope is not the whole host.
pub const TARGETS: &str = "TARGETS";
/// Ids of the cgroups in scope, when not all are.
pub const CGROUPS: &str = "CGROUPS";
/// Names of the processes in scope, when not all are.
pub const COMMS: &str = "COMMS";
/// Processes that have been renamed into or out of these names.
pub const RENAMED: &str = "RENAMED";
/// The last of each signal to the profiler and to its command; see [`signals`](crate::signals).
pub const SIGNALS_SENT: &str = "SIGNALS_SENT";
/// Which calls count, by [`overflow_index`](crate::call::CallKey::overflow_index).
pub const CALLS: &str = "CALLS";
/// Calls from before the programs attached, only in the object with task storage.
pub const BEFORE: &str = "BEFORE";
/// Which of them is whose, likewise.
pub const BEFORE_BY_TASK: &str = "BEFORE_BY_TASK";
/// Task state by task, only in the object for kernels without task storage.
pub const TASKS: &str = "TASKS";
