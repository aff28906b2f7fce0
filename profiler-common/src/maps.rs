//! Names of the maps in the objects.

/// Records, identities, cells and hints; only in the object with an arena.
pub const ARENA: &str = "ARENA";
/// One [`ThreadRecord`](crate::wire::ThreadRecord) per thread, by index.
pub const RECORDS: &str = "RECORDS";
/// One [`TaskIdentity`](crate::wire::TaskIdentity) a record, by index.
pub const IDENTITIES: &str = "IDENTITIES";
/// One [`Sampler`](crate::sampling::sampler::Sampler) per cell, by index; only with adaptive sampling.
pub const SAMPLERS: &str = "SAMPLERS";
/// One [`OverflowSampler`](crate::sampling::sampler::OverflowSampler) per syscall and CPU; only with adaptive
/// sampling.
pub const OVERFLOW_SAMPLERS: &str = "OVERFLOW_SAMPLERS";
/// The pool of [`Cell`](crate::wire::Cell)s.
pub const CELLS: &str = "CELLS";
/// Indexes of the free records.
pub const FREE_RECORDS: &str = "FREE_RECORDS";
/// Indexes of the free extents.
pub const FREE_EXTENTS: &str = "FREE_EXTENTS";
/// The record that owns each extent.
pub const EXTENT_OWNERS: &str = "EXTENT_OWNERS";
/// One [`OverflowSlot`](crate::wire::OverflowSlot) per syscall.
pub const OVERFLOW: &str = "OVERFLOW";
/// Minimum and maximum latency of each overflow slot, per CPU.
pub const OVERFLOW_EXTREMES: &str = "OVERFLOW_EXTREMES";
/// [`Counters`](crate::wire::Counters), per CPU.
pub const COUNTERS: &str = "COUNTERS";
/// [`Control`](crate::wire::Control).
pub const CONTROL: &str = "CONTROL";
/// One [`User`](crate::wire::User) for each hash of a user id.
pub const USERS: &str = "USERS";
/// Ring buffer with an event when a pool runs low.
pub const WAKE: &str = "WAKE";
/// Host process ids in scope, if the scope is not the whole host.
pub const TARGETS: &str = "TARGETS";
/// Ids of the cgroups in scope, if a filter names cgroups.
pub const CGROUPS: &str = "CGROUPS";
/// Which cgroups are in scope, if a filter names units, containers or pods: a
/// [`Place`](crate::cgroup::Place) by the id of the cgroup.
pub const PLACES: &str = "PLACES";
/// Ring buffer with an [event](crate::cgroup::Event) for each cgroup that is made, renamed or
/// removed.
pub const CGROUP_EVENTS: &str = "CGROUP_EVENTS";
/// The record of each task with one, by the address of the task; only with arrays.
pub const RECORDS_BY_TASK: &str = "RECORDS_BY_TASK";
/// Names of the processes in scope, if a filter names processes.
pub const COMMS: &str = "COMMS";
/// Processes whose new name is in [`COMMS`] and whose old name is not, or the reverse.
pub const RENAMED: &str = "RENAMED";
/// The last signal of each number to the profiler and to its command, by the indexes of
/// [`signals`](crate::signals).
pub const SIGNALS_SENT: &str = "SIGNALS_SENT";
/// Which syscalls count, by [`overflow_index`](crate::call::CallKey::overflow_index).
pub const CALLS: &str = "CALLS";
/// Calls that entered before the programs attached. Empty in the fallback.
pub const CALLS_BEFORE: &str = "CALLS_BEFORE";
/// Index in [`CALLS_BEFORE`], by the address of the task.
pub const CALLS_BEFORE_BY_TASK: &str = "CALLS_BEFORE_BY_TASK";
/// One [`OperationRow`](crate::io_uring::OperationRow) per process and opcode of io_uring, by
/// index. The first ones are overflow rows, one per opcode.
pub const OPERATIONS: &str = "OPERATIONS";
/// Index in [`OPERATIONS`], by [`OperationKey`](crate::io_uring::OperationKey).
pub const OPERATION_INDEX: &str = "OPERATION_INDEX";
/// Indexes of the free rows of [`OPERATIONS`].
pub const FREE_OPERATIONS: &str = "FREE_OPERATIONS";
/// One [`Request`](crate::io_uring::Request) per request of io_uring, by its address.
pub const REQUESTS: &str = "REQUESTS";
/// One [`DataRequests`](crate::io_uring::DataRequests) per ring and `user_data`.
pub const DATA_REQUESTS: &str = "DATA_REQUESTS";
/// One [`Ring`](crate::io_uring::Ring) per ring, by its address.
pub const RINGS: &str = "RINGS";
/// Task state by the address of the task; only in the fallback.
pub const TASKS: &str = "TASKS";
/// The ring buffer of the records of a trace.
pub const EVENTS: &str = "EVENTS";
/// One [`Plan`](crate::trace::Plan) per syscall, by
/// [`overflow_index`](crate::call::CallKey::overflow_index).
pub const PLANS: &str = "PLANS";
/// One [`Pending`](crate::trace::Pending) per thread of a trace for which memory is copied.
pub const PENDING: &str = "PENDING";
/// Indexes of the free entries of [`PENDING`].
pub const FREE_PENDING: &str = "FREE_PENDING";
/// 1 for each number of a syscall that may be in the filter, by
/// [`number_index`](crate::trace::number_index).
pub const NUMBERS: &str = "NUMBERS";
/// The errnos that a filter of a trace names, one bit each.
pub const ERRNOS: &str = "ERRNOS";
/// The [`Losses`](crate::trace::Losses) of a trace, per CPU.
pub const LOSSES: &str = "LOSSES";
/// One [`Ring`](crate::recorder::Ring) per recorded thread of a flight recorder.
pub const RECORDED: &str = "RECORDED";
/// The [`Slot`](crate::recorder::Slot)s of all rings in [`RECORDED`], one ring after the other.
pub const SLOTS: &str = "SLOTS";
/// The [`TracedTask`](crate::trace::TracedTask) of the owner of each ring in [`RECORDED`].
pub const OWNERS: &str = "OWNERS";
/// Indexes of the free rings in [`RECORDED`].
pub const FREE_RINGS: &str = "FREE_RINGS";
/// Time off the CPU of each slot, by the index of its cell.
pub const OFF_CPU: &str = "OFF_CPU";
/// Time off the CPU of the last call of each record, by the index of the record.
pub const OFF_CPU_CALLS: &str = "OFF_CPU_CALLS";
/// Time off the CPU of each overflow slot.
pub const OFF_CPU_OVERFLOW: &str = "OFF_CPU_OVERFLOW";
/// The [`Frames`](crate::stacks::Frames) of each stack, by its id.
pub const FRAMES: &str = "FRAMES";
/// The [`StackSums`](crate::stacks::StackSums) of each row of stacks, by
/// [`StackKey`](crate::stacks::StackKey).
pub const STACK_ROWS: &str = "STACK_ROWS";
/// One [`StackSampler`](crate::stacks::StackSampler) per syscall and CPU, by
/// [`overflow_index`](crate::call::CallKey::overflow_index).
pub const STACK_SAMPLERS: &str = "STACK_SAMPLERS";
/// The [`StackLosses`](crate::stacks::StackLosses), per CPU.
pub const STACK_LOSSES: &str = "STACK_LOSSES";
/// The ring buffer of the copies of stacks.
pub const STACK_COPIES: &str = "STACK_COPIES";
/// One [`FailureRow`](crate::failing::FailureRow) per process, call, errno, reason and target.
pub const FAILURES: &str = "FAILURES";
/// Index in [`FAILURES`], by [`FailureKey`](crate::failing::FailureKey).
pub const FAILURE_INDEX: &str = "FAILURE_INDEX";
/// Indexes of the free rows of [`FAILURES`].
pub const FREE_FAILURES: &str = "FREE_FAILURES";
/// Which arguments of each call name its target, as [`plan`](crate::failing::plan) says, by
/// [`overflow_index`](crate::call::CallKey::overflow_index).
pub const TARGET_PLANS: &str = "TARGET_PLANS";
/// The [`Scratch`](crate::failing::Scratch) of each CPU.
pub const FAILURE_SCRATCH: &str = "FAILURE_SCRATCH";
/// One [`CapabilityCheck`](crate::failing::CapabilityCheck) per record, by index.
pub const CAPABILITY_CHECKS: &str = "CAPABILITY_CHECKS";
