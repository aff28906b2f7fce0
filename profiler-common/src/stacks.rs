//! Stacks of calls: what the kernel side sums up, and the records that it sends.
//!
//! Each call has a size: 1, or its latency, or 1 if it failed. The kernel side puts random points
//! onto the sum of the sizes. A call that covers a point gets its stack taken, and the weight of the
//! stack is the distance from the point before. So the sum of the weights is the sum of the sizes up
//! to the last point, and a call is chosen in proportion to its size.

use crate::{limits::COMM_LEN, wire::TaskState};

/// Frames of a stack, at most: the default of the kernel's `perf_event_max_stack`.
pub const MAX_FRAMES: usize = 127;

/// Bytes of a page, in which the memory of a stack is copied.
pub const PAGE_BYTES: u64 = 4096;

/// Whole pages of a stack that are copied, at most. Part of another page comes before them.
pub const COPIED_PAGES: u64 = 4;

/// Bytes of the memory of a stack, at most.
pub const COPIED_BYTES: usize = (PAGE_BYTES * (COPIED_PAGES + 1)) as usize;

/// What a call adds to the sum: 1.
pub const WEIGHT_CALLS: u32 = 0;
/// What a call adds to the sum: its latency, nanoseconds.
pub const WEIGHT_TIME: u32 = 1;
/// What a call adds to the sum: 1 if it failed.
pub const WEIGHT_ERRORS: u32 = 2;

/// Id of a stack: there is none.
pub const NO_STACK: u64 = 0;
/// Id of a stack: it could not be taken, or there was no space for it.
pub const LOST_STACK: u64 = 1;
/// The first id of a stack that was taken.
pub const FIRST_STACK: u64 = 2;

/// Sizes are divided by two to the power of this before they are squared, if they are times.
pub const SQUARE_SHIFT: u32 = 10;

/// The frames of a stack, the innermost first.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Frames {
    /// How many frames there are.
    pub count: u64,
    /// Addresses of code.
    pub addresses: [u64; MAX_FRAMES],
}

/// What a row of stacks is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(C)]
pub struct StackKey {
    /// The process, in the host's pid namespace.
    pub tgid: u32,
    /// Which program the process ran: 0, or a number that its last exec drew.
    pub image: u32,
    /// The [`CallKey`](crate::call::CallKey).
    pub call: u32,
    /// Unused.
    pub reserved: u32,
    /// The id of the stack in user space.
    pub user: u64,
    /// The id of the stack in the kernel, where the call waited last.
    pub kernel: u64,
}

/// The sums of a row of stacks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct StackSums {
    /// The sum of the weights.
    pub weight: u64,
    /// How many stacks were taken.
    pub stacks: u64,
    /// The sum of `weight * (weight - size)`, which tells the error of sampling.
    pub squares: u64,
    /// The name of the thread whose stack was the first.
    pub comm: [u8; COMM_LEN],
}

/// Chooses the calls of one syscall on one CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct StackSampler {
    /// The sum of all sizes.
    pub total: u64,
    /// The sum of the sizes since the last point.
    pub pending: u64,
    /// The distance from the last point to the next one; 0 before the first call.
    pub until: u64,
    /// The mean distance of points.
    pub mean: u64,
    /// When the current window began, nanoseconds; 0 before the first stack.
    pub window_ns: u64,
    /// The sum of the weights of the stacks in the window.
    pub window_weight: u64,
    /// How many stacks were taken in the window.
    pub window_stacks: u32,
    /// When a stack was last taken, by the kernel's tick counter.
    pub last_tick: u32,
    /// How many calls had a size.
    pub calls: u64,
}

/// Stacks in a window, after which the mean distance is set anew. So many calls of a syscall are all
/// chosen before any is left out.
pub const WINDOW_STACKS: u32 = 32;

/// How many stacks are taken on one CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct StackPace {
    /// When the current window began, nanoseconds.
    pub since_ns: u64,
    /// How many stacks were taken since.
    pub taken: u64,
    /// The time between two stacks of one syscall, nanoseconds.
    pub period_ns: u64,
}

/// Nanoseconds of a window, after which the pace is set anew.
pub const WINDOW_NS: u64 = 100_000_000;

/// Counts what is missing, per CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct StackLosses {
    /// Copies of stacks that were dropped because the ring buffer was full.
    pub dropped: u64,
    /// Calls that were not seen, because there was no space for the state of the task.
    pub unseen: u64,
    /// Stacks for which the table of stacks had no space.
    pub without_frames: u64,
    /// Messages about programs and processes that were dropped.
    pub notices_dropped: u64,
}

/// The record has the memory of a stack.
pub const ABOUT_COPY: u32 = 1;
/// The process runs another program, which is `key.image`.
pub const ABOUT_EXEC: u32 = 2;
/// The process `key.tgid` was forked. `ip` is the process that forked it.
pub const ABOUT_FORK: u32 = 3;

/// The beginning of each record. The memory from `sp` on follows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct StackRecord {
    /// What the record is about.
    pub about: u32,
    /// Bytes of memory that follow.
    pub bytes: u32,
    /// The row to which the stack was added.
    pub key: StackKey,
    /// The weight of the copy.
    pub weight: u64,
    /// The instruction pointer.
    pub ip: u64,
    /// The stack pointer.
    pub sp: u64,
    /// The frame pointer.
    pub bp: u64,
}

/// A record with the most memory.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct StackCopy {
    /// The beginning.
    pub record: StackRecord,
    /// The memory.
    pub memory: [u8; COPIED_BYTES],
}

/// What the kernel side knows about a task.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct StackTask {
    /// Whether the task is in scope.
    pub state: TaskState,
    /// When the call in flight entered; 0 if none is followed.
    pub entry_ns: u64,
    /// The stack in user space, if it was taken when the call entered.
    pub user: u64,
    /// Where the call in flight waited last.
    pub kernel: u64,
    /// The call in flight.
    pub call: u32,
    /// The program that the process runs.
    pub image: u32,
    /// The program that the process ran when the call in flight entered.
    pub image_of_call: u32,
    /// The process; 0 until it is known.
    pub tgid: u32,
}

const _: () = {
    assert!(size_of::<Frames>() == 1024);
    assert!(size_of::<StackKey>() == 32);
    assert!(size_of::<StackSampler>() == 64);
    assert!(size_of::<StackRecord>() == 72);
    assert!(size_of::<StackTask>().is_multiple_of(8));
};

#[cfg(feature = "user")]
mod pod {
    use super::{Frames, StackKey, StackLosses, StackSampler, StackSums};

    // SAFETY: repr(C) of integers without padding, so any bytes are a value.
    unsafe impl aya::Pod for Frames {}
    // SAFETY: as above.
    unsafe impl aya::Pod for StackKey {}
    // SAFETY: as above.
    unsafe impl aya::Pod for StackSums {}
    // SAFETY: as above.
    unsafe impl aya::Pod for StackSampler {}
    // SAFETY: as above.
    unsafe impl aya::Pod for StackLosses {}
}
