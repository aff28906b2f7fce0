//! The maps of a trace that the programs that count calls lack.

use aya_ebpf::{
    btf_maps::{Array, HashMap, PerCpuArray, RingBuf, Stack},
    macros::btf_map,
};
use profiler_common::{
    call::OVERFLOW_SLOTS,
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
