//! What a filter needs of the kernel, and how the programs are told of it.

use aya::{Ebpf, EbpfLoader, Pod, maps};
use profiler_common::{
    limits::{RENAMES, globals},
    maps as names,
};

use super::{
    KernelError, btf::FilterLayout, features::Features, load::take_map, programs::CGROUP_ATTACH,
};
use crate::{filter::Filter, model::Scope};

/// Whether this kernel can decide by `filter`.
pub(super) fn require(filter: &Filter, features: &Features) -> Result<(), KernelError> {
    if !filter.changes() {
        return Ok(());
    }
    let Some(layout) = features.filters else {
        return Err(KernelError::Missing {
            feature: "type information (BTF) of cgroups and processes, by which to filter",
            needs: "CONFIG_DEBUG_INFO_BTF=y; --syscall works without it",
        });
    };
    if !filter.cgroups.is_empty() && layout.cgroup.is_none() {
        return Err(KernelError::Missing {
            feature: "cgroups as this program knows them, by which to filter",
            needs: "CONFIG_CGROUPS=y; --comm works without it",
        });
    }
    if !filter.cgroups.is_empty() && !features.cgroup_tracepoint {
        return Err(KernelError::Missing {
            feature: "tracepoint cgroup_attach_task, which tells of moves between cgroups",
            needs: "CONFIG_CGROUPS=y and CONFIG_TRACING=y; --comm works without it",
        });
    }
    Ok(())
}

/// What the programs are to know of it before they are loaded.
pub(super) fn settings(
    filter: &Filter,
    scope: &Scope,
    features: &Features,
) -> Vec<(&'static str, u32)> {
    let narrow = filter.changes() || *scope != Scope::Host;
    let mut settings = vec![
        (globals::SCOPE_IS_NARROW, u32::from(narrow)),
        (globals::SCOPE_CHANGES, u32::from(filter.changes())),
        (globals::CGROUPS_ONLY, u32::from(!filter.cgroups.is_empty())),
        (globals::COMMS_ONLY, u32::from(!filter.comms.is_empty())),
        (globals::CALLS_ONLY, u32::from(filter.calls.is_some())),
    ];
    if let Some(FilterLayout { signal, nr_threads, cgroup }) = features.filters {
        settings
            .extend([(globals::SIGNAL_OFFSET, signal), (globals::NR_THREADS_OFFSET, nr_threads)]);
        if let Some(cgroup) = cgroup {
            settings.extend([
                (globals::CGROUPS_OFFSET, cgroup.of_task),
                (globals::DFL_CGRP_OFFSET, cgroup.of_set),
                (globals::LEVEL_OFFSET, cgroup.level),
                (globals::ANCESTOR_IDS_OFFSET, cgroup.ancestor_ids),
                (globals::ANCESTORS_OFFSET, cgroup.ancestors),
                (globals::KN_OFFSET, cgroup.kn),
                (globals::KN_ID_OFFSET, cgroup.kn_id),
            ]);
        }
    }
    settings
}

/// How large its maps have to be.
pub(super) fn size(filter: &Filter, loader: &mut EbpfLoader<'_>) {
    if !filter.comms.is_empty() {
        loader.map_max_entries(names::RENAMED, RENAMES);
    }
}

/// The program that it needs beside all others, by name.
pub(super) fn program(filter: &Filter) -> Option<crate::engine::kernel::programs::ProgramSpec> {
    (!filter.cgroups.is_empty()).then_some(CGROUP_ATTACH)
}

/// Tells the programs what it names.
pub(super) fn fill(ebpf: &mut Ebpf, filter: &Filter) -> Result<(), KernelError> {
    name_all(ebpf, names::CGROUPS, filter.cgroups.iter().map(|cgroup| cgroup.id))?;
    name_all(ebpf, names::COMMS, filter.comms.iter().map(|comm| comm.padded()))?;
    let Some(calls) = &filter.calls else { return Ok(()) };
    let mut map: maps::Array<_, u32> =
        maps::Array::try_from(take_map(ebpf, names::CALLS)?).map_err(failed)?;
    for (index, _) in (0..).zip(calls.counts()).filter(|(_, counts)| **counts) {
        map.set(index, 1, 0).map_err(failed)?;
    }
    Ok(())
}

fn name_all<K: Pod>(
    ebpf: &mut Ebpf,
    map: &'static str,
    keys: impl ExactSizeIterator<Item = K>,
) -> Result<(), KernelError> {
    if keys.len() == 0 {
        return Ok(());
    }
    let mut map: maps::HashMap<_, K, u32> =
        maps::HashMap::try_from(take_map(ebpf, map)?).map_err(failed)?;
    for key in keys {
        map.insert(key, 1, 0).map_err(failed)?;
    }
    Ok(())
}

fn failed(error: maps::MapError) -> KernelError {
    KernelError::from_any("say what counts".into(), &error)
}
