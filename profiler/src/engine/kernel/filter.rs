//! What a scope and a filter require of the kernel, and the maps by which the programs apply them.

use aya::{
    Ebpf, Pod,
    maps::{Array, HashMap, MapError},
};
use profiler_common::{maps as names, settings::FieldGroup};

use super::{error::KernelError, features::Features, maps, options::Options};
use crate::{filter::Filter, model::Scope};

/// Checks that this kernel can follow single calls, or their stacks, in the scope of a query. `what`
/// names what is followed, and `whole_host` says how to do without type information.
pub(super) fn check_followed(
    options: &Options,
    features: &Features,
    what: &'static str,
    whole_host: &'static str,
) -> Result<(), KernelError> {
    if !features.layout.has(FieldGroup::Task) && options.scope != Scope::Host {
        return Err(KernelError::Missing {
            feature: "type information (BTF), without which the profiler cannot follow children",
            needs: whole_host,
        });
    }
    if !options.filter.places.is_empty() {
        return Err(KernelError::Missing {
            feature: what,
            needs: "the cgroup of the unit, container or pod: --cgroup",
        });
    }
    check_support(&options.filter, features)
}

/// Checks that this kernel can apply `filter`.
pub(super) fn check_support(filter: &Filter, features: &Features) -> Result<(), KernelError> {
    if !filter.changes() {
        return Ok(());
    }
    let layout = &features.layout;
    if !layout.has(FieldGroup::Threads) {
        return Err(KernelError::Missing {
            feature: "type information (BTF) of cgroups and processes, which filters require",
            needs: "CONFIG_DEBUG_INFO_BTF=y; --syscall works without it",
        });
    }
    if !filter.cgroups.is_empty() && !layout.has(FieldGroup::Cgroup) {
        return Err(KernelError::Missing {
            feature: "cgroups that the profiler can read, which filters by cgroup require",
            needs: "CONFIG_CGROUPS=y; --comm works without it",
        });
    }
    if !filter.cgroups.is_empty() && !features.cgroup_tracepoint {
        return Err(KernelError::Missing {
            feature: "tracepoint cgroup_attach_task, which reports moves between cgroups",
            needs: "CONFIG_CGROUPS=y and CONFIG_TRACING=y; --comm works without it",
        });
    }
    Ok(())
}

/// Checks that this kernel can record the cgroups of calls.
pub(super) fn check_cgroups(features: &Features) -> Result<(), KernelError> {
    if features.knows_cgroups() {
        return Ok(());
    }
    Err(KernelError::Missing {
        feature: "cgroups that the profiler can read, which rows by cgroup require",
        needs: "CONFIG_CGROUPS=y, CONFIG_TRACING=y and CONFIG_DEBUG_INFO_BTF=y",
    })
}

/// Fills the maps of the processes in scope and of the filters.
pub(super) fn fill_maps(
    ebpf: &mut Ebpf,
    scope: &Scope,
    filter: &Filter,
) -> Result<(), KernelError> {
    if let Scope::Processes(processes) = scope {
        fill_set(ebpf, names::TARGETS, processes.iter().copied())?;
    }
    fill_set(ebpf, names::CGROUPS, filter.cgroups.iter().map(|cgroup| cgroup.id))?;
    fill_set(ebpf, names::COMMS, filter.comms.iter().map(|comm| comm.padded()))?;
    let Some(calls) = &filter.calls else { return Ok(()) };
    let mut map: Array<_, u32> =
        Array::try_from(maps::take(ebpf, names::CALLS)?).map_err(|e| failed(names::CALLS, &e))?;
    for (index, _) in (0..).zip(calls.counts()).filter(|(_, counts)| **counts) {
        map.set(index, 1, 0).map_err(|e| failed(names::CALLS, &e))?;
    }
    Ok(())
}

/// Fills the map that says which arguments of each call name its target.
pub(super) fn fill_plans(ebpf: &mut Ebpf, plans: &[u32]) -> Result<(), KernelError> {
    let map = maps::take(ebpf, names::TARGET_PLANS)?;
    let mut map: Array<_, u32> =
        Array::try_from(map).map_err(|e| failed(names::TARGET_PLANS, &e))?;
    for (index, &plan) in (0..map.len()).zip(plans).filter(|(_, plan)| **plan != 0) {
        map.set(index, plan, 0).map_err(|e| failed(names::TARGET_PLANS, &e))?;
    }
    Ok(())
}

/// Inserts all keys into a map that is used as a set. Takes no map if there are no keys.
fn fill_set<K: Pod>(
    ebpf: &mut Ebpf,
    name: &'static str,
    keys: impl ExactSizeIterator<Item = K>,
) -> Result<(), KernelError> {
    if keys.len() == 0 {
        return Ok(());
    }
    let mut set: HashMap<_, K, u32> =
        HashMap::try_from(maps::take(ebpf, name)?).map_err(|e| failed(name, &e))?;
    for key in keys {
        set.insert(key, 1, 0).map_err(|e| failed(name, &e))?;
    }
    Ok(())
}

fn failed(map: &str, error: &MapError) -> KernelError {
    KernelError::from_any(format!("fill the map {map}"), error)
}
