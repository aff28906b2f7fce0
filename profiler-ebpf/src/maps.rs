//! Every map, and why it is of this type and size. `max_entries` given here are
//! the least that loads; the user side sets the real ones before loading.

use aya_ebpf::{
    bindings::BPF_F_MMAPABLE,
    btf_maps::{Array, HashMap, LruHashMap, PerCpuArray, RingBuf, Stack},
    macros::btf_map,
};
use profiler_common::{
    call::OVERFLOW_SLOTS,
    limits::{COMM_LEN, MAX_CGROUPS, MAX_COMMS, MAX_TARGETS},
    share,
    signals::SIGNALS,
    wire::{
        CallBefore, Cell, Control, Counters, Extremes, OverflowSlot, SignalSent, TaskIdentity,
        ThreadRecord, User,
    },
};

const MMAPABLE: usize = BPF_F_MMAPABLE as usize;

/// An array, since the look-up is then a bounds check and a multiplication,
/// inlined; mmapable, since the reader must not make a system call a thread.
#[btf_map]
pub static RECORDS: Array<ThreadRecord, 1, MMAPABLE> = Array::new();

/// Who the owners of the records are. Apart from these, whose 256 bytes are full.
#[btf_map]
pub static IDENTITIES: Array<TaskIdentity, 1, MMAPABLE> = Array::new();

/// The pool: slots, histogram chunks, errno pages and call tables, all of one
/// size so that none can starve another while there is room.
#[btf_map]
pub static CELLS: Array<Cell, 1, MMAPABLE> = Array::new();

/// Owner of each extent, as record index plus one, written when it is taken and
/// cleared by the reader when it is given back.
#[btf_map]
pub static EXTENT_OWNERS: Array<u32, 1, MMAPABLE> = Array::new();

/// Free records. Its pop is the only allocation that Linux 5.10 offers without a
/// lost update: an atomic that returns a value came in 5.12. A stack rather than a
/// queue, so that what is in use stays dense, and the reader scans little.
#[btf_map]
pub static FREE_RECORDS: Stack<u32, 1> = Stack::new();

/// Free extents, likewise.
#[btf_map]
pub static FREE_EXTENTS: Stack<u32, 1> = Stack::new();

/// The record that this CPU used last. Only a hint: the record itself says who
/// owns it.
#[btf_map]
pub static HINT: PerCpuArray<u32, 1> = PerCpuArray::new();

/// Where calls are counted that found no room: one slot a system call, so the
/// totals stay exact whatever happens.
#[btf_map]
pub static OVERFLOW: Array<OverflowSlot, { OVERFLOW_SLOTS as usize }, MMAPABLE> = Array::new();

/// Per CPU: where programs cannot be preempted, the extremes then need no atomic operation.
/// Where they can, see [`Backend::raise`](crate::backend::Backend::raise).
#[btf_map]
pub static OVERFLOW_EXTREMES: PerCpuArray<Extremes, { OVERFLOW_SLOTS as usize }> =
    PerCpuArray::new();

/// What happened off the common path.
#[btf_map]
pub static COUNTERS: PerCpuArray<Counters, 1> = PerCpuArray::new();

/// Whether this CPU has reported that room ran out.
#[btf_map]
pub static REPORTED: PerCpuArray<u32, 1> = PerCpuArray::new();

/// How much is taken, and when to wake the reader.
#[btf_map]
pub static CONTROL: Array<Control, 1, MMAPABLE> = Array::new();

/// What each user holds, by a hash of the user id. An array rather than a hash map, which could
/// be full; 160 KiB.
#[btf_map]
pub static USERS: Array<User, { share::USERS as usize }, MMAPABLE> = Array::new();

/// Wakes the reader between two drains when room runs low. One page: an event
/// that does not fit would only repeat one that is already there.
#[btf_map]
pub static WAKE: RingBuf<u64, 4096> = RingBuf::new();

/// Calls that entered before the programs attached, in the order in which they were found;
/// the first so many as `Control` counts.
#[btf_map]
pub static BEFORE: Array<CallBefore, 1, MMAPABLE> = Array::new();

/// Index in [`BEFORE`] by the address of the task, which no other has until this one has
/// ended: an exec by a thread changes its id, and leaves it where it is.
#[btf_map]
pub static BEFORE_BY_TASK: HashMap<u64, u32, 1> = HashMap::new();

/// Processes in scope at the start, when the scope is not the whole host.
#[btf_map]
pub static TARGETS: HashMap<u32, u32, { MAX_TARGETS as usize }> = HashMap::new();

/// Ids of the cgroups in scope, when not all are.
#[btf_map]
pub static CGROUPS: HashMap<u64, u32, { MAX_CGROUPS as usize }> = HashMap::new();

/// Names of the processes in scope, when not all are.
#[btf_map]
pub static COMMS: HashMap<[u8; COMM_LEN], u32, { MAX_COMMS as usize }> = HashMap::new();

/// Whether the last name of a process, by the address of its leader, is among [`COMMS`]:
/// of those that got a name that is though the one before was not, or the reverse. Needed
/// until the name is written, so that of many the latest suffice.
#[btf_map]
pub static RENAMED: LruHashMap<u64, u32, 1> = LruHashMap::new();

/// Which calls count, when not all do.
#[btf_map]
pub static CALLS: Array<u32, { OVERFLOW_SLOTS as usize }> = Array::new();

/// The last of each signal that was sent to the profiler, and after these, to its command.
#[btf_map]
pub static SIGNALS_SENT: Array<SignalSent, { 2 * SIGNALS as usize }> = Array::new();
