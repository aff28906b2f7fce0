//! The layout of the arena (Linux 6.9), which replaces the arrays of records and cells. Offsets are
//! in bytes.
//!
//! The [hints](crate::hint) come first, each the offset of a record. Then come the cells, the
//! records, and the identities of the records' owners. With adaptive sampling, the samplers of the
//! cells come last. So the offsets of the last three depend on the numbers of cells and records.

use crate::{
    hint,
    limits::{CELLS_PER_EXTENT, MAX_EXTENTS, MAX_EXTENTS_SAMPLED, MAX_THREADS},
    sampling::sampler::Sampler,
    share,
    wire::{Cell, TaskIdentity, ThreadRecord},
};

/// Offset of the cells.
pub const CELLS: u32 = hint::TABLE_BYTES as u32;
/// Cells have two to this power bytes.
pub const CELL_SHIFT: u32 = size_of::<Cell>().trailing_zeros();
/// Records have two to this power bytes.
pub const RECORD_SHIFT: u32 = size_of::<ThreadRecord>().trailing_zeros();
/// Identities have two to this power bytes.
pub const IDENTITY_SHIFT: u32 = size_of::<TaskIdentity>().trailing_zeros();
/// Samplers have two to this power bytes.
pub const SAMPLER_SHIFT: u32 = size_of::<Sampler>().trailing_zeros();

/// Offset of the records, if there are this many extents.
pub const fn records(extents: u32) -> u32 {
    let end = CELLS as u64 + ((extents as u64 * CELLS_PER_EXTENT as u64) << CELL_SHIFT);
    (end as u32).next_multiple_of(4096)
}

/// Offset of the identities, if there are this many extents and records. There are more records
/// than threads: see [`share::with_reserve`](crate::share::with_reserve).
pub const fn identities(extents: u32, records: u32) -> u32 {
    let end = self::records(extents) as u64 + ((records as u64) << RECORD_SHIFT);
    (end as u32).next_multiple_of(4096)
}

/// Offset of the samplers, if there are this many extents and records.
pub const fn samplers(extents: u32, records: u32) -> u64 {
    let end = identities(extents, records) as u64 + ((records as u64) << IDENTITY_SHIFT);
    end.next_multiple_of(4096)
}

/// Size of the arena, if there are this many extents and records, and samplers or not.
pub const fn len(extents: u32, records: u32, has_samplers: bool) -> u64 {
    let end = samplers(extents, records);
    if !has_samplers {
        return end;
    }
    (end + ((extents as u64 * CELLS_PER_EXTENT as u64) << SAMPLER_SHIFT)).next_multiple_of(4096)
}

const _: () = {
    let records = share::with_reserve(MAX_THREADS);
    assert!(len(MAX_EXTENTS, records, false) <= 1 << 32);
    assert!(len(MAX_EXTENTS_SAMPLED, records, true) <= 1 << 32);
    assert!(1 << CELL_SHIFT == size_of::<Cell>());
    assert!(1 << RECORD_SHIFT == size_of::<ThreadRecord>());
    assert!(1 << IDENTITY_SHIFT == size_of::<TaskIdentity>());
    assert!(1 << SAMPLER_SHIFT == size_of::<Sampler>());
};
