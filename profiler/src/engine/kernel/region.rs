//! Regions of memory that this process shares with the kernel.

use std::{io, num::NonZeroUsize, ops::Range, os::fd::BorrowedFd, ptr::NonNull};

use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap, mmap_anonymous, munmap};

use super::arch::PAGE_SIZE;

/// A mapped region.
pub(super) struct Region {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: an address of memory that is shared with the kernel in any case. `Mapping` makes all
// accesses.
unsafe impl Send for Region {}
// SAFETY: as above.
unsafe impl Sync for Region {}

impl Region {
    /// Maps `len` bytes of the map behind `fd`, at any address.
    pub(super) fn map(fd: BorrowedFd<'_>, len: usize) -> io::Result<Self> {
        Self::map_near(None, fd, len)
    }

    /// Maps `len` bytes of the map behind `fd`, at an address whose lower half is zero. So an
    /// offset in the region is the lower half of an address.
    pub(super) fn map_aligned_to_4_gib(fd: BorrowedFd<'_>, len: usize) -> io::Result<Self> {
        // Try multiples of 1 TiB, where nothing else is likely to be. The kernel keeps the first
        // address of an arena permanently, and refuses an address that is in use. So find a free
        // address first, without the arena.
        let address = (1..=16).map(|turn| turn << 40).find(|&address| is_free(address, len));
        if let Some(address) = address {
            let memory = Self::map_near(NonZeroUsize::new(address), fd, len)?;
            if memory.start.as_ptr() as usize == address {
                return Ok(memory);
            }
        }
        let why = "no free address at a multiple of 4 GiB";
        Err(io::Error::new(io::ErrorKind::AddrNotAvailable, why))
    }

    /// Size, bytes.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The address of the first byte.
    pub(super) fn start(&self) -> *mut u8 {
        self.start.as_ptr()
    }

    fn map_near(address: Option<NonZeroUsize>, fd: BorrowedFd<'_>, len: usize) -> io::Result<Self> {
        let size = NonZeroUsize::new(len).ok_or(io::ErrorKind::InvalidInput)?;
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping, which replaces no other.
        let start = unsafe { mmap(address, size, protection, MapFlags::MAP_SHARED, fd, 0) }?;
        Ok(Self { start: start.cast(), len })
    }

    /// Populates the pages of a range, and releases them again. The kernel keeps the pages, and
    /// they do not count as memory of this process until it reads them.
    pub(super) fn populate(&self, range: Range<usize>) -> io::Result<()> {
        let start = range.start - range.start % PAGE_SIZE;
        let end = range.end.next_multiple_of(PAGE_SIZE).min(self.len);
        if start >= end {
            return Ok(());
        }
        // SAFETY: the range is within the mapping. Neither call changes its contents.
        unsafe {
            let place = self.start.add(start).cast();
            madvise(place, end - start, MmapAdvise::MADV_POPULATE_WRITE)?;
            madvise(place, end - start, MmapAdvise::MADV_DONTNEED)?;
        }
        Ok(())
    }
}

/// Whether this process has nothing mapped in this range.
fn is_free(address: usize, len: usize) -> bool {
    let Some(size) = NonZeroUsize::new(len) else { return false };
    let flags = MapFlags::MAP_PRIVATE
        | MapFlags::MAP_ANONYMOUS
        | MapFlags::MAP_NORESERVE
        | MapFlags::MAP_FIXED_NOREPLACE;
    // SAFETY: a new mapping, which replaces no other because of the last flag, and is removed at
    // once.
    unsafe {
        let found = mmap_anonymous(NonZeroUsize::new(address), size, ProtFlags::PROT_NONE, flags);
        found.is_ok_and(|place| munmap(place, len).is_ok() && place.as_ptr() as usize == address)
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: our own mapping. Nothing points into it any more.
        let _ = unsafe { munmap(self.start.cast(), self.len) };
    }
}
