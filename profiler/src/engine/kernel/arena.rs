//! The arena (Linux 6.9): memory that the kernel side and the user side share. It contains records,
//! cells and hints. The kernel allocates a page of it on the first access.
//!
//! Without an arena, records and cells are in mmapable arrays. Each look-up there puts a key on the
//! stack, compares it with a bound and tests the result, seven times per call.
//!
//! The user side populates a page before it puts the entries of the page on a free stack
//! (`Pools::fill`), and then releases its mapping of the page. So only the pages that the user side
//! reads count as its memory. If a kernel refuses the arena, the profiler uses the arrays.

use std::sync::Arc;

use aya::Ebpf;
use profiler_common::{arena, maps as names, share};

use super::{arch::PAGE_SIZE, error::KernelError, maps, options::Options, region::Region};

/// Size of the arena, bytes.
fn len(options: &Options) -> u64 {
    let records = share::with_reserve(options.max_threads);
    arena::len(options.max_extents, records, options.is_adaptive())
}

/// Size of the arena, pages.
pub(super) fn pages(options: &Options) -> u32 {
    (len(options) / PAGE_SIZE as u64) as u32
}

/// Maps the arena, and populates the pages of the hints. This must precede the load of any program
/// that uses the arena, because the address decides where the kernel side sees the arena.
pub(super) fn map(ebpf: &Ebpf, options: &Options) -> Result<Arc<Region>, KernelError> {
    let fd = ebpf
        .map(names::ARENA)
        .and_then(maps::fd)
        .ok_or_else(|| KernelError::Object(format!("it has no map {}", names::ARENA)))?;
    let len = len(options) as usize;
    let refused = |source| KernelError::Refused { what: "map the arena".into(), source };
    let memory = Region::map_aligned_to_4_gib(fd, len).map_err(refused)?;
    memory.populate(0..arena::CELLS as usize).map_err(refused)?;
    Ok(Arc::new(memory))
}
