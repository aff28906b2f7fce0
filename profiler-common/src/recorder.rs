//! The flight recorder of a trace: the last calls of each thread, in rings in shared memory.
//!
//! A thread takes a [`Ring`] for its first call, and writes each event into the next [`Slot`] of
//! the ring. Only the thread itself writes, so no atomic operation is needed. The reader maps the
//! slots. It reads them only when something happened, which a short record in the ring buffer says:
//! the [`Head`] of a slot.
//!
//! # Order of stores
//!
//! The writer clears [`Mark::seq`], writes the event, stores the new number in `seq`, and then in
//! [`Ring::head`]. A reader that finds the expected number before and after it has copied a slot
//! has copied one event.

use crate::trace::Header;

/// Calls that are kept of each thread, at most.
pub const MOST_CALLS: u32 = 10_000;

/// Bytes of a slot.
pub const SLOT_BYTES: usize = 512;

/// Bytes of the parts of a call that a slot has space for.
pub const SLOT_DATA: usize = SLOT_BYTES - size_of::<Head>();

/// Threads that are recorded, at most.
pub const MOST_RINGS: u32 = 32_768;

/// Slots of a ring that keeps the last `calls` calls. There are more slots than calls, for the
/// signals among them, and so that the calls between an event and its reading overwrite nothing.
#[inline(always)]
pub const fn slots_of_ring(calls: u32) -> u32 {
    let more = calls / 4;
    calls + if more < 16 { 16 } else { more }
}

/// How many rings fit into so many bytes.
pub const fn rings_in(bytes: u64, calls: u32) -> u32 {
    let rings = bytes / (slots_of_ring(calls) as u64 * SLOT_BYTES as u64);
    if rings > MOST_RINGS as u64 { MOST_RINGS } else { rings as u32 }
}

/// The number and the place of an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Mark {
    /// The number of the event in its ring, from 1 on; 0 while the slot is written. It continues
    /// with the next owner of the ring.
    pub seq: u64,
    /// How many calls the owner has recorded, this one included. Without a ring, how many were not
    /// recorded.
    pub calls: u32,
    /// Index of the ring, plus one; 0 if the thread has none.
    pub ring: u32,
    /// The [`Ring::owner`] that wrote it.
    pub owner: u32,
    /// Unused.
    pub reserved: u32,
}

/// The beginning of a slot, and the record that says that something happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Head {
    /// The number and the place.
    pub mark: Mark,
    /// The event. `bytes` counts the bytes of all parts, also of those that the slot has no space
    /// for.
    pub header: Header,
}

/// An event of a thread.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Slot {
    /// The beginning.
    pub head: Head,
    /// The first bytes of the parts.
    pub data: [u8; SLOT_DATA],
}

/// The ring of a thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Ring {
    /// The number of the last event.
    pub head: u64,
    /// How many calls the owner has recorded.
    pub calls: u32,
    /// The process of the owner.
    pub tgid: u32,
    /// A [`RingState`].
    pub state: u32,
    /// Counts the owners that the ring has had.
    pub owner: u32,
}

/// Who has a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum RingState {
    /// Nobody.
    Free = 0,
    /// A thread that lives.
    Live = 1,
    /// A thread that died. The reader frees the ring.
    Kept = 2,
}

const _: () = {
    assert!(size_of::<Slot>() == SLOT_BYTES);
    assert!(SLOT_DATA.is_multiple_of(crate::trace::PART_ALIGN));
    assert!(size_of::<Ring>() == 24);
};

#[cfg(feature = "user")]
mod pod {
    use super::{Head, Ring, Slot};

    // SAFETY: repr(C) of integers without padding, so any bytes are a value.
    unsafe impl aya::Pod for Head {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Ring {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Slot {}
}
