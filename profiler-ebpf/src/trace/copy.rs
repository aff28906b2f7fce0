//! Copies memory of the running process into the parts of its call.

use aya_ebpf::helpers::generated::{bpf_probe_read_user, bpf_probe_read_user_str};
use profiler_common::trace::{
    COPIED, COPIED_LATE, DATA_BYTES, FAULT, NO_SPACE, PART_ALIGN, PARTS_START_BELOW, Part, Pending,
};

use super::maps::PENDING;
use profiler_ebpf::verifier::{masked, opaque};

/// What to copy, in one number: the index of the capture in the lowest byte, and the index of the
/// part in the second.
pub const INDEX_SHIFT: u32 = 8;
/// Bit: text that ends with NUL.
pub const TEXT: u32 = 1 << 16;
/// Bit: the part is copied at the exit, since it could not be copied at the entry.
pub const LATE: u32 = 1 << 17;
/// Bit: the process has 32-bit pointers.
pub const COMPAT: u32 = 1 << 18;
/// Bit: if not all bytes can be read, those up to the end of the page are copied.
pub const PARTIAL: u32 = 1 << 19;
/// Bit: the message is one of an array, whose elements also have the number of bytes of the message.
pub const OF_ARRAY: u32 = 1 << 20;

/// Offset of the last part that fits without bytes.
const LAST_PART: u32 = (DATA_BYTES - size_of::<Part>()) as u32;

/// Bytes of a page, at least.
const PAGE: u64 = 4096;

/// Bytes of a part, at most, in the form of a mask.
const BYTES_MASK: u64 = 4095;

/// Copies memory into a part of the call in `slot`. `what` has the bits above. `wanted` is the number
/// of bytes there are; text has its own length. Returns the state of the part.
#[inline(always)]
pub fn copy(slot: u32, what: u32, address: u64, wanted: u64, limit: u32) -> u32 {
    let Some(pending) = PENDING.get_ptr_mut(slot.wrapping_sub(1)) else { return NO_SPACE.into() };
    // SAFETY: a live map value of the running task's own. The masks keep all within it.
    unsafe {
        let used = opaque((*pending).header.bytes);
        let mut part = Part {
            capture: what as u8,
            index: (what >> INDEX_SHIFT) as u8,
            state: NO_SPACE,
            wanted,
            ..Part::default()
        };
        if used >= PARTS_START_BELOW as u32 {
            if used <= LAST_PART {
                place(pending, used.into()).cast::<Part>().write(part);
                add(pending, used, 0);
            }
            return NO_SPACE.into();
        }
        let at = masked::<{ PARTS_START_BELOW as u64 - 1 }>(used.into());
        let bytes_at = place(pending, at).add(size_of::<Part>());
        let (copied, there) = if what & TEXT != 0 {
            read_text(bytes_at, address, limit)
        } else {
            read_bytes(bytes_at, address, wanted, limit, what & PARTIAL != 0)
        };
        part.state = match copied {
            None => FAULT,
            _ if what & LATE != 0 => COPIED_LATE,
            _ => COPIED,
        };
        part.wanted = there;
        part.bytes = copied.unwrap_or(0) as u16;
        place(pending, at).cast::<Part>().write(part);
        add(pending, used, copied.unwrap_or(0));
        part.state.into()
    }
}

/// The place at an offset of the data.
///
/// # Safety
/// `pending` is a live map value, and the offset is within its data.
#[inline(always)]
pub unsafe fn place(pending: *mut Pending, at: u64) -> *mut u8 {
    // SAFETY: the caller's offset is within the data.
    unsafe { (&raw mut (*pending).data).cast::<u8>().add(at as usize) }
}

/// Notes a part at `used` with so many bytes.
///
/// # Safety
/// `pending` is a live map value of the running task's own.
#[inline(always)]
pub unsafe fn add(pending: *mut Pending, used: u32, bytes: u32) {
    let bytes = bytes.next_multiple_of(PART_ALIGN as u32) + size_of::<Part>() as u32;
    // SAFETY: the caller's live map value.
    unsafe {
        (*pending).header.parts += 1;
        (*pending).header.bytes = used + bytes;
    }
}

/// Reads bytes. Returns how many were read, or `None` after a fault, and how many there were. If
/// `is_partial`, a fault behind the first page leaves the bytes of this page.
#[inline(always)]
unsafe fn read_bytes(
    to: *mut u8,
    address: u64,
    wanted: u64,
    limit: u32,
    is_partial: bool,
) -> (Option<u32>, u64) {
    let bytes = wanted.min(limit.into()).min(BYTES_MASK);
    let bytes = masked::<BYTES_MASK>(bytes);
    // SAFETY: so many bytes are there, and the helper checks the address.
    let read = unsafe { bpf_probe_read_user(to.cast(), bytes as u32, address as *const _) };
    if read != 0 && is_partial {
        let bytes = masked::<BYTES_MASK>(bytes.min(PAGE - address % PAGE));
        // SAFETY: as above.
        let read = unsafe { bpf_probe_read_user(to.cast(), bytes as u32, address as *const _) };
        return ((read == 0).then_some(bytes as u32), wanted);
    }
    ((read == 0).then_some(bytes as u32), wanted)
}

/// Reads text. Returns its length, without the NUL and up to the limit, or `None` after a fault; and
/// the length that there was, which is one more than the limit if there was more.
#[inline(always)]
unsafe fn read_text(to: *mut u8, address: u64, limit: u32) -> (Option<u32>, u64) {
    // One byte more, and the NUL.
    let size = masked::<BYTES_MASK>(u64::from(limit) + 2);
    // SAFETY: so many bytes are there, and the helper checks the address.
    let read = unsafe { bpf_probe_read_user_str(to.cast(), size as u32, address as *const _) };
    if (read as i32) < 1 {
        // The text can end at the end of the memory, without a NUL, but one byte behind the limit.
        let size = masked::<BYTES_MASK>(u64::from(limit) + 1);
        // SAFETY: as above.
        let read = unsafe { bpf_probe_read_user_str(to.cast(), size as u32, address as *const _) };
        let is_there = read as i32 > 0;
        return (is_there.then_some(limit), u64::from(limit) + 1);
    }
    let length = read as u32 - 1;
    (Some(length.min(limit)), length.into())
}

/// The word at an offset of the data of the call in `slot`: a `u64`, or a `u32` with `COMPAT`.
#[inline(always)]
pub fn word(slot: u32, what: u32, at: u32) -> u64 {
    let Some(pending) = PENDING.get_ptr(slot.wrapping_sub(1)) else { return 0 };
    let at = masked::<8191>(at.into());
    // SAFETY: a word within the data of a live map value.
    unsafe {
        let place = (&raw const (*pending).data).cast::<u8>().add(at as usize);
        if what & COMPAT != 0 {
            place.cast::<u32>().read_unaligned().into()
        } else {
            place.cast::<u64>().read_unaligned()
        }
    }
}

/// How many bytes of data the call in `slot` has so far.
#[inline(always)]
pub fn used(slot: u32) -> u32 {
    // SAFETY: a live map value of the running task's own.
    PENDING.get_ptr(slot.wrapping_sub(1)).map_or(0, |pending| unsafe { (*pending).header.bytes })
}
