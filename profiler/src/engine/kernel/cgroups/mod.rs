//! Cgroups: their paths, and the names of their containers.
//!
//! A record has the id of a cgroup. The kernel reports each cgroup that is made, renamed or removed,
//! with its path. So a cgroup that lives for a few milliseconds has a path too. One walk at the
//! start finds the cgroups that exist by then.
//!
//! A thread of its own looks the names of containers up, as soon as the kernel reports a cgroup: the
//! state files of a container may go with it. No lookup delays a drain.

mod names;
mod paths;
mod scope;
mod walk;

use std::{
    collections::BTreeMap,
    os::fd::AsRawFd as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use aya::{
    Ebpf,
    maps::{HashMap, MapData, RingBuf},
};
use profiler_common::maps as maps_names;

use names::NameThread;
use paths::{Change, Paths};
use scope::ScopeOfPlaces;
pub(crate) use scope::Verdict;

use super::{error::KernelError, hierarchies::Hierarchies, maps};
use crate::{
    filter::Places,
    model::Cgroup,
    placement::{Named, Names},
};

/// How long the last snapshot waits for names that are being looked up.
const NAMES_WAIT: Duration = Duration::from_millis(250);

/// How long a confinement waits for the names of the containers that exist.
const FIRST_NAMES_WAIT: Duration = Duration::from_secs(2);

/// The cgroups that are known.
pub(super) struct Cgroups {
    shared: Arc<Mutex<Shared>>,
    hierarchies: Hierarchies,
    names: Option<NameThread>,
    /// Events that were lost by the last walk.
    lost: u64,
    /// Whether a filter names units, containers or pods.
    decides_scope: bool,
    /// Cgroups for which the map of cgroups in scope had no space, by the last reading.
    refused: u64,
}

/// What the drain and the thread that looks up names share.
struct Shared {
    events: RingBuf<MapData>,
    paths: Paths,
    /// Which cgroups are in scope, if a filter names units, containers or pods.
    scope: Option<ScopeOfPlaces>,
}

impl Shared {
    /// Learns from the events that have come.
    fn consume(&mut self) {
        while let Some(event) = self.events.next() {
            self.paths.learn(&event);
        }
        self.decide();
    }

    /// Sets what the container of a cgroup is called.
    fn name(&mut self, id: u64, named: Named) {
        self.paths.name(id, named);
        self.decide();
    }

    /// Decides about the cgroups of which something new is known.
    fn decide(&mut self) {
        let Self { paths, scope: Some(scope), .. } = self else { return };
        for change in paths.take_changes() {
            match change {
                Change::Known(id) => {
                    if let Some((cgroup, is_named)) = paths.get(id) {
                        scope.decide(id, cgroup, is_named);
                    }
                }
                Change::Removed(id) => {
                    if let Some((cgroup, _)) = paths.get(id) {
                        scope.removed(id, cgroup.path.raw());
                    }
                }
                Change::Forgotten(id) => scope.forget(id),
            }
        }
    }
}

/// The cgroups of this host that exist, with the names of their containers.
pub fn existing() -> Vec<Cgroup> {
    let mut paths = Paths::default();
    walk::walk_all(&Hierarchies::find(), &mut paths);
    paths.look_up(&mut Names::default());
    paths.all()
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    // A panic elsewhere leaves paths that are true.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Cgroups {
    /// Takes the map with events out of the object that has it. If `places` names something, takes
    /// the map of the cgroups in scope too.
    pub(super) fn take(
        ebpf: &mut Ebpf,
        hierarchies: Hierarchies,
        places: &Places,
    ) -> Result<Self, KernelError> {
        let events = RingBuf::try_from(maps::take(ebpf, maps_names::CGROUP_EVENTS)?)
            .map_err(|e| KernelError::from_any("open the buffer of cgroup events".into(), &e))?;
        let mut paths = Paths::default();
        let scope = if places.is_empty() {
            None
        } else {
            paths.follow_changes();
            let map: HashMap<_, u64, u32> =
                HashMap::try_from(maps::take(ebpf, maps_names::PLACES)?)
                    .map_err(|e| KernelError::from_any("open the map of cgroups".into(), &e))?;
            Some(ScopeOfPlaces::new(places.clone(), Box::new(map)))
        };
        let decides_scope = scope.is_some();
        let shared = Arc::new(Mutex::new(Shared { events, paths, scope }));
        Ok(Self { shared, hierarchies, names: None, lost: 0, decides_scope, refused: 0 })
    }

    /// Finds the cgroups that exist, and decides about them. The programs that report cgroups are
    /// attached, and no program that counts calls is.
    pub(super) fn start(&mut self) {
        let mut shared = lock(&self.shared);
        walk::walk_all(&self.hierarchies, &mut shared.paths);
        shared.consume();
        let mut names = Names::default();
        if shared.scope.as_ref().is_some_and(ScopeOfPlaces::needs_names) {
            // So that no call of a container that exists is held back.
            shared.paths.look_up(&mut names);
            shared.decide();
        }
        drop(shared);
        self.start_thread(names);
    }

    fn start_thread(&mut self, known: Names) {
        let fd = lock(&self.shared).events.as_raw_fd();
        self.names = NameThread::start(Arc::clone(&self.shared), fd, known);
    }

    /// Looks up the names of the containers that exist, as long as this process may, and runs
    /// `confine` while there is no thread that looks up names. Later names are those that the
    /// process can then read.
    pub(super) fn confined<T>(&mut self, confine: impl FnOnce() -> T) -> T {
        let Some(mut names) = self.names.take() else { return confine() };
        names.wait(FIRST_NAMES_WAIT);
        let known = names.end().unwrap_or_default();
        let confined = confine();
        self.start_thread(known);
        confined
    }

    /// Learns from the events that have come. `lost` says how many were lost since the start, and
    /// `refused` how many cgroups did not fit into the map of those in scope.
    pub(super) fn read(&mut self, lost: u64, refused: u64) {
        let mut shared = lock(&self.shared);
        shared.consume();
        if lost > self.lost {
            // The cgroups that still exist are found again.
            self.lost = lost;
            walk::walk_all(&self.hierarchies, &mut shared.paths);
            shared.decide();
        }
        if refused > self.refused {
            tracing::warn!(
                "the table of cgroups in scope was full {} times: calls of new cgroups can be missing",
                refused - self.refused
            );
            self.refused = refused;
        }
        if shared.paths.has_nameless()
            && let Some(names) = &self.names
        {
            names.wake();
        }
    }

    /// Whether the figures of records depend on their cgroup: a filter names units, containers or
    /// pods.
    pub(super) fn decides_scope(&self) -> bool {
        self.decides_scope
    }

    /// Reads by `read`, which asks what becomes of the records of a cgroup. Returns whether the
    /// kernel side has to decide about tasks again.
    pub(super) fn judge(
        &mut self,
        is_last: bool,
        read: impl FnOnce(&mut dyn FnMut(u64) -> Verdict),
    ) -> bool {
        let mut shared = lock(&self.shared);
        let Some(scope) = &mut shared.scope else { return false };
        scope.begin();
        read(&mut |id| scope.verdict(id, is_last));
        scope.take_stale()
    }

    /// The cgroups with these ids, of those whose path is known. Forgets removed cgroups that are
    /// not among them if there are many.
    pub(super) fn of(&mut self, ids: impl Iterator<Item = u64>) -> Arc<BTreeMap<u64, Arc<Cgroup>>> {
        lock(&self.shared).paths.of(ids)
    }

    /// Waits for a moment for the names that are being looked up.
    pub(super) fn wait_for_names(&self) {
        if let Some(names) = &self.names {
            names.wait(NAMES_WAIT);
        }
    }
}
