//! The paths of cgroups by id.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    mem,
    sync::Arc,
};

use profiler_common::cgroup::{HEADER, Happened, V1};

use crate::{
    model::Cgroup,
    placement::{Container, Named, Names},
    text::Untrusted,
};

/// The maximum number of removed cgroups that are kept beyond those in the snapshot.
const MAX_REMOVED: usize = 8_192;

/// The paths of cgroups by id.
#[derive(Default)]
pub(super) struct Paths {
    known: HashMap<u64, Arc<Cgroup>>,
    /// Removed cgroups, the oldest first.
    removed: VecDeque<u64>,
    /// Cgroups of containers whose names are not looked up.
    nameless: Vec<u64>,
    /// Cgroups of containers whose names are not known yet.
    unnamed: HashSet<u64>,
    /// Changes since the last call of `take_changes`. `None` if changes are not recorded.
    changes: Option<Vec<Change>>,
}

/// A change of a known cgroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// A cgroup has appeared, has another path, or has a name.
    Known(u64),
    /// A cgroup was removed.
    Removed(u64),
    /// A cgroup was forgotten.
    Forgotten(u64),
}

impl Paths {
    /// Processes an event. Ignores invalid bytes.
    pub(super) fn learn(&mut self, event: &[u8]) {
        let number = |at: usize| Some(u32::from_ne_bytes(*event.get(at..)?.first_chunk()?));
        let Some(id) = event.first_chunk().copied().map(u64::from_ne_bytes) else { return };
        let Some(happened) = number(8).and_then(Happened::from_wire) else { return };
        let len = number(12).map_or(0, |len| len as usize);
        let Some(path) = event.get(HEADER..).map(|path| &path[..len.min(path.len())]) else {
            return;
        };
        let path = Untrusted::from_bytes(path);
        match happened {
            Happened::Made => self.add(id, path.raw()),
            Happened::Renamed => self.rename(id, path.raw()),
            Happened::Removed => {
                if !self.known.contains_key(&id) {
                    self.add(id, path.raw());
                }
                self.remove(id);
            }
        }
    }

    /// Adds a cgroup at a path.
    pub(super) fn add(&mut self, id: u64, path: &str) {
        let known = self.known.get(&id);
        if known.is_some_and(|known| known.path.raw() == path && !known.removed) {
            return;
        }
        let cgroup = Cgroup::at(path);
        if cgroup.placement.container.is_some() {
            self.nameless.push(id);
            self.unnamed.insert(id);
        } else {
            self.unnamed.remove(&id);
        }
        self.known.insert(id, Arc::new(cgroup));
        self.note(Change::Known(id));
    }

    fn note(&mut self, change: Change) {
        if let Some(changes) = &mut self.changes {
            changes.push(change);
        }
    }

    /// Starts to record changes for [`Self::take_changes`].
    pub(super) fn follow_changes(&mut self) {
        self.changes = Some(Vec::new());
    }

    /// Removes and returns the changes since the last call.
    pub(super) fn take_changes(&mut self) -> Vec<Change> {
        self.changes.as_mut().map(mem::take).unwrap_or_default()
    }

    /// A cgroup, and whether its lookup of names is done.
    pub(super) fn get(&self, id: u64) -> Option<(&Cgroup, bool)> {
        Some((self.known.get(&id)?, !self.unnamed.contains(&id)))
    }

    /// All cgroups that exist, by their paths.
    pub(super) fn all(self) -> Vec<Cgroup> {
        let existing = self.known.into_values().filter(|cgroup| !cgroup.removed);
        let mut all: Vec<_> = existing.map(Arc::unwrap_or_clone).collect();
        all.sort_by(|a, b| a.path.cmp(&b.path));
        all
    }

    /// Whether the names of a container have to be looked up.
    pub(super) fn has_nameless(&self) -> bool {
        !self.nameless.is_empty()
    }

    /// Changes the path of a cgroup, and of all cgroups below it.
    fn rename(&mut self, id: u64, path: &str) {
        let Some(old) = self.known.get(&id).map(|cgroup| cgroup.path.raw().to_owned()) else {
            return self.add(id, path);
        };
        // Ids of version 1 and of version 2 are of different hierarchies.
        let is_below = |(&other, cgroup): (&u64, &Arc<Cgroup>)| {
            let below = cgroup.path.raw().strip_prefix(old.as_str())?;
            let is_moved = other & V1 == id & V1 && below.starts_with('/') && !cgroup.removed;
            is_moved.then(|| (other, format!("{path}{below}")))
        };
        let below: Vec<(u64, String)> = self.known.iter().filter_map(is_below).collect();
        self.add(id, path);
        below.iter().for_each(|(id, path)| self.add(*id, path));
    }

    fn remove(&mut self, id: u64) {
        if let Some(cgroup) = self.known.get_mut(&id)
            && !mem::replace(&mut Arc::make_mut(cgroup).removed, true)
        {
            self.removed.push_back(id);
            self.note(Change::Removed(id));
        }
    }

    /// The cgroups with these ids, of those whose path is known. If there are many removed cgroups,
    /// forgets the oldest that are not among them.
    pub(super) fn of(&mut self, ids: impl Iterator<Item = u64>) -> Arc<BTreeMap<u64, Arc<Cgroup>>> {
        let ids: HashSet<u64> = ids.collect();
        let excess = self.removed.len().saturating_sub(MAX_REMOVED);
        if excess > 0 {
            let (kept, old): (VecDeque<u64>, Vec<u64>) = mem::take(&mut self.removed)
                .into_iter()
                .enumerate()
                .fold(Default::default(), |(mut kept, mut old), (at, id)| {
                    if at < excess && !ids.contains(&id) {
                        old.push(id)
                    } else {
                        kept.push_back(id)
                    }
                    (kept, old)
                });
            self.removed = kept;
            for id in old {
                self.known.remove(&id);
                self.unnamed.remove(&id);
                self.note(Change::Forgotten(id));
            }
        }
        let known = ids.iter().filter_map(|id| Some((*id, Arc::clone(self.known.get(id)?))));
        Arc::new(known.collect())
    }

    /// The containers whose names have to be looked up, by the id of a cgroup. Returns each
    /// container once.
    pub(super) fn nameless(&mut self) -> Vec<(u64, Container)> {
        let container = |id: u64| {
            let cgroup = self.known.get(&id)?;
            Some((id, cgroup.placement.container.clone()?))
        };
        mem::take(&mut self.nameless).into_iter().filter_map(container).collect()
    }

    /// Looks up the names of all containers at once, which can take a while.
    pub(super) fn look_up(&mut self, names: &mut Names) {
        for (id, container) in self.nameless() {
            let named = names.of(&container).clone();
            self.name(id, named);
        }
    }

    /// Sets the names of the container of a cgroup.
    pub(super) fn name(&mut self, id: u64, named: Named) {
        if self.unnamed.remove(&id) {
            self.note(Change::Known(id));
        }
        if let Some(cgroup) = self.known.get_mut(&id)
            && cgroup.named != named
        {
            Arc::make_mut(cgroup).named = named;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(id: u64, happened: Happened, path: &str) -> Vec<u8> {
        let mut bytes = id.to_ne_bytes().to_vec();
        bytes.extend((happened as u32).to_ne_bytes());
        bytes.extend((path.len() as u32).to_ne_bytes());
        bytes.extend(path.as_bytes());
        // The ring buffer pads to eight bytes.
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes
    }

    fn shown(paths: &mut Paths, ids: &[u64]) -> Vec<String> {
        let known = paths.of(ids.iter().copied());
        let mark = |cgroup: &Cgroup| if cgroup.removed { " removed" } else { "" };
        known.iter().map(|(id, c)| format!("{id} {}{}", c.path, mark(c))).collect()
    }

    #[test]
    fn events_make_rename_and_remove() {
        let mut paths = Paths::default();
        paths.add(1, "/");
        paths.learn(&event(7, Happened::Made, "/a"));
        paths.learn(&event(8, Happened::Made, "/a/b"));
        paths.learn(&event(9, Happened::Made, "/ab"));
        assert_eq!(shown(&mut paths, &[1, 7, 8, 9, 10]), ["1 /", "7 /a", "8 /a/b", "9 /ab"]);
        paths.learn(&event(7, Happened::Renamed, "/c"));
        assert_eq!(shown(&mut paths, &[7, 8, 9]), ["7 /c", "8 /c/b", "9 /ab"]);
        paths.learn(&event(8, Happened::Removed, "/c/b"));
        paths.learn(&event(5, Happened::Removed, "/unknown"));
        assert_eq!(shown(&mut paths, &[5, 8]), ["5 /unknown removed", "8 /c/b removed"]);
        // A removed cgroup keeps its path.
        paths.learn(&event(7, Happened::Renamed, "/d"));
        assert_eq!(shown(&mut paths, &[7, 8]), ["7 /d", "8 /c/b removed"]);
    }

    #[test]
    fn what_is_no_event_is_ignored() {
        let mut paths = Paths::default();
        let whole = event(7, Happened::Made, "/a");
        for len in 0..HEADER {
            paths.learn(&whole[..len]);
        }
        let mut other = whole.clone();
        other[8] = 9;
        paths.learn(&other);
        assert!(shown(&mut paths, &[7]).is_empty());
        // A length beyond the end of the event is capped.
        let mut long = whole;
        long[12] = 200;
        paths.learn(&long);
        assert_eq!(shown(&mut paths, &[7]).len(), 1);
    }

    #[test]
    fn removed_cgroups_are_bounded_and_kept_while_needed() {
        let mut paths = Paths::default();
        for id in 1..=2 * MAX_REMOVED as u64 {
            paths.learn(&event(id, Happened::Made, &format!("/{id}")));
            paths.learn(&event(id, Happened::Removed, &format!("/{id}")));
        }
        assert_eq!(shown(&mut paths, &[1]), ["1 /1 removed"]);
        assert!(paths.known.len() <= MAX_REMOVED + 1);
        assert_eq!(shown(&mut paths, &[1, 2]), ["1 /1 removed"]);
    }

    #[test]
    fn each_container_is_asked_for_once() {
        let mut paths = Paths::default();
        let id = "3f4a0c0b8f0d4e1c9a7b6c5d4e3f2a1b0c9d8e7f6a5b4c3d2e1f0a9b8c7d6e5f";
        paths.learn(&event(3, Happened::Made, &format!("/docker/{id}")));
        paths.learn(&event(4, Happened::Made, "/system.slice/a.service"));
        let asked = paths.nameless();
        assert_eq!(asked.len(), 1);
        assert!(paths.nameless().is_empty());
        paths.name(3, Named { container: Some("web".into()), ..Named::default() });
        let known = paths.of([3].into_iter());
        assert_eq!(known[&3].named.container.as_ref().map(Untrusted::raw), Some("web"));
    }
}
