//! Map values in shared memory.

use std::{io, marker::PhantomData, os::fd::AsRawFd};

use aya::Pod;
use memmap2::{MmapOptions, MmapRaw};

/// The values of an mmapable array.
///
/// The kernel side writes them at any moment. So they are only ever copied out by
/// volatile reads, and no reference into the mapping is made.
pub(super) struct Mapping<T> {
    memory: MmapRaw,
    len: usize,
    values: PhantomData<T>,
}

impl<T: Pod> Mapping<T> {
    /// Maps the `len` values of the array behind `fd`.
    pub(super) fn new(fd: &impl AsRawFd, len: u32) -> io::Result<Self> {
        // The kernel rounds a value up to eight bytes (array_map_alloc,
        // kernel/bpf/arraymap.c), and the mapping up to pages.
        assert!(size_of::<T>() <= 8 || size_of::<T>().is_multiple_of(8));
        let len = len as usize;
        let memory = MmapOptions::new().len(len * Self::STRIDE).map_raw(fd.as_raw_fd())?;
        Ok(Self { memory, len, values: PhantomData })
    }

    const STRIDE: usize = size_of::<T>().next_multiple_of(8);

    /// Values in the array.
    pub(super) fn len(&self) -> u32 {
        self.len as u32
    }

    fn place(&self, index: u32) -> *mut T {
        let index = index as usize;
        assert!(index < self.len, "index {index} of {}", self.len);
        // SAFETY: within the mapping, since the index is within its length.
        unsafe { self.memory.as_mut_ptr().add(index * Self::STRIDE).cast() }
    }

    /// A copy of a value, as it is at this moment.
    pub(super) fn read(&self, index: u32) -> T {
        // SAFETY: `place` is in bounds and aligned, as the mapping is page-aligned
        // and the stride a multiple of T's alignment; T is plain old data.
        unsafe { self.place(index).read_volatile() }
    }

    /// A copy of the `u64` at `offset` of a value.
    pub(super) fn read_u64(&self, index: u32, offset: usize) -> u64 {
        assert!(offset + 8 <= size_of::<T>() && offset.is_multiple_of(8));
        // SAFETY: within the value by the assertion.
        unsafe { self.place(index).cast::<u8>().add(offset).cast::<u64>().read_volatile() }
    }

    /// A copy of the `u32` at `offset` of a value.
    pub(super) fn read_u32(&self, index: u32, offset: usize) -> u32 {
        assert!(offset + 4 <= size_of::<T>() && offset.is_multiple_of(4));
        // SAFETY: within the value by the assertion.
        unsafe { self.place(index).cast::<u8>().add(offset).cast::<u32>().read_volatile() }
    }

    /// Stores a value that nobody else writes at this moment.
    pub(super) fn write(&self, index: u32, value: T) {
        // SAFETY: as in `read`; the mapping is writable.
        unsafe { self.place(index).write_volatile(value) }
    }

    /// Stores the `u64` at `offset` of a value.
    pub(super) fn write_u64(&self, index: u32, offset: usize, value: u64) {
        assert!(offset + 8 <= size_of::<T>() && offset.is_multiple_of(8));
        // SAFETY: within the value by the assertion.
        unsafe { self.place(index).cast::<u8>().add(offset).cast::<u64>().write_volatile(value) }
    }
}
