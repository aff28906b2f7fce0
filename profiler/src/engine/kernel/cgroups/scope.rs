//! Decides which cgroups are in scope, if a filter names units, containers or pods.
//!
//! The kernel side has a map of the cgroups that are in scope or undecided. Each new cgroup is
//! undecided. The kernel side counts its calls, and the reader holds back their records until the
//! cgroup is decided: at once if the path is sufficient, and otherwise when the name of its
//! container has been looked up.

use std::collections::{HashMap as Map, HashSet};

use aya::maps::{HashMap, MapData, MapError};
use profiler_common::cgroup::{Place, V1};

use crate::{
    filter::{Learned, PlaceKind, Places},
    model::Cgroup,
};

/// `BPF_EXIST` (include/uapi/linux/bpf.h): updates an entry, but never adds one.
const IF_IT_EXISTS: u64 = 2;

/// The verdict on the figures of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// They count.
    Count,
    /// It is not decided yet.
    Hold,
    /// They do not count.
    LeaveOut,
}

/// The map of the kernel side, or its replacement in tests.
pub(super) trait ScopeMap: Send {
    /// Adds an entry. Returns whether there was space for it.
    fn add(&mut self, id: u64) -> bool;
    /// Sets an existing entry. Returns whether there is one.
    fn confirm(&mut self, id: u64) -> bool;
    /// Removes an entry. Returns whether there was one.
    fn remove(&mut self, id: u64) -> bool;
}

impl ScopeMap for HashMap<MapData, u64, u32> {
    fn add(&mut self, id: u64) -> bool {
        self.insert(id, Place::Inside as u32, 0).is_ok()
    }

    fn confirm(&mut self, id: u64) -> bool {
        self.insert(id, Place::Inside as u32, IF_IT_EXISTS).is_ok()
    }

    fn remove(&mut self, id: u64) -> bool {
        !matches!(
            HashMap::remove(self, &id),
            Err(MapError::KeyNotFound | MapError::SyscallError(_))
        )
    }
}

/// The path of a cgroup and the mark of its hierarchy.
type Located = (u64, String);

/// Which cgroups are in scope.
pub(super) struct ScopeOfPlaces {
    places: Places,
    map: Box<dyn ScopeMap>,
    /// The decisions. `None` while a decision waits for a name.
    decisions: Map<u64, Option<bool>>,
    /// The cgroups that match, by kind. Cgroups below them match too.
    matching: [HashSet<Located>; PlaceKind::ALL.len()],
    /// The cgroups in the map.
    inside: HashSet<Located>,
    learned: Learned,
    /// The unknown cgroups of records at this reading, and at the previous reading.
    unknown: [HashSet<u64>; 2],
    /// Whether decisions of the kernel side about tasks have become stale.
    is_stale: bool,
}

impl ScopeOfPlaces {
    pub(super) fn new(places: Places, map: Box<dyn ScopeMap>) -> Self {
        Self {
            places,
            map,
            decisions: Map::new(),
            matching: Default::default(),
            inside: HashSet::new(),
            learned: Learned::default(),
            unknown: Default::default(),
            is_stale: false,
        }
    }

    /// Whether a decision can depend on the names of containers and pods.
    pub(super) fn needs_names(&self) -> bool {
        PlaceKind::ALL.into_iter().any(|kind| self.places.needs_names(kind))
    }

    /// Decides about a cgroup that is new or was renamed, or whose name has been looked up.
    /// `is_named` says that its lookup of names is done.
    pub(super) fn decide(&mut self, id: u64, cgroup: &Cgroup, is_named: bool) {
        let located = (id & V1, cgroup.path.raw().to_owned());
        let mut decision = Some(true);
        for kind in self.places.kinds() {
            let matching = &mut self.matching[kind as usize];
            if is_below(matching, &located) {
                continue;
            }
            if self.places.matches(kind, cgroup) || self.learned.knows(kind, cgroup) {
                self.learned.learn(kind, cgroup);
                matching.insert(located.clone());
                continue;
            }
            let may_match_later =
                !is_named && self.places.needs_names(kind) && cgroup.placement.container.is_some();
            if !may_match_later {
                decision = Some(false);
                break;
            }
            decision = None;
        }
        self.decisions.insert(id, decision);
        match decision {
            Some(true) => self.admit(id, located, cgroup.removed),
            // The kernel side no longer has a removed cgroup.
            Some(false) => {
                self.inside.remove(&located);
                self.is_stale |= self.map.remove(id);
            }
            None => {}
        }
    }

    fn admit(&mut self, id: u64, located: Located, removed: bool) {
        if self.map.confirm(id) || is_below(&self.inside, &located) || removed {
            return;
        }
        // The cgroup existed at the start, was renamed, or did not fit into the map when it was
        // created.
        if self.map.add(id) {
            self.is_stale = true;
            self.inside.insert(located);
        } else {
            tracing::warn!(
                "the table of cgroups in scope is full: calls in {} are not counted",
                crate::text::Untrusted::from(located.1)
            );
        }
    }

    /// Notes that a cgroup was removed. A new cgroup can have the same path.
    pub(super) fn removed(&mut self, id: u64, path: &str) {
        let located = (id & V1, path.to_owned());
        for matching in &mut self.matching {
            matching.remove(&located);
        }
        self.inside.remove(&located);
    }

    /// Forgets a cgroup.
    pub(super) fn forget(&mut self, id: u64) {
        self.decisions.remove(&id);
    }

    /// Begins a reading.
    pub(super) fn begin(&mut self) {
        self.unknown.swap(0, 1);
        self.unknown[0].clear();
    }

    /// The verdict on a record of this cgroup. The last reading holds back no records.
    pub(super) fn verdict(&mut self, id: u64, is_last: bool) -> Verdict {
        match self.decisions.get(&id) {
            Some(Some(true)) => Verdict::Count,
            Some(Some(false)) => Verdict::LeaveOut,
            _ if is_last => Verdict::LeaveOut,
            Some(None) => Verdict::Hold,
            // The event about a cgroup comes before its first record. So the next reading knows the
            // cgroup, unless the event was lost and the cgroup has been removed.
            None if self.unknown[1].contains(&id) => Verdict::LeaveOut,
            None => {
                self.unknown[0].insert(id);
                Verdict::Hold
            }
        }
    }

    /// Whether decisions of the kernel side about tasks have become stale since the last call.
    pub(super) fn take_stale(&mut self) -> bool {
        std::mem::take(&mut self.is_stale)
    }
}

/// Whether a cgroup is one of `cgroups`, or below one.
fn is_below(cgroups: &HashSet<Located>, (mark, path): &Located) -> bool {
    let is_one = |path: &str| cgroups.contains(&(*mark, path.to_owned()));
    !cgroups.is_empty()
        && (is_one(path)
            || is_one("/")
            || path.match_indices('/').skip(1).any(|(at, _)| is_one(&path[..at])))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    const ID: &str = "3f4a0c0b8f0d4e1c9a7b6c5d4e3f2a1b0c9d8e7f6a5b4c3d2e1f0a9b8c7d6e5f";

    /// The map, as the kernel side sees it.
    #[derive(Clone, Default)]
    struct Fake(Arc<Mutex<Map<u64, Place>>>);

    impl Fake {
        fn with<T>(&self, act: impl FnOnce(&mut Map<u64, Place>) -> T) -> T {
            act(&mut self.0.lock().expect("no panic elsewhere"))
        }

        fn made(&self, id: u64) {
            self.with(|map| map.insert(id, Place::Undecided));
        }

        fn ids(&self) -> Vec<u64> {
            let mut ids: Vec<u64> = self.with(|map| map.keys().copied().collect());
            ids.sort_unstable();
            ids
        }
    }

    impl ScopeMap for Fake {
        fn add(&mut self, id: u64) -> bool {
            self.with(|map| map.insert(id, Place::Inside));
            true
        }

        fn confirm(&mut self, id: u64) -> bool {
            self.with(|map| map.get_mut(&id).map(|place| *place = Place::Inside).is_some())
        }

        fn remove(&mut self, id: u64) -> bool {
            self.with(|map| map.remove(&id).is_some())
        }
    }

    fn scope(units: &[&str], containers: &[&str]) -> (ScopeOfPlaces, Fake) {
        let places = Places {
            units: units.iter().map(|name| name.parse().expect("a unit")).collect(),
            containers: containers.iter().map(|name| name.parse().expect("a name")).collect(),
            ..Places::default()
        };
        let map = Fake::default();
        (ScopeOfPlaces::new(places, Box::new(map.clone())), map)
    }

    #[test]
    fn a_cgroup_and_those_below_it_are_in_scope() {
        let (mut scope, map) = scope(&["a"], &[]);
        scope.decide(1, &Cgroup::at("/"), true);
        scope.decide(2, &Cgroup::at("/system.slice/a.service"), true);
        scope.decide(3, &Cgroup::at("/system.slice/a.service/docker/x"), true);
        scope.decide(4, &Cgroup::at("/system.slice/a.service2"), true);
        // One is enough: the kernel side looks at all cgroups above that of a task.
        assert_eq!(map.ids(), [2]);
        let verdicts = [1, 2, 3, 4].map(|id| scope.verdict(id, false));
        use Verdict::{Count, LeaveOut};
        assert_eq!(verdicts, [LeaveOut, Count, Count, LeaveOut]);
        assert!(scope.take_stale() && !scope.take_stale());
    }

    #[test]
    fn a_cgroup_that_appears_is_held_until_it_is_named() {
        let (mut scope, map) = scope(&[], &["web"]);
        assert!(scope.needs_names());
        let container = |n: u64| Cgroup::at(&format!("/docker/{n}{}", &ID[1..]));
        for (id, name) in [(7, "web"), (8, "db")] {
            let mut cgroup = container(id);
            map.made(id);
            scope.decide(id, &cgroup, false);
            assert_eq!(scope.verdict(id, false), Verdict::Hold);
            assert_eq!(scope.verdict(id, true), Verdict::LeaveOut);
            cgroup.named.container = Some(name.into());
            scope.decide(id, &cgroup, true);
        }
        assert_eq!(map.ids(), [7]);
        assert_eq!(scope.verdict(7, true), Verdict::Count);
        assert_eq!(scope.verdict(8, true), Verdict::LeaveOut);
        assert!(scope.take_stale());
        // The container is created again, and its state file can no longer be read.
        map.made(9);
        scope.decide(9, &container(7), true);
        assert_eq!(map.ids(), [7, 9]);
    }

    #[test]
    fn kinds_are_combined() {
        let (mut scope, map) = scope(&["a"], &[ID]);
        scope.decide(2, &Cgroup::at("/system.slice/a.service"), true);
        scope.decide(3, &Cgroup::at(&format!("/system.slice/a.service/docker/{ID}")), true);
        scope.decide(4, &Cgroup::at(&format!("/docker/{ID}")), true);
        assert_eq!(map.ids(), [3]);
    }

    #[test]
    fn another_cgroup_at_the_path_of_a_removed_one_is_decided_about() {
        let (mut scope, map) = scope(&["a"], &[]);
        let path = "/system.slice/a.service";
        scope.decide(2, &Cgroup::at(path), true);
        // The kernel side removes it.
        map.with(|map| map.remove(&2));
        scope.removed(2, path);
        map.made(5);
        scope.decide(5, &Cgroup::at(path), true);
        assert_eq!(map.ids(), [5]);
        // A late event about a removed cgroup.
        let removed = Cgroup { removed: true, ..Cgroup::at("/b.service") };
        scope.decide(6, &removed, true);
        assert_eq!(map.ids(), [5]);
        // Its last calls count.
        assert_eq!(scope.verdict(2, false), Verdict::Count);
    }

    #[test]
    fn a_record_of_an_unknown_cgroup_is_held_for_one_reading() {
        let (mut scope, _) = scope(&["a"], &[]);
        for verdict in [Verdict::Hold, Verdict::LeaveOut] {
            scope.begin();
            assert_eq!(scope.verdict(3, false), verdict);
        }
        scope.begin();
        scope.decide(3, &Cgroup::at("/a.service"), true);
        assert_eq!(scope.verdict(3, false), Verdict::Count);
    }

    #[test]
    fn hierarchies_are_apart() {
        let (mut scope, map) = scope(&["a"], &[]);
        scope.decide(2 | V1, &Cgroup::at("/a.service"), true);
        scope.decide(2, &Cgroup::at("/a.service"), true);
        assert_eq!(map.ids(), [2, 2 | V1]);
    }
}
