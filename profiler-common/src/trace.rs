//! Following calls: what the kernel side copies of each call, and the records that it sends.
//!
//! The user side says for each call which memory to copy ([`Capture`]). The kernel side sends one
//! record per call, when the call leaves: a [`Header`], and a [`Part`] for each capture, followed by
//! the bytes. Until the call leaves, the same bytes are in the table of calls in flight, where the
//! reader finds the calls that have not left yet.

use crate::{limits::COMM_LEN, wire::TaskState};

/// Captures per call, at most.
pub const CAPTURES: usize = 8;

/// Bytes of one part, at most. A power of two, so that a mask bounds a length.
pub const PART_BYTES: usize = 4096;

/// The parts of a call start below this offset. A power of two, so that a mask bounds an offset.
pub const PARTS_START_BELOW: usize = 4096;

/// Parts without bytes that fit behind the other parts of a call: those that found no space.
const PARTS_WITHOUT_SPACE: usize = 64;

/// Bytes of the parts of a call, at most.
pub const DATA_BYTES: usize =
    PARTS_START_BELOW + size_of::<Part>() * (1 + PARTS_WITHOUT_SPACE) + PART_BYTES;

/// Bytes of text that are copied, at most. The kernel side copies one byte more, to learn whether
/// the text ends there, and a NUL.
pub const MAX_TEXT: u32 = PART_BYTES as u32 - 3;

/// Elements of an array of vectors that are copied, at most.
pub const MAX_VECTORS: u32 = 8;

/// Messages of an array that are copied, at most.
pub const MAX_MESSAGES: u32 = 4;

/// Indices of parts that a message of an array can have: 4, and [`MAX_VECTORS`]. A power of two, so
/// that a mask finds the index within the message.
pub const PARTS_PER_MESSAGE: u32 = 16;

/// Texts of an array that are copied, at most.
pub const MAX_TEXTS: u32 = 16;

/// Words of the set of errnos that a filter names: one bit for each errno below 4,096.
pub const ERRNO_WORDS: u32 = 4096 / 64;

/// Numbers of syscalls that [`number_index`] tells apart.
pub const NUMBERS: u32 = 1024;

/// The index of a syscall in the table of numbers that may be in the filter. The table does not
/// tell ABIs apart. The last entry stands for all great numbers.
#[inline(always)]
pub const fn number_index(nr: u64) -> u32 {
    // Without the bit of x32.
    let nr = nr as u32 & 0x3fff_ffff;
    if nr < NUMBERS - 1 { nr } else { NUMBERS - 1 }
}

/// Parts start at a multiple of this.
pub const PART_ALIGN: usize = 8;

/// What to copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Nothing: the plan ends here.
    Nothing = 0,
    /// Text that ends with NUL, at the address in the argument.
    Text = 1,
    /// Bytes at the address in the argument.
    Bytes = 2,
    /// An array of `struct iovec` at the address in the argument, and the bytes to which it points.
    /// `from` counts the elements. One part for the array, then one for each element.
    Vectors = 3,
    /// A `struct msghdr` at the address in the argument: parts for the header, the address, the
    /// array of vectors, the control data, and then for each vector.
    Message = 4,
    /// An array of pointers to text, which ends with a null pointer: one part for the pointers,
    /// then one for each text.
    Texts = 5,
    /// An array of `struct mmsghdr` at the address in the argument: for each message, parts as for
    /// `Message`, whose index starts at a multiple of [`PARTS_PER_MESSAGE`]. `from` counts the
    /// messages.
    Messages = 6,
    /// A pointer and a number of bytes at the address in the argument, and the bytes to which the
    /// pointer points: a part for both words, then one for the bytes.
    Followed = 7,
    /// The open file that the descriptor in the argument names: an [`OpenFile`]. There is no part
    /// if the descriptor is not open. This and the following kinds copy no memory of the process.
    File = 8,
    /// Same as `File`, for the descriptor in the result.
    FileOfResult = 9,
}

/// Where the number of elements comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum From {
    /// There is one element.
    One = 0,
    /// The argument `from_arg`.
    Argument = 1,
    /// The `u32` at the address in the argument `from_arg`, when the part is copied.
    Pointee = 2,
    /// The result of the call. Nothing is copied if it is not positive.
    Result = 3,
    /// The lower half of the argument `from_arg`, which is an `int`.
    IntArgument = 4,
    /// As many bytes as a set of descriptors has, whose number of bits is the `int` in the argument
    /// `from_arg`: the kernel reads whole `long`s.
    Bits = 5,
}

/// The user side copies a part at the entry.
pub const AT_ENTRY: u8 = 1;
/// Copies a part at the exit of a call that succeeded.
pub const AT_SUCCESS: u8 = 2;
/// Copies a part at the exit of a call that failed.
pub const AT_FAILURE: u8 = 4;

/// One thing to copy of a call. The length is the number of elements times `size`, at most `limit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Capture {
    /// A [`Kind`].
    pub kind: u8,
    /// Index of the argument.
    pub arg: u8,
    /// A [`From`].
    pub from: u8,
    /// Index of the argument that `from` refers to.
    pub from_arg: u8,
    /// Bytes of an element.
    pub size: u16,
    /// Bytes to copy at most; 0 for the limit of strings that the user chose.
    pub limit: u16,
    /// When to copy: [`AT_ENTRY`], [`AT_SUCCESS`], [`AT_FAILURE`].
    pub when: u8,
    /// Unused.
    pub reserved: [u8; 3],
}

impl Capture {
    /// Copies nothing.
    pub const NOTHING: Self = Self {
        kind: Kind::Nothing as u8,
        arg: 0,
        from: From::One as u8,
        from_arg: 0,
        size: 0,
        limit: 0,
        when: 0,
        reserved: [0; 3],
    };
}

/// What to copy of a call, up to the first [`Kind::Nothing`].
pub type Plan = [Capture; CAPTURES];

/// The plan that copies nothing.
pub const NO_PLAN: Plan = [Capture::NOTHING; CAPTURES];

/// What a record is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum About {
    /// A call that left.
    Call = 1,
    /// A signal was delivered to the thread. `nr` is the signal, and `args` are `si_code`, the
    /// sender's process and user, and the address of a fault.
    Signal = 2,
    /// The thread ended. `result` is the status as wait(2) reports it. `args[0]` is 1 if the
    /// process ended with it.
    End = 3,
}

/// Bit of [`Header::flags`]: the call was refused before it entered, by seccomp or a tracer.
pub const DENIED: u8 = 1;
/// Bit of [`Header::flags`]: the call entered before the programs attached, so its time is unknown.
pub const ENTERED_BEFORE: u8 = 2;
/// Bit of [`Header::flags`]: the call did not return, because the thread ended in it.
pub const NEVER_RETURNED: u8 = 4;
/// Bit of [`Header::flags`]: there was no space for what had to be copied.
pub const WITHOUT_DATA: u8 = 8;

/// The beginning of each record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Header {
    /// An [`About`].
    pub about: u8,
    /// Bits.
    pub flags: u8,
    /// Number of parts.
    pub parts: u16,
    /// Bytes of the parts, with their descriptions.
    pub bytes: u32,
    /// The thread, in the host's pid namespace.
    pub tid: u32,
    /// Its process.
    pub tgid: u32,
    /// The [`CallKey`](crate::call::CallKey), or the number of the signal.
    pub nr: u32,
    /// How many records of this thread were dropped since the last one that was not.
    pub dropped: u32,
    /// The time of the entry, nanoseconds of `CLOCK_MONOTONIC`; 0 if it is unknown.
    pub entry_ns: u64,
    /// The time of the exit, or of the event.
    pub exit_ns: u64,
    /// The result of the call.
    pub result: i64,
    /// The arguments at the entry, as the registers had them.
    pub args: [u64; 6],
    /// The name of the thread at the end of the call.
    pub comm: [u8; COMM_LEN],
}

/// The part was copied.
pub const COPIED: u8 = 0;
/// The memory could not be read: the page is not mapped, or not present.
pub const FAULT: u8 = 1;
/// The part was copied at the exit, because the page was not present at the entry.
pub const COPIED_LATE: u8 = 2;
/// There was no space for the part in the record.
pub const NO_SPACE: u8 = 3;

/// The bytes of a part are memory of the process.
pub const MEMORY: u8 = 0;
/// The bytes of a part are an [`OpenFile`], and what follows it.
pub const OPEN_FILE: u8 = 1;

/// Names on the way from an open file to the root, at most. Mounts on this way count as one each.
pub const PATH_STEPS: u32 = 28;

/// The names of a path start below this offset behind the [`OpenFile`], bytes.
pub const NAMES_START_BELOW: u32 = 2048;

/// Bytes of a name with the NUL at its end, at most (`NAME_MAX`, include/uapi/linux/limits.h).
pub const NAME_BYTES: u32 = 256;

/// Describes an open file.
///
/// For a socket, an [`OpenSocket`] follows. For all other files, the names on the way from the file
/// to the root of the mount namespace follow, each with a NUL at its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct OpenFile {
    /// `s_magic`: the type of the file system (include/uapi/linux/magic.h).
    pub magic: u32,
    /// `i_mode`: the type of the file.
    pub mode: u16,
    /// The bits below.
    pub flags: u16,
    /// `i_ino`.
    pub inode: u64,
}

impl OpenFile {
    /// Bit: the file has no name any more.
    pub const DELETED: u16 = 1;
    /// Bit: the file never had a directory.
    pub const WITHOUT_DIRECTORY: u16 = 2;
    /// Bit: there are more names.
    pub const CUT: u16 = 4;
}

/// Describes an open socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct OpenSocket {
    /// `skc_prot->name`, such as `TCPv6`.
    pub protocol: [u8; 32],
    /// The local address. IPv4 addresses have 4 bytes.
    pub local: [u8; 16],
    /// The address of the peer.
    pub remote: [u8; 16],
    /// The local port, in the order of the host.
    pub local_port: u16,
    /// The port of the peer, in the order of the network.
    pub remote_port: u16,
    /// The address family.
    pub family: u16,
    /// Unused.
    pub reserved: u16,
    /// Inode of the peer of a Unix socket; 0 if there is none.
    pub peer: u64,
}

/// Describes a part. Its bytes follow, padded to [`PART_ALIGN`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Part {
    /// Index of the capture in the plan.
    pub capture: u8,
    /// Which part of the capture: 0 for the first one, then in the order that [`Kind`] says.
    pub index: u8,
    /// [`COPIED`], [`FAULT`], [`COPIED_LATE`] or [`NO_SPACE`].
    pub state: u8,
    /// What the bytes are: [`MEMORY`] or [`OPEN_FILE`].
    pub content: u8,
    /// Bytes that follow, without the padding.
    pub bytes: u16,
    /// Unused.
    pub reserved_too: u16,
    /// Bytes that there were to copy, before limits. For text it is `bytes` plus one if there was
    /// more text than the limit.
    pub wanted: u64,
}

/// A call in flight with its parts, or the parts of the last call of a thread.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Pending {
    /// The header. While the call is in flight, only `parts`, `bytes` and `args` are valid.
    pub header: Header,
    /// The parts.
    pub data: [u8; DATA_BYTES],
}

/// What the kernel side knows about a task.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct TracedTask {
    /// Whether the task is in scope.
    pub state: TaskState,
    /// Odd while the fields below change. The kernel side adds one before and after.
    pub seq: u32,
    /// Index of the task's [`Pending`], plus one; 0 if it has none.
    pub slot: u32,
    /// How many records of the task were dropped since the last one that was not. With a flight
    /// recorder, how many of its calls were not recorded because there was no free ring.
    pub dropped: u32,
    /// The bits [`TracedTask::HAS_PLAN`] and [`TracedTask::RAN_EXEC`]. From
    /// [`TracedTask::FAULTED_SHIFT`] on, a bit for each capture that faulted at the entry.
    pub flags: u32,
    /// Index of the task's [`Ring`](crate::recorder::Ring), plus one; 0 if it has none. Only with a
    /// flight recorder. If a task has a ring, the call in flight is in the state of the owner of the
    /// ring, and not in the table of tasks.
    pub ring: u32,
    /// The place in that ring that is written next.
    pub place: u32,
    /// Where the registers of the task are saved; 0 if the ring has no owner. Only in the state of
    /// the owner of a ring.
    pub owner: u64,
    /// The address of the task. Only in the state of the owner of a ring.
    pub task: u64,
    /// The call in flight. `about` is 0 if there is none.
    pub call: Header,
}

impl TracedTask {
    /// Memory is copied for the call in flight.
    pub const HAS_PLAN: u32 = 1;
    /// The task has run another program during the call in flight, so the memory of the entry is
    /// gone.
    pub const RAN_EXEC: u32 = 2;
    /// The first bit of the captures that faulted.
    pub const FAULTED_SHIFT: u32 = 8;
}

/// Counts what is missing, per CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Losses {
    /// Records that were dropped because the ring buffer was full.
    pub dropped: u64,
    /// Calls whose memory was not copied, because there were more threads than space for it.
    pub without_data: u64,
    /// Calls that were not seen, because there was no space for the state of the task.
    pub unseen: u64,
    /// Calls that a flight recorder did not record, because there was no free ring.
    pub unrecorded: u64,
    /// Threads that found no free ring at their first call.
    pub threads_without_ring: u64,
}

const _: () = {
    assert!(size_of::<Capture>() == 12);
    assert!(size_of::<Pending>() == size_of::<Header>() + DATA_BYTES);
    assert!(size_of::<TracedTask>().is_multiple_of(8));
    assert!(size_of::<Header>() == 112);
    assert!(size_of::<Part>() == 16);
    assert!(4 + MAX_VECTORS <= PARTS_PER_MESSAGE && MAX_MESSAGES * PARTS_PER_MESSAGE <= 256);
    assert!(size_of::<OpenFile>() == 16);
    assert!(size_of::<OpenSocket>() == 80);
    assert!(
        size_of::<OpenFile>() + (NAMES_START_BELOW + NAME_BYTES) as usize <= PART_BYTES,
        "a path fits into a part"
    );
    assert!(size_of::<Header>().is_multiple_of(PART_ALIGN));
    assert!(size_of::<Part>().is_multiple_of(PART_ALIGN));
};

#[cfg(feature = "user")]
mod pod {
    use super::{Capture, Header, Losses, Pending, TracedTask};

    // SAFETY: repr(C) of integers without padding, so any bytes are a value.
    unsafe impl aya::Pod for Capture {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Header {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Losses {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Pending {}
    // SAFETY: as above.
    unsafe impl aya::Pod for TracedTask {}
}
