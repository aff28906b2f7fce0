//! Map values in shared memory.

use std::{io, marker::PhantomData, mem::MaybeUninit, ops::Range, os::fd::AsFd, sync::Arc};

use aya::Pod;

use super::{
    arch::{CopyUnit, prefetch},
    region::Region,
};

const UNIT: usize = size_of::<CopyUnit>();

/// The values of an mmapable array, or of a part of an arena.
///
/// The kernel side writes them at any moment. So volatile reads copy the values, and there are no
/// references into the mapping.
pub(super) struct Mapping<T> {
    region: Arc<Region>,
    /// Offset of the first value, bytes.
    offset: usize,
    len: usize,
    values: PhantomData<T>,
}

impl<T: Pod> Mapping<T> {
    /// Maps the `len` values of the array behind `fd`.
    pub(super) fn new(fd: &impl AsFd, len: u32) -> io::Result<Self> {
        let region = Region::map(fd.as_fd(), len as usize * Self::STRIDE)?;
        Ok(Self::within(Arc::new(region), 0, len))
    }

    /// The `len` values from byte `offset` on.
    pub(super) fn within(region: Arc<Region>, offset: usize, len: u32) -> Self {
        // The kernel rounds the size of a value up to eight bytes (array_map_alloc,
        // kernel/bpf/arraymap.c), and that of the mapping up to pages.
        assert!(size_of::<T>() <= 8 || size_of::<T>().is_multiple_of(8));
        assert!(offset.is_multiple_of(64));
        let len = len as usize;
        assert!(offset + len * Self::STRIDE <= region.len());
        Self { region, offset, len, values: PhantomData }
    }

    /// Populates the pages of a range of values ([`Region::populate`]).
    pub(super) fn populate(&self, range: Range<u32>) -> io::Result<()> {
        let at = |index: u32| self.offset + index as usize * Self::STRIDE;
        self.region.populate(at(range.start)..at(range.end))
    }

    const STRIDE: usize = size_of::<T>().next_multiple_of(8);

    /// The number of values.
    pub(super) fn len(&self) -> u32 {
        self.len as u32
    }

    fn place(&self, index: u32) -> *mut T {
        let index = index as usize;
        assert!(index < self.len, "index {index} of {}", self.len);
        // SAFETY: within the mapping, since the index is within its length.
        unsafe { self.region.start().add(self.offset + index * Self::STRIDE).cast() }
    }

    /// A copy of a value, as it is at this moment.
    pub(super) fn read(&self, index: u32) -> T {
        self.read_part(index, 0)
    }

    /// A copy of a part of a value, if the value consists of parts of type `P`.
    pub(super) fn read_part<P: Pod>(&self, index: u32, part: usize) -> P {
        let offset = part * size_of::<P>();
        assert!(
            offset + size_of::<P>() <= size_of::<T>() && offset.is_multiple_of(align_of::<P>())
        );
        // SAFETY: within the value by the assertion.
        let place = unsafe { self.place(index).byte_add(offset) };
        if !(size_of::<P>().is_multiple_of(UNIT) && (place as usize).is_multiple_of(UNIT)) {
            // SAFETY: `place` is in bounds and aligned, as the mapping is page-aligned
            // and the stride a multiple of T's alignment; P is plain old data.
            return unsafe { place.cast::<P>().read_volatile() };
        }
        let mut value = MaybeUninit::<P>::uninit();
        for unit in 0..size_of::<P>() / UNIT {
            // SAFETY: the next `UNIT` of `size_of::<P>()` bytes on both sides. Those in the
            // mapping are aligned.
            unsafe {
                let read = place.cast::<CopyUnit>().add(unit).read_volatile();
                value.as_mut_ptr().cast::<CopyUnit>().add(unit).write_unaligned(read);
            }
        }
        // SAFETY: all of its bytes were written, and P is plain old data.
        unsafe { value.assume_init() }
    }

    /// Prefetches the cache line at `offset` of a value.
    pub(super) fn prefetch(&self, index: u32, offset: usize) {
        prefetch(self.place(index).cast::<u8>().wrapping_add(offset));
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

    /// A copy of the `u16` at `offset` of a value.
    pub(super) fn read_u16(&self, index: u32, offset: usize) -> u16 {
        assert!(offset + 2 <= size_of::<T>() && offset.is_multiple_of(2));
        // SAFETY: within the value by the assertion.
        unsafe { self.place(index).cast::<u8>().add(offset).cast::<u16>().read_volatile() }
    }

    /// Stores a value that nobody else writes at this moment.
    pub(super) fn write(&self, index: u32, value: T) {
        // SAFETY: as in `read`; the mapping is writable.
        unsafe { self.place(index).write_volatile(value) }
    }

    /// Stores the `u16` at `offset` of a value.
    pub(super) fn write_u16(&self, index: u32, offset: usize, value: u16) {
        assert!(offset + 2 <= size_of::<T>() && offset.is_multiple_of(2));
        // SAFETY: within the value by the assertion.
        unsafe { self.place(index).cast::<u8>().add(offset).cast::<u16>().write_volatile(value) }
    }

    /// Stores the `u32` at `offset` of a value.
    pub(super) fn write_u32(&self, index: u32, offset: usize, value: u32) {
        assert!(offset + 4 <= size_of::<T>() && offset.is_multiple_of(4));
        // SAFETY: within the value by the assertion.
        unsafe { self.place(index).cast::<u8>().add(offset).cast::<u32>().write_volatile(value) }
    }

    /// Stores the `u64` at `offset` of a value.
    pub(super) fn write_u64(&self, index: u32, offset: usize, value: u64) {
        assert!(offset + 8 <= size_of::<T>() && offset.is_multiple_of(8));
        // SAFETY: within the value by the assertion.
        unsafe { self.place(index).cast::<u8>().add(offset).cast::<u64>().write_volatile(value) }
    }
}
