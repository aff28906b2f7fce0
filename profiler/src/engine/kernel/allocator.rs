//! How the C library's allocator gives memory back to the system.

/// Makes the allocator return large blocks to the system when they are freed.
///
/// By default, glibc keeps blocks up to the size of the largest block that was ever freed
/// (M_MMAP_THRESHOLD, mallopt(3)). After the kernel's types were read once, glibc would keep all
/// blocks.
pub fn return_large_blocks() {
    // SAFETY: mallopt is safe at any time from any thread.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 128 * 1024);
    }
}

/// Returns free memory to the system. Parsing the kernel's types took some fifteen megabytes for
/// a moment, which the allocator would keep.
pub fn release_memory() {
    // SAFETY: malloc_trim is safe at any time from any thread.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0);
    }
}
