//! Calls that failed: the values in the maps that say on which path or address each call failed, and
//! which capability was missing.

use core::mem::{offset_of, size_of};

use crate::limits::COMM_LEN;

/// Rows: one per process, call, errno, reason and target.
pub const ROWS: u32 = 8_192;

/// Bytes of a path that are copied, with the NUL. A longer path is cut.
pub const PATH_BYTES: usize = 256;

/// Bytes of a socket address that are copied, at most: `sizeof(struct sockaddr_storage)`.
pub const ADDRESS_BYTES: usize = 128;

/// Which arguments of a call name its target, four bits each. 0 stands for none, and other values
/// are the index of the register plus one.
pub mod plan {
    /// Bits of an argument.
    pub const BITS: u32 = 4;
    /// The path.
    pub const PATH: u32 = 0;
    /// The descriptor of the directory that a relative path starts from; 0 for the current one.
    pub const DIRECTORY: u32 = 1;
    /// The second path.
    pub const PATH_2: u32 = 2;
    /// The directory of the second path.
    pub const DIRECTORY_2: u32 = 3;
    /// The socket address.
    pub const ADDRESS: u32 = 4;
    /// The length of the socket address.
    pub const LENGTH: u32 = 5;
    /// The descriptor.
    pub const FD: u32 = 6;

    /// The index of an argument, plus one; 0 for none.
    #[inline(always)]
    pub const fn argument(plan: u32, which: u32) -> u32 {
        plan >> (which * BITS) & ((1 << BITS) - 1)
    }
}

/// What names a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct FailureKey {
    /// Start of the process, nanoseconds since boot; 0 without BTF.
    pub start_ns: u64,
    /// A hash of the [`Target`].
    pub hash: u64,
    /// Process id in the initial pid namespace; 0 while nobody owns the row.
    pub tgid: u32,
    /// The [`CallKey`](crate::call::CallKey).
    pub call: u32,
    /// The errno, and [`Self::DENIED`].
    pub errno: u32,
    /// The capability that the kernel found missing during the call, plus one; 0 if there is none.
    /// Only for `EPERM` and `EACCES`.
    pub capability: u32,
}

impl FailureKey {
    /// In `errno`: seccomp or a tracer refused the call.
    pub const DENIED: u32 = 1 << 31;
}

/// What a call was about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Target {
    /// The flags below.
    pub flags: u32,
    /// The descriptor, if [`Self::HAS_FD`].
    pub fd: i32,
    /// The length that the call stated for the address, if [`Self::HAS_ADDRESS`].
    pub length: u32,
    /// Not used.
    pub reserved: u32,
    /// The directories that relative paths start from.
    pub directories: [Directory; 2],
    /// The paths, which end with NUL. A socket address is in place of the first path.
    pub text: [[u8; PATH_BYTES]; 2],
}

/// A directory, and how the process names it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct Directory {
    /// Its inode; 0 if it is unknown.
    pub inode: u64,
    /// `s_dev` of its file system: the minor number in the lower 20 bits.
    pub device: u32,
    /// The descriptor of the directory, or [`Self::CURRENT`].
    pub fd: i32,
}

impl Directory {
    /// `AT_FDCWD` (include/uapi/linux/fcntl.h): the current directory.
    pub const CURRENT: i32 = -100;
}

impl Target {
    /// A target of which nothing is known.
    pub const NOTHING: Self = Self {
        flags: 0,
        fd: 0,
        length: 0,
        reserved: 0,
        directories: [Directory { inode: 0, device: 0, fd: 0 }; 2],
        text: [[0; PATH_BYTES]; 2],
    };

    /// It has a path. Shifted by one for the second path, like the two flags that follow.
    pub const HAS_PATH: u32 = 1;
    /// The path, or the address in its place, could not be read.
    pub const UNREADABLE: u32 = 1 << 2;
    /// The path is longer than [`PATH_BYTES`].
    pub const CUT: u32 = 1 << 4;
    /// The path is relative.
    pub const RELATIVE: u32 = 1 << 6;
    /// It has a socket address.
    pub const HAS_ADDRESS: u32 = 1 << 8;
    /// It has a descriptor.
    pub const HAS_FD: u32 = 1 << 9;
}

/// Words of a [`Target`].
pub const TARGET_WORDS: usize = size_of::<Target>() / 8;

/// How often calls failed on a target. Several threads add to it, by atomic additions.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct FailureRow {
    /// What names the row.
    pub key: FailureKey,
    /// Calls.
    pub calls: u64,
    /// The name of the process when it took the row, NUL-padded.
    pub comm: [u8; COMM_LEN],
    /// The target.
    pub target: Target,
    /// Padding.
    pub _pad: [u64; 3],
}

impl FailureRow {
    /// A row that nobody owns.
    pub const UNOWNED: Self = Self {
        key: FailureKey { start_ns: 0, hash: 0, tgid: 0, call: 0, errno: 0, capability: 0 },
        calls: 0,
        comm: [0; _],
        target: Target::NOTHING,
        _pad: [0; _],
    };
}

/// Words of the saved registers that a [`Scratch`] has space for.
pub const REGISTERS: usize = 16;

/// The space in which a CPU puts together a [`Target`].
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Scratch {
    /// 1 while it is in use.
    pub is_taken: u64,
    /// The saved registers of the call.
    pub registers: [u64; REGISTERS],
    /// The arguments of the call.
    pub arguments: [u64; 8],
    /// The target.
    pub target: Target,
}

/// The last check of a capability that failed, of the owner of the record at the same index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct CapabilityCheck {
    /// [`ThreadRecord::entered`](crate::wire::ThreadRecord::entered) in the call.
    pub entered: u64,
    /// The number of the capability.
    pub capability: u64,
}

const _: () = {
    assert!(size_of::<FailureKey>() == 32);
    assert!(size_of::<Target>() == 560);
    assert!(offset_of!(Target, text) == 48);
    assert!(size_of::<FailureRow>() == 640);
    assert!(size_of::<CapabilityCheck>() == 16);
};

#[cfg(feature = "user")]
mod user {
    use super::{FailureKey, FailureRow};

    // SAFETY: repr(C) of integers without padding, so any bytes are a value.
    unsafe impl aya::Pod for FailureKey {}
    // SAFETY: as above.
    unsafe impl aya::Pod for FailureRow {}
}
