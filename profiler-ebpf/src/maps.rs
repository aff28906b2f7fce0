//! The maps, and the reasons for their types and sizes. The user side sets `max_entries` of some
//! maps before it loads the object. Their sizes here are the smallest that load.

use aya_ebpf::{
    bindings::BPF_F_MMAPABLE,
    btf_maps::{Array, HashMap, LruHashMap, PerCpuArray, RingBuf, Stack},
    macros::btf_map,
};
use profiler_common::{
    call::OVERFLOW_SLOTS,
    failing::{CapabilityCheck, FailureKey, FailureRow, Scratch},
    io_uring::{DataKey, DataRequests, OperationKey, OperationRow, Request, Ring},
    limits::{CGROUP_EVENTS_BYTES, COMM_LEN, MAX_CGROUPS, MAX_COMMS, MAX_TARGETS},
    sampling::sampler::{OverflowSampler, Sampler},
    share,
    signals::SIGNALS,
    wire::{
        CallBefore, Cell, Control, Counters, Extremes, OffCpu, OffCpuCall, OverflowSlot,
        SignalSent, TaskIdentity, ThreadRecord, User,
    },
};

const MMAPABLE: usize = BPF_F_MMAPABLE as usize;

/// Records, by index. In an array, a look-up is an inlined bounds check and a multiplication. The
/// array is mmapable, so that the reader needs no syscall per thread.
#[btf_map]
pub static RECORDS: Array<ThreadRecord, 1, MMAPABLE> = Array::new();

/// The identities of the owners of the records, by index. A record has no space for them.
#[btf_map]
pub static IDENTITIES: Array<TaskIdentity, 1, MMAPABLE> = Array::new();

/// Cells: slots, histogram chunks, errno pages and pages of tables. They have the same size, so
/// none can starve another while cells are free.
#[btf_map]
pub static CELLS: Array<Cell, 1, MMAPABLE> = Array::new();

/// The samplers of the slots, by the index of the cell. They are apart from the cells, because only
/// adaptive sampling needs them.
#[btf_map]
pub static SAMPLERS: Array<Sampler, 1, MMAPABLE> = Array::new();

/// The samplers of the overflow slots, per CPU, for the same reasons as [`OVERFLOW_EXTREMES`].
#[btf_map]
pub static OVERFLOW_SAMPLERS: PerCpuArray<OverflowSampler, 1> = PerCpuArray::new();

/// The owner of each extent: the index of a record, plus one. The kernel side writes it when it
/// takes the extent. The reader clears it when it frees the extent.
#[btf_map]
pub static EXTENT_OWNERS: Array<u32, 1, MMAPABLE> = Array::new();

/// Indexes of free records. A pop is the only allocation without a lost update that Linux 5.10
/// offers: an atomic that returns a value came with Linux 5.12. With a stack, unlike a queue, the
/// records in use stay dense, and the reader scans few.
#[btf_map]
pub static FREE_RECORDS: Stack<u32, 1> = Stack::new();

/// Indexes of free extents, in a stack for the same reasons.
#[btf_map]
pub static FREE_EXTENTS: Stack<u32, 1> = Stack::new();

/// The overflow slots, one per syscall. Calls for which there is no space are counted here, so the
/// totals stay exact.
#[btf_map]
pub static OVERFLOW: Array<OverflowSlot, { OVERFLOW_SLOTS as usize }, MMAPABLE> = Array::new();

/// Minimum and maximum latency of the overflow slots. They are per CPU, so they need no atomic
/// operation if programs cannot be preempted. Otherwise, see
/// [`Backend::raise`](crate::backend::Backend::raise).
#[btf_map]
pub static OVERFLOW_EXTREMES: PerCpuArray<Extremes, { OVERFLOW_SLOTS as usize }> =
    PerCpuArray::new();

/// Counters of events off the common path.
#[btf_map]
pub static COUNTERS: PerCpuArray<Counters, 1> = PerCpuArray::new();

/// 1 if this CPU has reported that a pool ran out.
#[btf_map]
pub static REPORTED: PerCpuArray<u32, 1> = PerCpuArray::new();

/// State that the two sides share: how much of the pools is taken, and when to wake the reader.
#[btf_map]
pub static CONTROL: Array<Control, 1, MMAPABLE> = Array::new();

/// What each user holds, by a hash of the user id. Unlike a hash map, an array cannot be full. It
/// takes 160 KiB.
#[btf_map]
pub static USERS: Array<User, { share::USERS as usize }, MMAPABLE> = Array::new();

/// Wakes the reader between two drains if a pool runs low. One page is enough: an event that does
/// not fit would repeat one that is already there.
#[btf_map]
pub static WAKE: RingBuf<u64, 4096> = RingBuf::new();

/// Calls that entered before the programs attached, in the order in which they were found.
/// `Control` has their number.
#[btf_map]
pub static CALLS_BEFORE: Array<CallBefore, 1, MMAPABLE> = Array::new();

/// Index in [`CALLS_BEFORE`], by the address of the task. No other task has the address until this one
/// has ended. An exec by a thread changes the id of the task, and keeps the address.
#[btf_map]
pub static CALLS_BEFORE_BY_TASK: HashMap<u64, u32, 1> = HashMap::new();

/// What happens to cgroups. The user side reads it at each drain.
#[btf_map]
pub static CGROUP_EVENTS: RingBuf<u64, CGROUP_EVENTS_BYTES> = RingBuf::new();

/// Processes in scope at the start, if the scope is not the whole host.
#[btf_map]
pub static TARGETS: HashMap<u32, u32, { MAX_TARGETS as usize }> = HashMap::new();

/// Ids of the cgroups in scope, if a filter names cgroups.
#[btf_map]
pub static CGROUPS: HashMap<u64, u32, { MAX_CGROUPS as usize }> = HashMap::new();

/// Which cgroups are in scope, if a filter names units, containers or pods: a `cgroup::Place`.
#[btf_map]
pub static PLACES: HashMap<u64, u32, 1> = HashMap::new();

/// Names of the processes in scope, if a filter names processes.
#[btf_map]
pub static COMMS: HashMap<[u8; COMM_LEN], u32, { MAX_COMMS as usize }> = HashMap::new();

/// Whether the new name of a process is in [`COMMS`], by the address of its leader. Only processes
/// of which exactly one of the old and the new name is in [`COMMS`] are here. An entry is needed
/// until the kernel has written the name, so the latest entries are enough.
#[btf_map]
pub static RENAMED: LruHashMap<u64, u32, 1> = LruHashMap::new();

/// 1 for each syscall that counts, if a filter names syscalls.
#[btf_map]
pub static CALLS: Array<u32, { OVERFLOW_SLOTS as usize }> = Array::new();

/// The last signal of each number to the profiler, and then those to its command.
#[btf_map]
pub static SIGNALS_SENT: Array<SignalSent, { 2 * SIGNALS as usize }> = Array::new();

/// Time off the CPU of each slot, by the index of its cell. A slot has no space for it. Without the
/// programs that follow it, this map and the next one have one entry.
#[btf_map]
pub static OFF_CPU: Array<OffCpu, 1, MMAPABLE> = Array::new();

/// Time off the CPU of the last call of each record that left its CPU.
#[btf_map]
pub static OFF_CPU_CALLS: Array<OffCpuCall, 1, MMAPABLE> = Array::new();

/// Time off the CPU of the overflow slots, including calls in flight.
#[btf_map]
pub static OFF_CPU_OVERFLOW: Array<OffCpu, { OVERFLOW_SLOTS as usize }> = Array::new();

/// Figures of io_uring, one row per process and opcode. The first rows are overflow rows, one per
/// opcode.
#[btf_map]
pub static OPERATIONS: Array<OperationRow, 1, MMAPABLE> = Array::new();

/// Index in [`OPERATIONS`] by process and opcode. The reader removes entries.
#[btf_map]
pub static OPERATION_INDEX: HashMap<OperationKey, u32, 1> = HashMap::new();

/// Indexes of the free rows of [`OPERATIONS`].
#[btf_map]
pub static FREE_OPERATIONS: Stack<u32, 1> = Stack::new();

/// Requests of io_uring by their address. If the map is full, it forgets the oldest ones. Their
/// completions are counted all the same, without a latency.
#[btf_map]
pub static REQUESTS: LruHashMap<u64, Request, 1> = LruHashMap::new();

/// Requests of io_uring by ring and `user_data`, for completions that do not name their request.
#[btf_map]
pub static DATA_REQUESTS: LruHashMap<DataKey, DataRequests, 1> = LruHashMap::new();

/// The creators of rings, by the address of the ring.
#[btf_map]
pub static RINGS: LruHashMap<u64, Ring, 1> = LruHashMap::new();

/// On which targets calls failed, one row per process, call, errno, reason and target.
#[btf_map]
pub static FAILURES: Array<FailureRow, 1, MMAPABLE> = Array::new();

/// Index in [`FAILURES`]. The reader removes entries.
#[btf_map]
pub static FAILURE_INDEX: HashMap<FailureKey, u32, 1> = HashMap::new();

/// Indexes of the free rows of [`FAILURES`].
#[btf_map]
pub static FREE_FAILURES: Stack<u32, 1> = Stack::new();

/// Which arguments of each call name its target.
#[btf_map]
pub static TARGET_PLANS: Array<u32, { OVERFLOW_SLOTS as usize }> = Array::new();

/// Where a CPU puts a target together, since the stack of a program is too small.
#[btf_map]
pub static FAILURE_SCRATCH: PerCpuArray<Scratch, 1> = PerCpuArray::new();

/// The last check of a capability that failed, by the index of the record.
#[btf_map]
pub static CAPABILITY_CHECKS: Array<CapabilityCheck, 1> = Array::new();
