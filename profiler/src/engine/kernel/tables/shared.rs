//! The memory that both sides share: records, cells, their owners, and the state of the pools.

use std::{io, ops::Range, os::fd::AsFd as _, sync::Arc};

use aya::{Ebpf, Pod, maps::Map};
use profiler_common::{
    arena,
    limits::CELLS_PER_EXTENT,
    maps as names,
    sampling::sampler::Sampler,
    share,
    wire::{Cell, Control, OffCpu, OffCpuCall, TaskIdentity, ThreadRecord},
};

use super::users::Users;
use crate::engine::kernel::{
    error::KernelError, mapping::Mapping, maps, options::Options, region::Region,
};

/// Mappings of the records, the cells and their owners.
pub(super) struct Shared {
    pub(super) records: Mapping<ThreadRecord>,
    /// The owner of each record, by the same index.
    pub(super) identities: Mapping<TaskIdentity>,
    pub(super) cells: Mapping<Cell>,
    /// The samplers of the slots, by the index of their cells; only with adaptive sampling.
    pub(super) samplers: Option<Mapping<Sampler>>,
    /// The owner of each extent: the index of its record plus one, or 0.
    pub(super) owners: Mapping<u32>,
    pub(super) control: Mapping<Control>,
    pub(super) users: Users,
    /// The time off the CPU, if it is measured.
    pub(super) off_cpu: Option<OffCpuTables>,
    /// Whether records and cells are in an arena, whose pages have to be populated before use.
    in_arena: bool,
}

/// Mappings of the time off the CPU.
pub(super) struct OffCpuTables {
    /// By the index of a record.
    pub(super) calls: Mapping<OffCpuCall>,
    /// By the index of a cell.
    pub(super) slots: Mapping<OffCpu>,
}

impl Shared {
    /// Maps the values. `memory_bytes` grows by their kernel memory.
    pub(super) fn map(
        ebpf: &mut Ebpf,
        options: &Options,
        region: Option<Arc<Region>>,
        memory_bytes: &mut u64,
    ) -> Result<Self, KernelError> {
        let cell_count = options.max_extents * CELLS_PER_EXTENT;
        let record_count = share::with_reserve(options.max_threads);
        let in_arena = region.is_some();
        let m = memory_bytes;
        let has_samplers = options.is_adaptive();
        let (records, identities, cells, samplers) = match region {
            Some(region) => {
                *m += u64::from(arena::CELLS);
                let at = arena::records(options.max_extents) as usize;
                let identities = arena::identities(options.max_extents, record_count) as usize;
                let samplers = arena::samplers(options.max_extents, record_count) as usize;
                let samplers = has_samplers
                    .then(|| Mapping::within(Arc::clone(&region), samplers, cell_count));
                (
                    Mapping::within(Arc::clone(&region), at, record_count),
                    Mapping::within(Arc::clone(&region), identities, record_count),
                    Mapping::within(region, arena::CELLS as usize, cell_count),
                    samplers,
                )
            }
            None => (
                map_array(ebpf, names::RECORDS, record_count, m)?,
                map_array(ebpf, names::IDENTITIES, record_count, m)?,
                map_array(ebpf, names::CELLS, cell_count, m)?,
                if has_samplers {
                    Some(map_array(ebpf, names::SAMPLERS, cell_count, m)?)
                } else {
                    None
                },
            ),
        };
        let off_cpu = if options.off_cpu {
            Some(OffCpuTables {
                calls: map_array(ebpf, names::OFF_CPU_CALLS, record_count, m)?,
                slots: map_array(ebpf, names::OFF_CPU, cell_count, m)?,
            })
        } else {
            None
        };
        Ok(Self {
            records,
            identities,
            cells,
            samplers,
            owners: map_array(ebpf, names::EXTENT_OWNERS, options.max_extents, m)?,
            control: map_array(ebpf, names::CONTROL, 1, m)?,
            users: Users(map_array(ebpf, names::USERS, share::USERS, m)?),
            off_cpu,
            in_arena,
        })
    }

    /// Populates the pages of these records and extents, if they are in an arena. Returns the
    /// kernel memory of these pages, bytes.
    pub(super) fn populate(&self, records: Range<u32>, extents: Range<u32>) -> io::Result<u64> {
        let mut bytes = 0;
        if !self.in_arena {
            return Ok(bytes);
        }
        if !records.is_empty() {
            self.records.populate(records.clone())?;
            self.identities.populate(records.clone())?;
            let of_record = size_of::<ThreadRecord>() + size_of::<TaskIdentity>();
            bytes += (records.len() * of_record) as u64;
        }
        if !extents.is_empty() {
            let cells = extents.start * CELLS_PER_EXTENT..extents.end * CELLS_PER_EXTENT;
            self.cells.populate(cells.clone())?;
            bytes += cells.len() as u64 * size_of::<Cell>() as u64;
            if let Some(samplers) = &self.samplers {
                samplers.populate(cells.clone())?;
                bytes += cells.len() as u64 * size_of::<Sampler>() as u64;
            }
        }
        Ok(bytes)
    }
}

/// Maps an array of `len` values. `memory_bytes` grows by its kernel memory.
pub(super) fn map_array<T: Pod>(
    ebpf: &mut Ebpf,
    name: &'static str,
    len: u32,
    memory_bytes: &mut u64,
) -> Result<Mapping<T>, KernelError> {
    let map = maps::take(ebpf, name)?;
    let Map::Array(data) = &map else {
        return Err(KernelError::Object(format!("{name} is no array")));
    };
    *memory_bytes += maps::memory_bytes(data.fd().as_fd());
    // The mapping keeps the map alive (bpf_map_mmap takes a reference).
    Mapping::new(&data.fd().as_fd(), len)
        .map_err(|source| KernelError::Refused { what: format!("map {name}"), source })
}
