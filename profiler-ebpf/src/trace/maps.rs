//! The maps of a trace that the programs that count calls lack.

use aya_ebpf::{
    bindings::BPF_F_MMAPABLE,
    btf_maps::{Array, HashMap, PerCpuArray, Queue, RingBuf, Stack},
    macros::btf_map,
};
use profiler_common::{
    call::OVERFLOW_SLOTS,
    recorder::{Ring, Slot},
    trace::{ERRNO_WORDS, Losses, NUMBERS as ALL_NUMBERS, Pending, Plan, TracedTask},
};

/// State by the address of the `task_struct`. The map is preallocated, so an insert fails only if
/// the map is full.
#[btf_map]
pub static TASKS: HashMap<u64, TracedTask, 1> = HashMap::new();

/// Calls with the memory that was copied. A task takes an entry for its first call of which memory
/// is copied, and returns it when it ends.
#[btf_map]
pub static PENDING: Array<Pending, 1> = Array::new();

/// Indexes of the free entries of [`PENDING`].
#[btf_map]
pub static FREE_PENDING: Stack<u32, 1> = Stack::new();

/// What to copy of each call.
#[btf_map]
pub static PLANS: Array<Plan, { OVERFLOW_SLOTS as usize }> = Array::new();

/// 1 for each number of a syscall that may be in the filter, whatever its ABI is.
#[btf_map]
pub static NUMBERS: Array<u32, { ALL_NUMBERS as usize }> = Array::new();

/// A bit for each errno in the filter.
#[btf_map]
pub static ERRNOS: Array<u64, { ERRNO_WORDS as usize }> = Array::new();

/// What is missing.
#[btf_map]
pub static LOSSES: PerCpuArray<Losses, 1> = PerCpuArray::new();

/// The records.
#[btf_map]
pub static EVENTS: RingBuf<u64, 4096> = RingBuf::new();

/// The rings of a flight recorder, by index.
#[btf_map]
pub static RECORDED: Array<Ring, 1, { BPF_F_MMAPABLE as usize }> = Array::new();

/// The state of the owner of each ring, with the call in flight. In an array, it is found without
/// the look-up of the task.
#[btf_map]
pub static OWNERS: Array<TracedTask, 1, { BPF_F_MMAPABLE as usize }> = Array::new();

/// The slots of all rings, one ring after the other.
#[btf_map]
pub static SLOTS: Array<Slot, 1, { BPF_F_MMAPABLE as usize }> = Array::new();

/// Indexes of the free rings. In a queue, a ring that was freed last is taken last, so its events
/// can be read for a while.
#[btf_map]
pub static FREE_RINGS: Queue<u32, 1> = Queue::new();
