//! x86_64.

/// Size of a page, bytes.
pub(crate) const PAGE_SIZE: usize = 4096;

/// The unit in which values are copied out of shared memory.
///
/// A copy field by field would take many times as long: it needs more loads, and a later load of
/// several fields at once would have to wait for all their stores. The CPU reads each aligned
/// eight bytes of a unit at once (Intel's Software Developer's Manual, volume 3, 9.1.1).
#[cfg(target_arch = "x86_64")]
pub(crate) type CopyUnit = std::arch::x86_64::__m128i;
#[cfg(not(target_arch = "x86_64"))]
pub(crate) type CopyUnit = u64;

/// Prefetches the cache line of `place`, so that a later read of it does not wait.
pub(crate) fn prefetch<T>(place: *const T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: reads nothing, and no address makes it fault (Intel's Software Developer's
        // Manual, volume 2, PREFETCHh).
        unsafe { _mm_prefetch::<_MM_HINT_T0>(place.cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = place;
}

/// How many of the syscalls with which a uprobe enters the kernel this kernel has: `uretprobe`
/// came with Linux 6.11, `uprobe` with 6.18.
pub(crate) fn probe_syscalls(kernel: (u32, u32)) -> u32 {
    [(6, 11), (6, 18)].into_iter().filter(|&since| kernel >= since).count() as u32
}

/// The offset of `thread_info.status` in `task_struct`, if there is no BTF to tell. `thread_info`
/// comes first in `task_struct`; `status` follows `flags` and, from Linux 5.11 on,
/// `syscall_work` (arch/x86/include/asm/thread_info.h).
pub(crate) fn status_offset_without_btf(kernel: (u32, u32)) -> u32 {
    if kernel >= (5, 11) { 16 } else { 8 }
}
