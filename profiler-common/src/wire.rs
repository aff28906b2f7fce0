//! The values in the maps.
//!
//! A record, and the figures in its cells, have one writer: the thread itself, in the tracepoints.
//! The user side reads them through a shared mapping. So plain stores suffice, and writers share no
//! cache line. Many threads write an [`OverflowSlot`], by atomic additions.

mod counters;

use core::mem::{align_of, offset_of, size_of};

pub use counters::Counters;

use crate::{
    arch::FOREIGN_ABIS,
    call::CallKey,
    hist::{BUCKETS, BUCKETS_PER_CHUNK, CHUNKS},
    limits::{CACHE_LINE, COMM_LEN, ERRNO_PAGES, ERRNOS, ERRNOS_PER_PAGE},
};

/// Syscalls per page of the table of a thread.
pub const CALLS_PER_PAGE: u32 = 32;
/// Pages of the native ABI's table, which are in the record itself.
pub const NATIVE_PAGES: usize = 16;

/// Index of a cell in the pool; 0 stands for none.
pub type CellIndex = u32;

/// The value of [`ThreadRecord::in_flight_slot`] if the call is counted in an overflow slot.
pub const OVERFLOWED: CellIndex = u32::MAX;

/// How many copies of the exit program an object has beside the first.
pub const FURTHER_EXITS: usize = 7;

/// The record of a thread: its identity, its call in flight, and the indexes of its figures.
///
/// The common path writes the first cache line only.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct ThreadRecord {
    /// The owner, by the address of its saved user registers at the top of its kernel stack. With
    /// an arena, this is the distance from the arena to that address.
    ///
    /// The address proves ownership: no other live task has that stack, and the tracepoints pass
    /// the address. 0 once the thread has ended, and while nobody owns the record.
    pub owner: u64,
    /// When the call in flight entered, `CLOCK_MONOTONIC` nanoseconds; 0 if it is not timed. With
    /// adaptive sampling, a [`Sample`](crate::sampling::adaptive::Sample).
    pub entry_ns: u64,
    /// Calls that entered.
    pub entered: u64,
    /// Calls that left, with any outcome.
    pub left: u64,
    /// Address of the owner's `thread_info.status`. Only the kernel side uses it.
    pub status_address: u64,
    /// The slot of the call in flight: a cell, [`OVERFLOWED`], or 0.
    pub in_flight_slot: CellIndex,
    /// [`CallKey`] of the call in flight, [`CallKey::NONE`] or [`CallKey::UNCOUNTED`].
    pub in_flight_key: u32,
    /// The key that was looked up last.
    pub last_key: u32,
    /// The slot that was found for `last_key`.
    pub last_slot: CellIndex,
    /// A [`RecordState`].
    pub state: u16,
    /// Index of the [`User`] that took this record. The record's extents count towards the share of
    /// the same user, also if the thread changes its user id.
    pub user: u16,
    /// Calls that seccomp or ptrace denied, so that they left without an entry. Wraps.
    pub denied: u32,
    /// Cells with the pages of the native ABI's table, by `nr / CALLS_PER_PAGE`.
    pub native_pages: [CellIndex; NATIVE_PAGES],
    /// Cells with the page cells of the other ABIs' tables, by
    /// [`foreign_index`](crate::arch::foreign_index).
    pub foreign_roots: [CellIndex; FOREIGN_ABIS],
    /// Process id in the initial pid namespace.
    pub tgid: u32,
    /// Thread id in the initial pid namespace.
    pub tid: u32,
    /// Start of the process, nanoseconds since boot. It distinguishes two processes that had the
    /// same id. 0 without BTF.
    pub process_start_ns: u64,
    /// Name of the process, which is that of its group leader, at `named_ns`. NUL-padded.
    pub comm: [u8; COMM_LEN],
    /// Calls of this thread that are counted in overflow slots.
    pub overflowed: u64,
    /// Calls whose exit was missed: they were still in flight at the next entry.
    pub missed_exits: u64,
    /// [`TaskState::generation`] of the owner, if a task can enter and leave the scope.
    pub generation: u64,
    /// Index of this record.
    pub index: u32,
    /// Next unused cell of the extent that the thread uses up; 0 before the first extent.
    pub next_cell: CellIndex,
    /// Number of the first turn, at random. Turns decide which calls are timed.
    pub first_turn: u64,
    /// For each further copy of the exit program: the lower half of the number of exits that had
    /// been counted when the copy ran last.
    pub exits_seen: [u32; FURTHER_EXITS],
    /// The restart code of the call in flight, if a signal interrupted the call
    /// ([`CallKey::INTERRUPTED`]).
    pub interrupted_by: u32,
    /// When `comm` was read or written, `CLOCK_MONOTONIC` nanoseconds. The latest name among the
    /// threads of a process is the name of the process.
    pub named_ns: u64,
    /// Latency of the interrupted call until it left, nanoseconds; `u64::MAX` if it was not timed.
    /// With adaptive sampling, a [`Sample`](crate::sampling::adaptive::Sample).
    pub interrupted_ns: u64,
}

impl ThreadRecord {
    /// Whether a call is in flight that counts.
    pub fn in_call(&self) -> bool {
        ![CallKey::NONE.0, CallKey::UNCOUNTED.0].contains(&self.in_flight_key)
    }
}

/// Who owns the [`ThreadRecord`] at the same index, beyond the ids of the owner. Only rare events
/// write it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C, align(32))]
pub struct TaskIdentity {
    /// The thread's own name, NUL-padded.
    pub comm: [u8; COMM_LEN],
    /// The real user id in the initial user namespace, as of the thread's first call, its last
    /// exec or its end.
    pub uid: u32,
    /// A number that all records of a thread have, at random. A thread that moves to another cgroup
    /// takes a new record.
    pub thread: u32,
    /// Id of the cgroup in which the calls of this record entered; 0 if it is unknown. See
    /// [`cgroup`](crate::cgroup).
    pub cgroup: u64,
}

/// The part of a latency that a thread spent off the CPU, nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct OffCpu {
    /// Blocked: from leaving the CPU to the wake-up.
    pub waiting_ns: u64,
    /// Waiting for a CPU: from the wake-up, or from the preemption, to the return to a CPU.
    pub runnable_ns: u64,
}

/// The time off the CPU of the last call in which the owner of a [`ThreadRecord`] left its CPU.
///
/// The time of a call is added to the sums of its slot only when a later call leaves the CPU. Until
/// then, the reader adds it itself, if the call has ended. So a reader never sees the time off the
/// CPU of a call whose latency it does not see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct OffCpuCall {
    /// Odd while the kernel side writes this value and the sums of its slot.
    pub sequence: u64,
    /// [`ThreadRecord::entered`] in the call; 0 before the first call.
    pub entered: u64,
    /// The slot of the call.
    pub slot: CellIndex,
    /// The lower half of [`ThreadRecord::missed_exits`] in the call. If more exits have been missed
    /// since, the latency of the call may be unknown.
    pub missed_exits: u32,
    /// The time of the call.
    pub time: OffCpu,
}

/// The state of a [`ThreadRecord`], in order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u16)]
pub enum RecordState {
    /// On the stack of free records, or about to be.
    Free = 0,
    /// Owned by a thread.
    Live = 1,
    /// Its thread has ended. Nobody writes it any more, and the reader can free it.
    Ended = 2,
    /// Its thread has moved to another cgroup, and goes on in another record. Otherwise the same as
    /// [`Self::Ended`].
    Left = 3,
}

impl RecordState {
    /// Whether nobody writes a record in this state any more, so that the reader can free it.
    pub const fn is_final(state: u16) -> bool {
        state == Self::Ended as u16 || state == Self::Left as u16
    }
}

/// A cell of the pool: a [`Slot`], a page of a table, a chunk of a histogram, or a page of errnos.
pub type Cell = [u32; 32];
/// A cache line of a cell. The first line of a slot has its sums, and the second has the indexes of
/// its chunks and pages.
pub type Line = [u32; 16];
/// Lines in a cell.
pub const LINES: usize = size_of::<Cell>() / size_of::<Line>();

/// The figures of one syscall of one thread.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct Slot {
    /// Calls that entered.
    pub entered: u64,
    /// Calls that returned to user space, with success or with an errno.
    pub returned: u64,
    /// Calls that a signal interrupted and the kernel restarted. Each of them enters again.
    pub restarted: u64,
    /// Sum of the latencies, nanoseconds.
    pub total_ns: u64,
    /// Minimum latency, nanoseconds; `u64::MAX` before the first call left.
    pub min_ns: u64,
    /// Maximum latency, nanoseconds.
    pub max_ns: u64,
    /// Calls that returned an errno.
    pub errors: u64,
    /// Calls refused by seccomp or ptrace before they entered.
    pub denied: u32,
    /// Errors with an errno of at least [`ERRNOS`]. If there was no cell for an errno, the overflow
    /// slot has the error instead.
    pub errors_unlisted: u32,
    /// Cells with [`BUCKETS_PER_CHUNK`] bucket counts each.
    pub chunks: [CellIndex; CHUNKS],
    /// Cells with [`ERRNOS_PER_PAGE`] errno counts each.
    pub errno_pages: [CellIndex; ERRNO_PAGES],
    /// Calls for whose bucket there was no cell. Their latency is in `total_ns`, and their bucket
    /// is in the overflow slot.
    pub unbucketed: u32,
}

impl Slot {
    /// The slot in a copied cell.
    pub fn from_cell(cell: &Cell) -> Self {
        let (lines, _) = cell.as_chunks();
        Self::from_lines(&lines[0], &lines[1])
    }

    /// The slot in the two copied lines of a cell.
    pub fn from_lines(sums: &Line, cells: &Line) -> Self {
        let long = |at: usize| u64::from(sums[at]) | u64::from(sums[at + 1]) << 32;
        Self {
            entered: long(0),
            returned: long(2),
            restarted: long(4),
            total_ns: long(6),
            min_ns: long(8),
            max_ns: long(10),
            errors: long(12),
            denied: sums[14],
            errors_unlisted: sums[15],
            chunks: core::array::from_fn(|i| cells[i]),
            errno_pages: core::array::from_fn(|i| cells[CHUNKS + i]),
            unbucketed: cells[15],
        }
    }
}

/// The figures of one syscall of all threads that had no space of their own.
///
/// Many threads write it, by atomic additions. It has no extremes, because an atomic minimum
/// requires instructions that Linux 5.10 lacks. They are in [`Extremes`].
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct OverflowSlot {
    /// See [`Slot::entered`].
    pub entered: u64,
    /// See [`Slot::returned`].
    pub returned: u64,
    /// See [`Slot::restarted`].
    pub restarted: u64,
    /// See [`Slot::total_ns`].
    pub total_ns: u64,
    /// See [`Slot::errors`].
    pub errors: u64,
    /// See [`Slot::denied`].
    pub denied: u64,
    /// Calls that entered, and whose thread ended before they left.
    pub never_returned: u64,
    /// See [`Slot::errors_unlisted`].
    pub errors_unlisted: u64,
    /// See [`Sampler::extra`](crate::sampling::sampler::Sampler::extra).
    pub extra: u64,
    /// See [`Sampler::extra_ns`](crate::sampling::sampler::Sampler::extra_ns).
    pub extra_ns: u64,
    /// See [`Sampler::squares`](crate::sampling::sampler::Sampler::squares).
    pub squares: u64,
    /// Padding.
    pub _pad: [u64; 5],
    /// Bucket counts.
    pub buckets: [u32; BUCKETS],
    /// Errno counts.
    pub errnos: [u32; ERRNOS],
}

/// Minimum and maximum latency of an overflow slot on one CPU. Both fields only grow.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Extremes {
    /// Minimum in nanoseconds, with all bits inverted. 0 stands for "none yet", because the kernel
    /// zeroes the map.
    pub min_ns_inverted: u64,
    /// Maximum in nanoseconds.
    pub max_ns: u64,
}

/// The state of a task. It is in task storage, which ends with the task. In the fallback, it is in
/// a table by task.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct TaskState {
    /// Index of the record of the task, plus one; 0 without a record.
    pub record: u32,
    /// The flags below, from [`TaskState::DECIDED`] on.
    pub flags: u32,
    /// For a task without a record: when the call in flight entered. If a signal interrupted the
    /// call: its latency until it left, or `u64::MAX` if it was not timed. With adaptive sampling,
    /// a [`Sample`](crate::sampling::adaptive::Sample).
    pub entry_ns: u64,
    /// For a task without a record: the [`CallKey`] of the call in flight, plus one.
    pub key_plus_one: u32,
    /// The restart code of that call, if a signal interrupted it.
    pub interrupted_by: u32,
    /// The generation in which the filters last decided about the task. 0 before the first
    /// decision, and [`TaskState::STALE`] if the decision is known to be out of date.
    pub generation: u64,
    /// Byte offset of the place of the task in `OUTSIDE`, plus one; 0 if it has none.
    pub outside: u64,
    /// When the task left its CPU in a timed call, `CLOCK_MONOTONIC` nanoseconds; 0 while it is on
    /// a CPU, or if the time is not followed.
    pub off_cpu_ns: u64,
    /// When the task was woken, `CLOCK_MONOTONIC` nanoseconds. If it left its CPU runnable:
    /// `off_cpu_ns`.
    pub woken_ns: u64,
    /// How many moves between cgroups there had been when the cgroup of the task was last read.
    pub moves: u64,
    /// See [`TaskIdentity::thread`]; 0 before the first record.
    pub thread: u32,
    /// Padding.
    pub _pad: u32,
}

impl TaskState {
    /// It is decided whether the task is watched.
    pub const DECIDED: u32 = 1;
    /// The calls of the task count. With filters: they did when its last call entered.
    pub const IN_SCOPE: u32 = 2;
    /// The task was forked, and is not yet back in user space. Its first exit is the second return
    /// of the `clone` of its parent, a call that the task never entered.
    pub const NEWBORN: u32 = 4;
    /// Each entry of the task is seen: it entered or left a call since all programs were attached,
    /// or it was forked since. So an exit without an entry is a denied call.
    pub const KNOWN: u32 = 8;
    /// The task is watched: its calls count if the filters match.
    pub const WATCHED: u32 = 16;
    /// The call in which seccomp kills the task is counted as denied.
    pub const KILL_COUNTED: u32 = 32;
    /// Bit of the first further copy of the exit program. The bits of the other copies follow. A
    /// bit is set if the copy has run since the last exit of the task that was accounted for. Only
    /// for a task without a record.
    pub const EXIT_SEEN: u32 = 1 << 8;
    /// The bits of all further copies of the exit program.
    pub const EXITS_SEEN: u32 = ((1 << FURTHER_EXITS) - 1) * Self::EXIT_SEEN;

    /// A generation that does not occur, so that the filters decide again.
    pub const STALE: u64 = u64::MAX;
}

/// A call that entered before the programs attached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct CallBefore {
    /// [`CallKey`] of the call; [`CallKey::NONE`] once the call has left or its thread has ended.
    pub key: u32,
    /// Thread id.
    pub tid: u32,
    /// Process id.
    pub tgid: u32,
    /// Padding.
    pub _pad: u32,
    /// See [`ThreadRecord::process_start_ns`].
    pub process_start_ns: u64,
    /// Name of the process when the profiler attached, NUL-padded.
    pub comm: [u8; COMM_LEN],
}

/// How many records or extents were taken and returned since the start.
///
/// The kernel side adds to `taken` atomically, and only the reader writes `returned`. Both only
/// grow, except for a claim that the kernel side withdraws at once. So no lock is needed: a thread
/// that reads `returned` first and `taken` second finds at least as many in use as there are.
///
/// If the reader is late with `returned`, users seem to hold more than they do. They can then be
/// refused too early, and never get more than their share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Tally {
    /// Taken since the start.
    pub taken: u64,
    /// Returned since the start.
    pub returned: u64,
}

impl Tally {
    /// In use at the time of the reading.
    pub fn in_use(&self) -> u64 {
        self.taken.saturating_sub(self.returned)
    }
}

/// What the users hold whose ids have the same hash ([`share::user`](crate::share::user)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct User {
    /// Records of these users.
    pub records: Tally,
    /// Extents of these users.
    pub extents: Tally,
    /// Real user id in the initial user namespace of the thread that last took a record.
    pub uid: u32,
    /// Padding.
    pub _pad: u32,
}

/// A pool of records or extents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Pool {
    /// What all users hold.
    pub all: Tally,
    /// How many the pool has. The reader increases it after it has put more on the free stack.
    pub filled: u64,
    /// The reader is woken once `all.taken` is at or above this.
    pub wake_at: u64,
}

/// State that the two sides share.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(64))]
pub struct Control {
    /// Records of threads.
    pub records: Pool,
    /// Extents of figures.
    pub extents: Pool,
    /// 1 while all programs are attached. The reader sets it. If it is 0, an exit without an entry
    /// does not mean that a call was denied.
    pub attached: u64,
    /// How many calls were found that entered before the attach. The map has the first of them.
    pub calls_before: u64,
    /// 1 if an io_uring operation was counted since the reader cleared it.
    pub operations: u64,
    /// How often the reader took cgroups out of `PLACES`. Each time, decisions become stale.
    pub scope_changes: u64,
}

/// The last signal of a number to a process.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SignalSent {
    /// When it was sent, by `bpf_ktime_get_ns`; 0 if it never was.
    pub ns: u64,
    /// Host process id of the sender. For a signal from the kernel: of the process that ran then.
    pub sender: u64,
}

const _: () = {
    assert!(size_of::<ThreadRecord>() == 4 * CACHE_LINE);
    assert!(offset_of!(ThreadRecord, native_pages) == CACHE_LINE);
    assert!(offset_of!(ThreadRecord, foreign_roots) == 2 * CACHE_LINE);
    assert!(size_of::<Slot>() == 2 * CACHE_LINE);
    assert!(offset_of!(Slot, errors) == 12 * 4);
    assert!(offset_of!(Slot, errors_unlisted) == 15 * 4);
    assert!(size_of::<Line>() == CACHE_LINE);
    assert!(offset_of!(Slot, chunks) == CACHE_LINE);
    assert!(offset_of!(Slot, errno_pages) == (16 + CHUNKS) * 4);
    assert!(offset_of!(Slot, unbucketed) == 31 * 4);
    assert!(size_of::<Cell>() == size_of::<Slot>());
    assert!(BUCKETS_PER_CHUNK * 4 == size_of::<Cell>());
    assert!(ERRNOS_PER_PAGE * 4 == size_of::<Cell>());
    assert!(CALLS_PER_PAGE as usize * 4 == size_of::<Cell>());
    assert!(size_of::<OverflowSlot>() == 128 + BUCKETS * 4 + ERRNOS * 4);
    assert!(size_of::<OverflowSlot>().is_multiple_of(CACHE_LINE));
    assert!(size_of::<TaskIdentity>() == 32);
    assert!(size_of::<TaskState>() == 72);
    assert!(size_of::<OffCpu>() == 16);
    assert!(size_of::<OffCpuCall>() == 40);
    assert!(align_of::<TaskState>() == 8);
    assert!(size_of::<CallBefore>() == 40);
    assert!(size_of::<SignalSent>() == 16);
    assert!(size_of::<Control>() == 2 * CACHE_LINE);
    assert!(size_of::<User>() == 40);
    assert!(crate::share::USERS <= 1 << u16::BITS);
    assert!(NATIVE_PAGES * CALLS_PER_PAGE as usize >= crate::arch::NATIVE.limit() as usize);
    assert!(CALLS_PER_PAGE * CALLS_PER_PAGE >= crate::call::Abi::X32.limit());
    assert!(CallKey::NONE.0 == u32::MAX);
};

#[cfg(feature = "user")]
mod user {
    use super::{
        CallBefore, Control, Extremes, OffCpu, OffCpuCall, OverflowSlot, SignalSent, TaskIdentity,
        TaskState, ThreadRecord, User,
    };

    // SAFETY: repr(C) of integers without padding, so any bytes are a value.
    unsafe impl aya::Pod for ThreadRecord {}
    // SAFETY: as above.
    unsafe impl aya::Pod for OverflowSlot {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Extremes {}
    // SAFETY: as above.
    unsafe impl aya::Pod for TaskIdentity {}
    // SAFETY: as above.
    unsafe impl aya::Pod for TaskState {}
    // SAFETY: as above.
    unsafe impl aya::Pod for CallBefore {}
    // SAFETY: as above.
    unsafe impl aya::Pod for SignalSent {}
    // SAFETY: as above.
    unsafe impl aya::Pod for User {}
    // SAFETY: as above.
    unsafe impl aya::Pod for OffCpu {}
    // SAFETY: as above.
    unsafe impl aya::Pod for OffCpuCall {}
    // SAFETY: as above. The padding at the end is never read as a value.
    unsafe impl aya::Pod for Control {}
}
