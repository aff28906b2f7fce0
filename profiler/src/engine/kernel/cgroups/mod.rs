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
mod walk;

use std::{
    collections::BTreeMap,
    os::fd::AsRawFd as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use aya::{
    Ebpf,
    maps::{MapData, RingBuf},
};
use profiler_common::maps as maps_names;

use names::NameThread;
use paths::Paths;

use super::{error::KernelError, hierarchies::Hierarchies, maps};
use crate::{model::Cgroup, placement::Names};

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
}

/// What the drain and the thread that looks up names share.
struct Shared {
    events: RingBuf<MapData>,
    paths: Paths,
}

impl Shared {
    /// Learns from the events that have come.
    fn consume(&mut self) {
        while let Some(event) = self.events.next() {
            self.paths.learn(&event);
        }
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    // A panic elsewhere leaves paths that are true.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Cgroups {
    /// Takes the map with events out of the object that has it.
    pub(super) fn take(ebpf: &mut Ebpf, hierarchies: Hierarchies) -> Result<Self, KernelError> {
        let events = RingBuf::try_from(maps::take(ebpf, maps_names::CGROUP_EVENTS)?)
            .map_err(|e| KernelError::from_any("open the buffer of cgroup events".into(), &e))?;
        let shared = Arc::new(Mutex::new(Shared { events, paths: Paths::default() }));
        Ok(Self { shared, hierarchies, names: None, lost: 0 })
    }

    /// Finds the cgroups that exist. The programs that report cgroups are attached.
    pub(super) fn start(&mut self) {
        let mut shared = lock(&self.shared);
        walk::walk_all(&self.hierarchies, &mut shared.paths);
        shared.consume();
        drop(shared);
        self.start_thread(Names::default());
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

    /// Learns from the events that have come. `lost` says how many were lost since the start.
    pub(super) fn read(&mut self, lost: u64) {
        let mut shared = lock(&self.shared);
        shared.consume();
        if lost > self.lost {
            // The cgroups that still exist are found again.
            self.lost = lost;
            walk::walk_all(&self.hierarchies, &mut shared.paths);
        }
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
