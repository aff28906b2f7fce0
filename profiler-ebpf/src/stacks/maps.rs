//! The maps of stacks.

use aya_ebpf::{
    btf_maps::{HashMap, PerCpuArray, RingBuf},
    macros::btf_map,
};
use profiler_common::{
    call::OVERFLOW_SLOTS,
    stacks::{
        Frames, StackCopy, StackKey, StackLosses, StackPace, StackSampler, StackSums, StackTask,
    },
};

/// State by the address of the `task_struct`. The map is preallocated, so an insert fails only if
/// the map is full.
#[btf_map]
pub static TASKS: HashMap<u64, StackTask, 1> = HashMap::new();

/// The frames of each stack, by a hash of the frames. No two stacks share an entry, in contrast to
/// the kernel's own map of stacks.
#[btf_map]
pub static FRAMES: HashMap<u64, Frames, 1> = HashMap::new();

/// The sums.
#[btf_map]
pub static STACK_ROWS: HashMap<StackKey, StackSums, 1> = HashMap::new();

/// Which calls are chosen.
#[btf_map]
pub static STACK_SAMPLERS: PerCpuArray<StackSampler, { OVERFLOW_SLOTS as usize }> =
    PerCpuArray::new();

/// How many stacks are taken.
#[btf_map]
pub static STACK_PACE: PerCpuArray<StackPace, 1> = PerCpuArray::new();

/// Frames that are being taken: one entry for each program, since one can preempt another.
#[btf_map]
pub static SCRATCH: PerCpuArray<Frames, 3> = PerCpuArray::new();

/// Memory that is being copied: one entry for each program that copies.
#[btf_map]
pub static COPY_SCRATCH: PerCpuArray<StackCopy, 2> = PerCpuArray::new();

/// What is missing.
#[btf_map]
pub static STACK_LOSSES: PerCpuArray<StackLosses, 1> = PerCpuArray::new();

/// Copies of stacks, and messages.
#[btf_map]
pub static STACK_COPIES: RingBuf<u64, 4096> = RingBuf::new();
