//! Reads all entries of a hash map by few syscalls, which aya cannot.

use std::{
    io,
    os::fd::{AsRawFd as _, BorrowedFd},
};

use profiler_common::trace::TracedTask;

/// `BPF_MAP_LOOKUP_BATCH` (include/uapi/linux/bpf.h, Linux 5.6).
const LOOKUP_BATCH: libc::c_long = 24;

/// Entries that one syscall reads, at most.
const BATCH: usize = 1024;

/// The part of `union bpf_attr` for batches.
#[repr(C)]
#[derive(Default)]
struct Attributes {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

/// Buffers for the entries of a batch.
pub(super) struct Batch {
    keys: Vec<u64>,
    values: Vec<TracedTask>,
}

impl Batch {
    pub(super) fn new() -> Self {
        Self { keys: vec![0; BATCH], values: vec![TracedTask::default(); BATCH] }
    }

    /// Calls `each` with every entry of the map. The kernel copies a value while its task changes it.
    pub(super) fn for_each(
        &mut self,
        map: BorrowedFd<'_>,
        mut each: impl FnMut(u64, &TracedTask),
    ) -> io::Result<()> {
        // The bucket at which the next batch begins.
        let (mut position, mut next) = (0_u32, 0_u32);
        let mut is_first = true;
        loop {
            let mut attributes = Attributes {
                in_batch: if is_first { 0 } else { &raw const position as u64 },
                out_batch: &raw mut next as u64,
                keys: self.keys.as_mut_ptr() as u64,
                values: self.values.as_mut_ptr() as u64,
                count: BATCH as u32,
                map_fd: map.as_raw_fd().cast_unsigned(),
                ..Attributes::default()
            };
            // SAFETY: the map has keys and values of these types, and the buffers have space for so
            // many. Any bytes are a value.
            let result = unsafe {
                libc::syscall(
                    libc::SYS_bpf,
                    LOOKUP_BATCH,
                    &raw mut attributes,
                    size_of::<Attributes>(),
                )
            };
            let error = (result < 0).then(io::Error::last_os_error);
            // After the last entry.
            let is_last = error.as_ref().is_some_and(|e| e.raw_os_error() == Some(libc::ENOENT));
            match error {
                Some(error) if !is_last => return Err(error),
                _ => {}
            }
            let count = (attributes.count as usize).min(BATCH);
            for (&key, value) in self.keys[..count].iter().zip(&self.values) {
                each(key, value);
            }
            if is_last {
                return Ok(());
            }
            (position, is_first) = (next, false);
        }
    }
}
