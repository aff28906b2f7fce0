//! The JSON of the filters.

use serde::Serialize;

use crate::{
    filter::{Comm, ContainerName, Filter, Places, PodName, UnitName},
    model::Scope,
    text::Untrusted,
};

/// The filters; null for a filter that is not set.
#[derive(Serialize)]
pub(super) struct ScopeObject<'a> {
    /// These processes and their children.
    pids: Option<&'a [u32]>,
    cgroups: Option<Vec<&'a Untrusted>>,
    units: Option<&'a [UnitName]>,
    containers: Option<&'a [ContainerName]>,
    pods: Option<&'a [PodName]>,
    comms: Option<&'a [Comm]>,
    syscalls: Option<SyscallsObject<'a>>,
}

/// The syscalls, as the user named them.
#[derive(Serialize)]
struct SyscallsObject<'a> {
    /// Empty for all syscalls except those in `except`.
    only: &'a [String],
    except: &'a [String],
}

impl<'a> ScopeObject<'a> {
    pub(super) fn new(scope: &'a Scope, filter: &'a Filter) -> Self {
        let Filter { cgroups, places, comms, calls } = filter;
        let Places { units, containers, pods } = places;
        let named = |count: usize| (count > 0).then_some(());
        Self {
            pids: match scope {
                Scope::Host => None,
                Scope::Processes(pids) => Some(pids),
            },
            cgroups: named(cgroups.len()).map(|()| cgroups.iter().map(|c| &c.path).collect()),
            units: named(units.len()).map(|()| &units[..]),
            containers: named(containers.len()).map(|()| &containers[..]),
            pods: named(pods.len()).map(|()| &pods[..]),
            comms: named(comms.len()).map(|()| &comms[..]),
            syscalls: calls
                .as_ref()
                .map(|calls| SyscallsObject { only: &calls.only, except: &calls.except }),
        }
    }
}
