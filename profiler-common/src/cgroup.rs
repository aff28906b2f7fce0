//! Cgroups: their ids, and the events about them.
//!
//! An id is that of the cgroup's node, which is the inode of its directory. Each hierarchy counts its
//! own ids, so the ids of version 1 have the bit [`V1`].

use core::mem::offset_of;

use crate::limits::CGROUP_PATH_LEN;

/// The bit of the ids of version 1. The upper half of an id is a generation, which never gets this
/// far (`__kernfs_new_node`, fs/kernfs/dir.c).
pub const V1: u64 = 1 << 63;

/// What happened to a cgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Happened {
    /// It was made.
    Made = 1,
    /// It was renamed, and the event has the new path. Only in version 1.
    Renamed = 2,
    /// It was removed.
    Removed = 3,
}

impl Happened {
    /// The value of [`Event::happened`].
    pub const fn from_wire(value: u32) -> Option<Self> {
        match value {
            1 => Some(Self::Made),
            2 => Some(Self::Renamed),
            3 => Some(Self::Removed),
            _ => None,
        }
    }
}

/// The scope of a cgroup and of all cgroups below it. A cgroup without one is out of scope, unless a
/// cgroup above it has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Place {
    /// It is in scope.
    Inside = 1,
    /// The user side has not decided about it. Its calls count until then, and the user side leaves
    /// them out if the cgroup is out of scope.
    Undecided = 2,
}

/// An event about a cgroup. The ring buffer has as much of the path as there is.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Event {
    /// The id of the cgroup.
    pub id: u64,
    /// A [`Happened`].
    pub happened: u32,
    /// Bytes of the path.
    pub len: u32,
    /// The path, from the root of the hierarchy.
    pub path: [u8; CGROUP_PATH_LEN],
}

/// Bytes of an event before the path.
pub const HEADER: usize = offset_of!(Event, path);

impl Event {
    /// An event that says nothing.
    pub const NOTHING: Self = Self { id: 0, happened: 0, len: 0, path: [0; CGROUP_PATH_LEN] };
}
