//! Map values in shared memory.

use std::{
    io,
    marker::PhantomData,
    mem::MaybeUninit,
    num::NonZeroUsize,
    ops::Range,
    os::fd::{AsFd, BorrowedFd},
    ptr::NonNull,
    sync::Arc,
};

use aya::Pod;
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap, munmap};

use super::{arena, prefetch::prefetch};

/// A mapping, whatever is in it.
pub(super) struct Memory {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: the address of memory that is anyway shared with the kernel; what may be done with
// it is up to `Mapping`.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Memory {
    fn new(fd: BorrowedFd<'_>, len: usize) -> io::Result<Self> {
        Self::near(None, fd, len)
    }

    /// At an address whose lower half is zero.
    pub(super) fn aligned_to_4_gib(fd: BorrowedFd<'_>, len: usize) -> io::Result<Self> {
        for address in arena::addresses() {
            // The kernel takes the first address that an arena is mapped at for good, and
            // none but a free one: looked for without it.
            if is_free(address, len) {
                let memory = Self::near(NonZeroUsize::new(address), fd, len)?;
                if memory.start.as_ptr() as usize == address {
                    return Ok(memory);
                }
                break;
            }
        }
        Err(arena::no_address())
    }

    fn near(address: Option<NonZeroUsize>, fd: BorrowedFd<'_>, len: usize) -> io::Result<Self> {
        let size = NonZeroUsize::new(len).ok_or(io::ErrorKind::InvalidInput)?;
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping, which replaces no other.
        let start = unsafe { mmap(address, size, protection, MapFlags::MAP_SHARED, fd, 0) }?;
        Ok(Self { start: start.cast(), len })
    }

    /// Gives a range its pages, and lets go of them again: they stay in the kernel, and do
    /// not count as ours until they are read.
    pub(super) fn populate(&self, range: Range<usize>) -> io::Result<()> {
        let start = range.start - range.start % PAGE;
        let end = range.end.next_multiple_of(PAGE).min(self.len);
        if start >= end {
            return Ok(());
        }
        // SAFETY: within the mapping. Neither changes what is in it.
        unsafe {
            let place = self.start.add(start).cast();
            madvise(place, end - start, MmapAdvise::MADV_POPULATE_WRITE)?;
            madvise(place, end - start, MmapAdvise::MADV_DONTNEED)?;
        }
        Ok(())
    }
}

const PAGE: usize = arena::PAGE as usize;

/// What large values are copied out in. Field by field would take many times as long: not
/// only for the number of reads, but as what is then read in one piece would have to wait
/// until all its pieces had been written. Each eight bytes of it are read at once (Intel's
/// Software Developer's Manual, volume 3, 9.1.1).
#[cfg(target_arch = "x86_64")]
type Unit = std::arch::x86_64::__m128i;
#[cfg(not(target_arch = "x86_64"))]
type Unit = u64;
const UNIT: usize = size_of::<Unit>();

/// Whether nothing of this process is in this range.
fn is_free(address: usize, len: usize) -> bool {
    let Some(size) = NonZeroUsize::new(len) else { return false };
    let flags = MapFlags::MAP_PRIVATE
        | MapFlags::MAP_ANONYMOUS
        | MapFlags::MAP_NORESERVE
        | MapFlags::MAP_FIXED_NOREPLACE;
    // SAFETY: a new mapping, which by the last flag replaces no other, and which goes at once.
    unsafe {
        let found = nix::sys::mman::mmap_anonymous(
            NonZeroUsize::new(address),
            size,
            ProtFlags::PROT_NONE,
            flags,
        );
        found.is_ok_and(|place| munmap(place, len).is_ok() && place.as_ptr() as usize == address)
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: our own mapping, into which nothing points any more.
        let _ = unsafe { munmap(self.start.cast(), self.len) };
    }
}

/// The values of an mmapable array, or of a part of an arena.
///
/// The kernel side writes them at any moment. So they are only ever copied out by
/// volatile reads, and no reference into the mapping is made.
pub(super) struct Mapping<T> {
    memory: Arc<Memory>,
    /// Of the first value, in bytes.
    offset: usize,
    len: usize,
    values: PhantomData<T>,
}

impl<T: Pod> Mapping<T> {
    /// Maps the `len` values of the array behind `fd`.
    pub(super) fn new(fd: &impl AsFd, len: u32) -> io::Result<Self> {
        let memory = Memory::new(fd.as_fd(), len as usize * Self::STRIDE)?;
        Ok(Self::within(Arc::new(memory), 0, len))
    }

    /// `len` values from `offset` on.
    pub(super) fn within(memory: Arc<Memory>, offset: usize, len: u32) -> Self {
        // The kernel rounds a value up to eight bytes (array_map_alloc,
        // kernel/bpf/arraymap.c), and the mapping up to pages.
        assert!(size_of::<T>() <= 8 || size_of::<T>().is_multiple_of(8));
        assert!(offset.is_multiple_of(64));
        let len = len as usize;
        assert!(offset + len * Self::STRIDE <= memory.len);
        Self { memory, offset, len, values: PhantomData }
    }

    /// Gives the values of a range their pages.
    pub(super) fn populate(&self, range: Range<u32>) -> io::Result<()> {
        let at = |index: u32| self.offset + index as usize * Self::STRIDE;
        self.memory.populate(at(range.start)..at(range.end))
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
        unsafe { self.memory.start.as_ptr().add(self.offset + index * Self::STRIDE).cast() }
    }

    /// A copy of a value, as it is at this moment.
    pub(super) fn read(&self, index: u32) -> T {
        self.read_part(index, 0)
    }

    /// A copy of a part of a value: of what it is made of, the one so many parts further on.
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
            // SAFETY: of the `size_of::<P>()` bytes there and here the next `UNIT`, which
            // there are aligned.
            unsafe {
                let read = place.cast::<Unit>().add(unit).read_volatile();
                value.as_mut_ptr().cast::<Unit>().add(unit).write_unaligned(read);
            }
        }
        // SAFETY: all of its bytes were written, and P is plain old data.
        unsafe { value.assume_init() }
    }

    /// Has the cache line at `offset` of a value on its way.
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

    /// Stores the `u64` at `offset` of a value.
    pub(super) fn write_u64(&self, index: u32, offset: usize, value: u64) {
        assert!(offset + 8 <= size_of::<T>() && offset.is_multiple_of(8));
        // SAFETY: within the value by the assertion.
        unsafe { self.place(index).cast::<u8>().add(offset).cast::<u64>().write_volatile(value) }
    }
}
