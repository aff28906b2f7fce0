//! Cgroups: their paths, and the names of their containers.
//!
//! A record has the id of a cgroup. The kernel reports each cgroup that is made, renamed or removed,
//! with its path. So a cgroup that lives for a few milliseconds has a path too. One walk at the
//! start finds the cgroups that exist by then.
//!
//! A separate thread looks up the names of containers as soon as the kernel reports a cgroup,
//! because the state files of a container may be removed with it. No lookup delays a drain.

mod names;
mod paths;
mod scope;
mod walk;

use std::{
    collections::BTreeMap,
    io,
    os::fd::AsRawFd as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use aya::{
    Ebpf,
    maps::{HashMap, MapData, RingBuf},
};
use profiler_common::maps as maps_names;

use names::{NameThread, Orders};
use paths::{Change, Paths};
use scope::ScopeOfPlaces;
pub(crate) use scope::Verdict;

use super::{error::KernelError, hierarchies::Hierarchies, maps};
use crate::{
    filter::Places,
    model::Cgroup,
    placement::{NameSource, Named, Names},
};

/// How long the last snapshot waits for names that are being looked up.
const NAMES_WAIT: Duration = Duration::from_millis(250);

/// How long a confinement waits for the names of the containers that exist.
const FIRST_NAMES_WAIT: Duration = Duration::from_secs(2);

/// The known cgroups.
pub(super) struct Cgroups {
    shared: Arc<Mutex<Shared>>,
    hierarchies: Hierarchies,
    names: Option<NameThread>,
    /// Number of events that were lost before the last walk.
    lost: u64,
    /// Whether a filter names units, containers or pods.
    decides_scope: bool,
    /// Number of cgroups that did not fit into the map of cgroups in scope, at the last reading.
    refused: u64,
}

/// State that the drain shares with the thread that looks up names.
struct Shared {
    events: RingBuf<MapData>,
    paths: Paths,
    /// Which cgroups are in scope, if a filter names units, containers or pods.
    scope: Option<ScopeOfPlaces>,
}

impl Shared {
    /// Processes the events in the ring buffer.
    fn consume(&mut self) {
        while let Some(event) = self.events.next() {
            self.paths.learn(&event);
        }
        self.decide();
    }

    /// Sets the names of the container of a cgroup.
    fn name(&mut self, id: u64, named: Named) {
        self.paths.name(id, named);
        self.decide();
    }

    /// Decides about the cgroups whose path or names have changed.
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
    // A panic in another thread leaves the paths valid.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Cgroups {
    /// Takes the map with events out of the object that has it. If `places` has names, takes the
    /// map of the cgroups in scope too.
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
            // Look up names now, so that the records of existing containers are not held back.
            shared.paths.look_up(&mut names);
            shared.decide();
        }
        drop(shared);
        self.start_thread(names, Orders::new());
    }

    /// Starts the thread that looks up names. Without it, containers have ids only.
    fn start_thread(&mut self, known: Names, orders: nix::Result<Orders>) {
        let fd = lock(&self.shared).events.as_raw_fd();
        let started = orders
            .map_err(io::Error::from)
            .and_then(|orders| NameThread::start(Arc::clone(&self.shared), fd, known, orders));
        let warn =
            |error: &io::Error| tracing::warn!("cannot look up names of containers: {error}");
        self.names = started.inspect_err(warn).ok();
    }

    /// Looks up the names of existing containers while this process has the privilege. Then runs
    /// `confine` while the thread that looks up names is stopped. Later lookups have only the
    /// remaining privileges, and `source`.
    pub(super) fn confined<T>(
        &mut self,
        source: Option<NameSource>,
        confine: impl FnOnce() -> T,
    ) -> T {
        let Some(mut names) = self.names.take() else { return confine() };
        names.wait(FIRST_NAMES_WAIT);
        let mut known = names.end().unwrap_or_default();
        let orders = Orders::new();
        let confined = confine();
        if let Some(source) = source {
            known.ask(source);
        }
        self.start_thread(known, orders);
        confined
    }

    /// Processes the events in the ring buffer. `lost` is the number of events lost since the
    /// start, and `refused` the number of cgroups that did not fit into the map of cgroups in
    /// scope.
    pub(super) fn read(&mut self, lost: u64, refused: u64) {
        let mut shared = lock(&self.shared);
        shared.consume();
        if lost > self.lost {
            // Walk again, to find the cgroups whose events were lost.
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

    /// Calls `read` with a function that returns the verdict on the records of a cgroup. Returns
    /// whether the kernel side has to decide about tasks again.
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

    /// The cgroups with these ids, of those whose path is known. If there are many removed cgroups,
    /// forgets those that are not among them.
    pub(super) fn of(&mut self, ids: impl Iterator<Item = u64>) -> Arc<BTreeMap<u64, Arc<Cgroup>>> {
        lock(&self.shared).paths.of(ids)
    }

    /// Waits for pending lookups of names, for at most 250 ms.
    pub(super) fn wait_for_names(&self) {
        if let Some(names) = &self.names {
            names.wait(NAMES_WAIT);
        }
    }
}
