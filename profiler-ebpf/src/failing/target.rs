//! Describes the target of a call: its paths, its socket address or its descriptor.

use core::ptr::{read_volatile, write_volatile};

use aya_ebpf::helpers::{
    bpf_get_current_task,
    generated::{bpf_probe_read_kernel, bpf_probe_read_user, bpf_probe_read_user_str},
};
use profiler_common::failing::{
    ADDRESS_BYTES, Directory, PATH_BYTES, Scratch, TARGET_WORDS, Target, plan,
};

use crate::{
    settings::{
        D_INODE_OFFSET, F_INODE_OFFSET, FD_OFFSET, FDT_OFFSET, FILES_OFFSET, FS_OFFSET,
        I_INO_OFFSET, I_SB_OFFSET, MAX_FDS_OFFSET, PATH_DENTRY_OFFSET, PWD_OFFSET, S_DEV_OFFSET,
    },
    verifier::masked,
};

/// Describes the target of a call whose arguments are in `scratch`.
///
/// # Safety
/// `scratch` is a live map value that nobody else uses.
#[inline(always)]
pub unsafe fn describe(scratch: *mut Scratch, plan: u32) {
    // SAFETY: the caller's map value.
    unsafe {
        let words = (&raw mut (*scratch).target).cast::<u64>();
        for index in 0..TARGET_WORDS {
            write_volatile(words.add(index), 0);
        }
        describe_path::<0>(scratch, plan);
        describe_path::<1>(scratch, plan);
        describe_address(scratch, plan);
        if let Some(fd) = argument(scratch, plan, plan::FD) {
            (*scratch).target.fd = fd as i32;
            (*scratch).target.flags |= Target::HAS_FD;
        }
    }
}

/// The argument that a plan names.
///
/// # Safety
/// As of [`describe`].
#[inline(always)]
unsafe fn argument(scratch: *const Scratch, plan: u32, which: u32) -> Option<u64> {
    let index = plan::argument(plan, which);
    if index == 0 {
        return None;
    }
    let index = masked::<7>(u64::from(index.wrapping_sub(1))) as usize;
    // SAFETY: the caller's map value; the mask keeps the index within it.
    unsafe { Some(read_volatile((&raw const (*scratch).arguments).cast::<u64>().add(index))) }
}

/// Describes the first or the second path.
///
/// # Safety
/// As of [`describe`].
#[inline(always)]
unsafe fn describe_path<const INDEX: u32>(scratch: *mut Scratch, plan: u32) {
    let step = INDEX * (plan::PATH_2 - plan::PATH);
    // SAFETY: the caller's map value, and helpers that check the addresses.
    unsafe {
        let Some(address) = argument(scratch, plan, plan::PATH + step) else { return };
        let directory = argument(scratch, plan, plan::DIRECTORY + step);
        // Some calls take a null pointer as the path of the directory itself, such as utimensat(2).
        if address == 0 {
            if let Some(fd) = directory {
                (*scratch).target.fd = fd as i32;
                (*scratch).target.flags |= Target::HAS_FD;
            }
            return;
        }
        let text = (&raw mut (*scratch).target.text).cast::<[u8; PATH_BYTES]>().add(INDEX as usize);
        let length =
            bpf_probe_read_user_str(text.cast(), PATH_BYTES as u32, address as *const _) as i32;
        let mut flags = Target::HAS_PATH;
        if length <= 0 {
            flags |= Target::UNREADABLE;
        } else {
            if length as usize >= PATH_BYTES {
                flags |= Target::CUT;
            }
            if read_volatile(text.cast::<u8>()) != b'/' {
                flags |= Target::RELATIVE;
                let place = (&raw mut (*scratch).target.directories).cast::<Directory>();
                let fd = directory.map_or(Directory::CURRENT, |fd| fd as i32);
                describe_directory(place.add(INDEX as usize), fd);
            }
        }
        (*scratch).target.flags |= flags << INDEX;
    }
}

/// Describes the directory that a relative path starts from.
///
/// # Safety
/// `place` is within a live map value.
#[inline(always)]
unsafe fn describe_directory(place: *mut Directory, fd: i32) {
    // SAFETY: the caller's place, and a helper that is always safe to call.
    unsafe {
        (*place).fd = fd;
        if FS_OFFSET.load() == 0 || FILES_OFFSET.load() == 0 {
            return;
        }
        let task = bpf_get_current_task();
        let inode = if fd == Directory::CURRENT {
            let dentry =
                word(word(task, FS_OFFSET.load()), PWD_OFFSET.load() + PATH_DENTRY_OFFSET.load());
            word(dentry, D_INODE_OFFSET.load())
        } else {
            let table = word(word(task, FILES_OFFSET.load()), FDT_OFFSET.load());
            // Negative descriptors are greater.
            if fd as u32 >= word(table, MAX_FDS_OFFSET.load()) as u32 {
                return;
            }
            let files = word(table, FD_OFFSET.load());
            word(word(files + 8 * u64::from(fd as u32), 0), F_INODE_OFFSET.load())
        };
        (*place).inode = word(inode, I_INO_OFFSET.load());
        (*place).device = word(word(inode, I_SB_OFFSET.load()), S_DEV_OFFSET.load()) as u32;
    }
}

/// Describes the socket address.
///
/// # Safety
/// As of [`describe`].
#[inline(always)]
unsafe fn describe_address(scratch: *mut Scratch, plan: u32) {
    // SAFETY: the caller's map value, and a helper that checks the address.
    unsafe {
        let Some(address) = argument(scratch, plan, plan::ADDRESS) else { return };
        if address == 0 {
            return;
        }
        // A negative length is one that is too large.
        let length = argument(scratch, plan, plan::LENGTH).unwrap_or(0) as u32;
        let mut flags = Target::HAS_ADDRESS;
        let bytes = u64::from(length).min(ADDRESS_BYTES as u64);
        let bytes = masked::<{ 2 * ADDRESS_BYTES as u64 - 1 }>(bytes) as u32;
        let to = (&raw mut (*scratch).target.text).cast();
        if bpf_probe_read_user(to, bytes, address as *const _) != 0 {
            flags |= Target::UNREADABLE;
        }
        (*scratch).target.length = length;
        (*scratch).target.flags |= flags;
    }
}

/// A word of the kernel's memory; 0 if it cannot be read.
#[inline(always)]
fn word(address: u64, offset: u32) -> u64 {
    let mut value = 0_u64;
    let from = address.wrapping_add(offset.into()) as *const _;
    // SAFETY: the value has so many bytes, and the helper checks the address. If it fails, it
    // fills the value with zeros.
    unsafe { bpf_probe_read_kernel((&raw mut value).cast(), 8, from) };
    value
}

/// A hash of a target. The row of a target has the target itself, so two targets with the same hash
/// are never taken for one.
///
/// # Safety
/// `target` is within a live map value.
#[inline(always)]
pub unsafe fn hash(target: *const Target) -> u64 {
    /// An odd number whose bits are as those of a random number: 2⁶⁴ by the golden ratio.
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut hash = FACTOR;
    for index in 0..TARGET_WORDS {
        // SAFETY: a word of the caller's target.
        let word = unsafe { read_volatile(target.cast::<u64>().add(index)) };
        hash = (hash ^ word).wrapping_mul(FACTOR);
        hash ^= hash >> 32;
    }
    hash
}
