//! Maps from the address of a task to its record. If the end of a task went unreported, its entry
//! would assign its record to another task at the same address.

use aya::{
    Ebpf, Pod,
    maps::{HashMap, MapData},
};
use profiler_common::{
    maps as names,
    wire::{TaskState, ThreadRecord},
};

use crate::engine::kernel::maps;

/// The maps by task, of the objects that have them.
#[derive(Default)]
pub(super) struct Owners {
    /// The fallback has the state of each task in a map.
    states: Option<HashMap<MapData, u64, TaskState>>,
    /// With arrays, the record of each task is noted in a map.
    records: Option<HashMap<MapData, u64, u32>>,
    /// The offset from the address of a task to [`ThreadRecord::status_address`].
    status_offset: u64,
    /// Kernel memory of the maps, bytes.
    memory_bytes: u64,
}

impl Owners {
    /// Takes the maps out of an object.
    pub(super) fn take(ebpf: &mut Ebpf, status_offset: u32) -> Self {
        let mut memory_bytes = 0;
        Self {
            states: take(ebpf, names::TASKS, &mut memory_bytes),
            records: take(ebpf, names::RECORDS_BY_TASK, &mut memory_bytes),
            status_offset: status_offset.into(),
            memory_bytes,
        }
    }

    /// Kernel memory of the maps, bytes.
    pub(super) fn memory_bytes(&self) -> u64 {
        self.memory_bytes
    }

    /// Removes the entries that lead from the owner of `record`, which no longer exists, to the
    /// record. A new task at the same address keeps its own entry.
    pub(super) fn forget(&mut self, record: &ThreadRecord) {
        let task = record.status_address.wrapping_sub(self.status_offset);
        if let Some(states) = &mut self.states
            && states.get(&task, 0).is_ok_and(|state| state.record == record.index + 1)
        {
            let _ = states.remove(&task);
        }
        if let Some(records) = &mut self.records
            && records.get(&task, 0).is_ok_and(|index| index == record.index)
        {
            let _ = records.remove(&task);
        }
    }
}

/// Takes a map out of an object, if the object has it. `memory_bytes` grows by its kernel memory.
fn take<V: Pod>(
    ebpf: &mut Ebpf,
    name: &str,
    memory_bytes: &mut u64,
) -> Option<HashMap<MapData, u64, V>> {
    let map = ebpf.take_map(name)?;
    *memory_bytes += maps::fd(&map).map_or(0, maps::memory_bytes);
    HashMap::try_from(map).ok()
}
