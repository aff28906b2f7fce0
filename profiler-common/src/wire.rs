//! The values in the maps, as both sides see them.
//!
//! A thread's state and figures have one writer, the thread itself, inside the
//! tracepoints; the user side reads them through a shared mapping. So plain
//! stores suffice, and no cache line is shared between writers. What many
//! threads write ([`OverflowSlot`]) is added to atomically.

use core::mem::{align_of, offset_of, size_of};

use crate::{
    arch::FOREIGN_ABIS,
    call::CallKey,
    hist::{BUCKETS, BUCKETS_PER_CHUNK, CHUNKS},
    limits::{CACHE_LINE, COMM_LEN, ERRNO_PAGES, ERRNOS, ERRNOS_PER_PAGE},
};

/// System calls per page of a thread's table.
pub const CALLS_PER_PAGE: u32 = 32;
/// Pages of the native ABI's table, which are in the record itself.
pub const NATIVE_PAGES: usize = 16;

/// Index of a cell in the pool; 0 is none.
pub type CellIndex = u32;

/// [`ThreadRecord::in_flight_slot`] of a call that is counted in an overflow slot.
pub const OVERFLOWED: CellIndex = u32::MAX;

/// Further copies that there are of the exit's program.
pub const FURTHER_EXITS: usize = 7;

/// What is known of one thread, and where its figures are.
///
/// The first cache line is all that the common path writes.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct ThreadRecord {
    /// Where the owner's user registers are saved, at the top of its kernel stack, or how far
    /// that is from the arena: the proof of ownership, since no other live task has that
    /// stack, and the tracepoints pass it. 0 once the thread has ended, and while nobody owns the
    /// record.
    pub owner: u64,
    /// When the call in flight entered, `CLOCK_MONOTONIC` nanoseconds.
    pub entry_ns: u64,
    /// Calls that entered.
    pub entered: u64,
    /// Calls that left again, whatever their outcome.
    pub left: u64,
    /// Where the owner's `thread_info.status` is, for the kernel side.
    pub status_address: u64,
    /// Where the call in flight is counted: a cell, [`OVERFLOWED`], or 0.
    pub in_flight_slot: CellIndex,
    /// [`CallKey`] of the call in flight, [`CallKey::NONE`] or [`CallKey::UNCOUNTED`].
    pub in_flight_key: u32,
    /// The key that was looked up last, and ...
    pub last_key: u32,
    /// ... the slot that was found for it.
    pub last_slot: CellIndex,
    /// A [`RecordState`].
    pub state: u16,
    /// Index of the [`User`] that had this record taken, whose share the record's extents
    /// belong to as well. Later changes of the thread's user id do not move them.
    pub user: u16,
    /// Exits without an entry after the first: seccomp or ptrace denied the call. Wraps.
    pub denied: u32,
    /// Page cells of the native ABI's table, by `nr / CALLS_PER_PAGE`.
    pub native_pages: [CellIndex; NATIVE_PAGES],
    /// Cells with the page cells of the other ABIs' tables, by
    /// [`foreign_index`](crate::arch::foreign_index).
    pub foreign_roots: [CellIndex; FOREIGN_ABIS],
    /// Process id, in the initial pid namespace like every id here.
    pub tgid: u32,
    /// Thread id.
    pub tid: u32,
    /// Start of the process, nanoseconds since boot; tells apart two processes
    /// that had the same id. 0 where the kernel's BTF does not say.
    pub process_start_ns: u64,
    /// Name of the process (of its group leader) as of `named_ns`, NUL-padded.
    pub comm: [u8; COMM_LEN],
    /// Calls of this thread that are counted in overflow slots.
    pub overflowed: u64,
    /// Calls found still in flight at the next entry: their exit was missed.
    pub missed_exits: u64,
    /// [`TaskState::generation`] of the owner; only where a filter can decide anew.
    pub generation: u64,
    /// Index of this record, written by its owner.
    pub index: u32,
    /// Next unused cell of the extent the thread is filling; 0 before the first.
    pub next_cell: CellIndex,
    /// From where on turns are counted that say which calls are timed: at random.
    pub first_turn: u64,
    /// How many exits were counted, of either kind, when each further copy of the exit's
    /// program ran last; their lower half.
    pub exits_seen: [u32; FURTHER_EXITS],
    /// The code with which the call in flight left, if it was interrupted
    /// ([`CallKey::INTERRUPTED`]).
    pub interrupted_by: u32,
    /// When `comm` was read or written, `CLOCK_MONOTONIC` nanoseconds: of the names that the
    /// threads of a process have, the latest is the process's.
    pub named_ns: u64,
    /// What that call took until it left, nanoseconds; `u64::MAX` if it was not timed.
    pub interrupted_ns: u64,
}

impl ThreadRecord {
    /// Whether a call that counts is in flight.
    pub fn in_call(&self) -> bool {
        ![CallKey::NONE.0, CallKey::UNCOUNTED.0].contains(&self.in_flight_key)
    }
}

/// Life of a [`ThreadRecord`], in the order in which it is lived.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u16)]
pub enum RecordState {
    /// In the queue of free records, or about to be.
    Free = 0,
    /// Owned by a thread.
    Live = 1,
    /// Its thread has ended; nobody writes any more, and the reader may free it.
    Ended = 2,
}

/// A piece of the pool: a [`Slot`], or one of three kinds of page.
pub type Cell = [u32; 32];
/// A cache line of a cell: of a slot the sums, or the cells with its counts.
pub type Line = [u32; 16];
/// Lines in a cell.
pub const LINES: usize = size_of::<Cell>() / size_of::<Line>();

/// The figures of one system call by one thread.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct Slot {
    /// Calls that entered.
    pub entered: u64,
    /// Calls that returned to user space, with success or with an errno.
    pub returned: u64,
    /// Calls that a signal interrupted and that the kernel restarted: they enter again.
    pub restarted: u64,
    /// Wall time of all calls that left, nanoseconds.
    pub total_ns: u64,
    /// Least latency, nanoseconds; `u64::MAX` before the first call left.
    pub min_ns: u64,
    /// Greatest latency, nanoseconds.
    pub max_ns: u64,
    /// Calls that returned an errno.
    pub errors: u64,
    /// Calls refused by seccomp or ptrace before they entered.
    pub denied: u32,
    /// Errors whose errno is at or above [`ERRNOS`]. One that found no room in the pool
    /// is in the overflow slot, and not here.
    pub errors_unlisted: u32,
    /// Cells with 32 bucket counts each.
    pub chunks: [CellIndex; CHUNKS],
    /// Cells with 32 errno counts each.
    pub errno_pages: [CellIndex; ERRNO_PAGES],
    /// Calls that left whose bucket found no room in the pool. Their time is in
    /// `total_ns`, their bucket in the overflow slot.
    pub unbucketed: u32,
}

impl Slot {
    /// The slot in a cell that was copied out of the pool.
    pub fn from_cell(cell: &Cell) -> Self {
        let (lines, _) = cell.as_chunks();
        Self::from_lines(&lines[0], &lines[1])
    }

    /// Likewise, line by line.
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

/// The figures of one system call by whoever found no room of their own.
///
/// Written by many, so by atomic additions; counts only, since an atomic
/// minimum would need instructions that Linux 5.10 has not.
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
    /// Calls that entered here and whose thread ended before they left.
    pub never_returned: u64,
    /// See [`Slot::errors_unlisted`].
    pub errors_unlisted: u64,
    /// Bucket counts.
    pub buckets: [u32; BUCKETS],
    /// Errno counts.
    pub errnos: [u32; ERRNOS],
}

/// Least and greatest latency of an overflow slot on one CPU. Both fields only grow.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Extremes {
    /// Nanoseconds, all bits inverted: 0 is "none yet", as the kernel zeroes the map.
    pub min_ns_inverted: u64,
    /// Nanoseconds.
    pub max_ns: u64,
}

/// What the kernel side keeps for a task beside, or instead of, a record. It
/// lives in task storage, which dies with the task, or in a table by task.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct TaskState {
    /// Index of the task's record plus one; 0 is none.
    pub record: u32,
    /// A [`Scope`], and [`TaskState::NEWBORN`].
    pub flags: u32,
    /// When the call in flight entered, for a task without a record; of one that was
    /// interrupted, what it took until it left, or `u64::MAX` if it was not timed.
    pub entry_ns: u64,
    /// [`CallKey`] plus one of the call in flight, for a task without a record.
    pub key_plus_one: u32,
    /// The code with which that call left, if it was interrupted.
    pub interrupted_by: u32,
    /// The generation in which the filters decided about it last; 0 before they did, and
    /// [`TaskState::STALE`] once that is known to be over.
    pub generation: u64,
    /// Where it says that it is out of scope, so that its calls end at once: an offset plus
    /// one, or 0 if nowhere.
    pub outside: u64,
}

impl TaskState {
    /// Whether this task is one of those to watch has been decided.
    pub const DECIDED: u32 = 1;
    /// It counts: as its last call entered, with filters.
    pub const IN_SCOPE: u32 = 2;
    /// Created at fork, and not yet back in user space: its first exit is the
    /// second return of its parent's `clone`, a call that it never entered.
    pub const NEWBORN: u32 = 4;
    /// All that it did since is known: it was seen to enter or to leave a call once all
    /// programs were attached, or was born under observation. So from then on an exit
    /// without an entry is a denied call.
    pub const KNOWN: u32 = 8;
    /// It is one of those to watch, and counts where the filters agree.
    pub const WATCHED: u32 = 16;
    /// The call in which seccomp kills it is counted as denied.
    pub const KILL_COUNTED: u32 = 32;
    /// Bit of the first further copy of the exit program; the bits of the other copies
    /// follow. A copy's bit is set if it has run since an exit of this task, which has no
    /// record, was last accounted for.
    pub const EXIT_SEEN: u32 = 1 << 8;
    /// The bits of all further copies of the exit program.
    pub const EXITS_SEEN: u32 = ((1 << FURTHER_EXITS) - 1) * Self::EXIT_SEEN;

    /// A generation that never is: the filters have to decide anew.
    pub const STALE: u64 = u64::MAX;
}

/// A call that entered before the programs attached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct CallBefore {
    /// [`CallKey`], or [`CallKey::NONE`] once the call has left or its thread has ended.
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

/// Events off the common path; one copy per CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Counters {
    /// Exits of calls that were in flight when the profiler attached.
    pub in_flight_at_attach: u64,
    /// Second returns of `fork`, `vfork` and `clone`, in the child.
    pub births: u64,
    /// Calls refused before they entered, by threads that found no free record.
    pub denied_unrecorded: u64,
    /// Calls counted as denied that may have been in flight when the profiler attached: at
    /// most one a thread.
    pub denied_presumed: u64,
    /// Entries that could not be remembered: no room for a task's state. Lost.
    pub lost_entries: u64,
    /// Calls whose entry was missed: exits without one, of tasks whose calls nothing
    /// could have refused. Lost.
    pub missed_entries: u64,
    /// Calls whose exit was missed. Lost.
    pub lost_exits: u64,
    /// Threads that found no free record; their calls are in overflow slots.
    pub records_exhausted: u64,
    /// Times that a thread found no free extent; the call went to an overflow slot.
    pub extents_exhausted: u64,
    /// Times that a thread got no record though some were free, since its user had used up its
    /// share ([`share`](crate::share)); the call went to an overflow slot.
    pub records_withheld: u64,
    /// Times that a thread got no extent for the same reason.
    pub extents_withheld: u64,
    /// Forks whose child could not be brought into scope. Lost.
    pub lost_children: u64,
    /// Entries that a further copy of the program counted, the kernel having skipped
    /// the first.
    pub entries_taken_over: u64,
    /// Exits likewise.
    pub exits_taken_over: u64,
}

impl Counters {
    /// Adds another CPU's copy.
    pub fn add(&mut self, other: &Self) {
        self.in_flight_at_attach += other.in_flight_at_attach;
        self.births += other.births;
        self.denied_unrecorded += other.denied_unrecorded;
        self.denied_presumed += other.denied_presumed;
        self.lost_entries += other.lost_entries;
        self.missed_entries += other.missed_entries;
        self.lost_exits += other.lost_exits;
        self.records_exhausted += other.records_exhausted;
        self.extents_exhausted += other.extents_exhausted;
        self.records_withheld += other.records_withheld;
        self.extents_withheld += other.extents_withheld;
        self.lost_children += other.lost_children;
        self.entries_taken_over += other.entries_taken_over;
        self.exits_taken_over += other.exits_taken_over;
    }

    /// Times that a thread got no record, for either reason.
    pub fn records_refused(&self) -> u64 {
        self.records_exhausted + self.records_withheld
    }

    /// Times that a thread got no extent, for either reason.
    pub fn extents_refused(&self) -> u64 {
        self.extents_exhausted + self.extents_withheld
    }
}

/// How many records or extents were taken and given back since the start.
///
/// The kernel side adds to `taken` atomically, and only the reader writes `returned`. Both
/// only grow, but for a claim that the kernel side withdraws at once. So no lock is needed:
/// whoever reads `returned` first and `taken` after it finds at least as many in use as there
/// are. A reader that is late with `returned` makes users look as if they held more than they
/// do: they may be refused too early, and never get more than their share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Tally {
    /// Taken since the start.
    pub taken: u64,
    /// Given back since the start.
    pub returned: u64,
}

impl Tally {
    /// In use at the time of the reading.
    pub fn in_use(&self) -> u64 {
        self.taken.saturating_sub(self.returned)
    }
}

/// What the users hold whose ids have one hash ([`share::user`](crate::share::user)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct User {
    /// Records.
    pub records: Tally,
    /// Extents of these records.
    pub extents: Tally,
    /// Real user id, in the initial user namespace, of the thread that took a record last.
    pub uid: u32,
    /// Padding.
    pub _pad: u32,
}

/// A pool as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Pool {
    /// Of all users.
    pub all: Tally,
    /// How many were put on the free stack since the start, without those given back. The
    /// reader writes it after it has put them there.
    pub filled: u64,
    /// The reader is woken once `all.taken` is at or above this.
    pub wake_at: u64,
}

/// What the two sides tell each other.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(64))]
pub struct Control {
    /// Records of threads.
    pub records: Pool,
    /// Extents of figures.
    pub extents: Pool,
    /// 1 while all programs are attached; set by the reader. Before that, and once
    /// the entries are detached again, an exit without an entry says nothing.
    pub attached: u64,
    /// Calls from before the programs attached that were found; at most as many as there is
    /// room for are listed, in the order in which they were found.
    pub calls_before: u64,
}

/// The last time that a signal was sent to a process, and by whom.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SignalSent {
    /// When, by `bpf_ktime_get_ns`; 0 for never.
    pub ns: u64,
    /// Host process id of the process that ran then: the sender, or for a signal of the
    /// kernel's any process.
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
    assert!(size_of::<OverflowSlot>() == 64 + BUCKETS * 4 + ERRNOS * 4);
    assert!(size_of::<OverflowSlot>().is_multiple_of(CACHE_LINE));
    assert!(size_of::<TaskState>() == 40);
    assert!(align_of::<TaskState>() == 8);
    assert!(size_of::<CallBefore>() == 40);
    assert!(size_of::<SignalSent>() == 16);
    assert!(size_of::<Counters>() == 112);
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
        CallBefore, Control, Counters, Extremes, OverflowSlot, SignalSent, TaskState, ThreadRecord,
        User,
    };

    // SAFETY: repr(C) of integers without padding, so any bytes are a value.
    unsafe impl aya::Pod for ThreadRecord {}
    // SAFETY: as above.
    unsafe impl aya::Pod for OverflowSlot {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Extremes {}
    // SAFETY: as above.
    unsafe impl aya::Pod for TaskState {}
    // SAFETY: as above.
    unsafe impl aya::Pod for CallBefore {}
    // SAFETY: as above.
    unsafe impl aya::Pod for SignalSent {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Counters {}
    // SAFETY: as above.
    unsafe impl aya::Pod for User {}
    // SAFETY: as above; the tail that its alignment adds is never read as a value.
    unsafe impl aya::Pod for Control {}
}
