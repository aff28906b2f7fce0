//! Sites: the containers, pods, systemd units or cgroups in which calls are made.
//!
//! A call belongs to the cgroup in which it entered. So a process that moved, or whose threads are in
//! several cgroups, has calls in several sites, and each site has only its own calls. The sum over
//! all sites of a dimension, including the calls that are in none, is the sum over all processes.

use std::{
    borrow::Cow,
    collections::{HashMap, hash_map::Entry},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::Arc,
};

use super::{
    groups::{Group, sum},
    owner::{Owner, Part, has_ended},
};
use crate::{
    model::{
        CallRow, CgroupRow, Dimension, Figures, Process, ProcessRow, Snapshot, Span, ThreadRow,
    },
    present::rows::Place,
};

/// The dimensions that lists of sites have, in the order of the key.
pub(super) const DIMENSIONS: [Dimension; 4] =
    [Dimension::Container, Dimension::Pod, Dimension::Unit, Dimension::Cgroup];

/// A container, pod, unit or cgroup, or none of that kind.
#[derive(Clone, Debug)]
pub(super) struct Site {
    /// What the site is.
    pub(super) dimension: Dimension,
    /// A cgroup of the site.
    place: Place,
}

/// Identifies a site in all snapshots.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct SiteId(u64);

impl PartialEq for Site {
    fn eq(&self, other: &Self) -> bool {
        self.dimension == other.dimension
            && self.place.id(self.dimension) == other.place.id(other.dimension)
    }
}

impl Eq for Site {}

impl Site {
    /// The site of a cgroup.
    fn of(snapshot: &Snapshot, dimension: Dimension, cgroup: u64) -> Self {
        let place = Place { id: cgroup, cgroup: snapshot.cgroups.get(&cgroup).cloned() };
        Self { dimension, place }
    }

    /// The identity of the site.
    pub(super) fn id(&self) -> SiteId {
        let mut hasher = DefaultHasher::new();
        (self.dimension, self.place.id(self.dimension)).hash(&mut hasher);
        SiteId(hasher.finish())
    }

    /// The name. `None` for the calls that are in no site of the dimension.
    pub(super) fn name(&self) -> Option<String> {
        self.place.name(self.dimension)
    }

    /// The name, as in the title of a view.
    pub(super) fn title(&self) -> String {
        self.name().unwrap_or_else(|| format!("no {}", self.dimension.name()))
    }

    /// The text that a filter searches: the name, and the path that has the ids.
    pub(super) fn text(&self) -> String {
        let path = self.place.cgroup.as_ref().map_or_else(String::new, |c| c.path.to_string());
        match self.name() {
            Some(name) => format!("{name} {path}"),
            // The paths of all other cgroups.
            None => self.title(),
        }
    }

    /// Whether the cgroup was removed.
    fn is_removed(&self) -> bool {
        self.place.cgroup.as_ref().is_some_and(|cgroup| cgroup.removed)
    }

    /// Whether the runtime's name is known.
    fn is_named(&self) -> bool {
        self.place.cgroup.as_ref().is_some_and(|cgroup| cgroup.named != Default::default())
    }

    /// The rows of `snapshot`, each with only its calls in the site. Omits processes that were never
    /// in the site.
    pub(super) fn rows(&self, snapshot: &Snapshot) -> Vec<ProcessRow> {
        let mut known: HashMap<u64, bool> = HashMap::new();
        let mut contains = |cgroup: u64| {
            *known
                .entry(cgroup)
                .or_insert_with(|| Self::of(snapshot, self.dimension, cgroup) == *self)
        };
        (snapshot.processes.iter())
            .filter_map(|row| {
                let calls = calls_in(parts(row.cgroup, &row.calls, &row.cgroups), &mut contains)?;
                let in_site = |row: &ThreadRow| {
                    let parts = parts(row.cgroup, &row.calls, &row.cgroups);
                    let calls = calls_in(parts, &mut contains)?;
                    Some(ThreadRow::new(row.thread.clone(), calls))
                };
                let threads = row.threads.iter().filter_map(in_site).collect();
                let process = Arc::clone(&row.process);
                Some(ProcessRow { calls, threads, ..ProcessRow::new(process, Vec::new()) })
            })
            .collect()
    }

    /// The site as one row, with the figures of both spans. `None` if no process was in the site.
    pub(super) fn group(&self, snapshot: &Snapshot) -> Option<Group> {
        let rows = self.rows(snapshot);
        if rows.is_empty() {
            return None;
        }
        let members = rows.iter().filter(|row| !has_ended(&row.process)).count();
        let calls = sum(rows.iter().map(|row| &row.calls[..]));
        let mut cgroups = (snapshot.cgroups.iter())
            .map(|(&id, _)| Self::of(snapshot, self.dimension, id))
            .filter(|site| site == self)
            .peekable();
        let is_removed = cgroups.peek().is_some() && cgroups.all(|site| site.is_removed());
        Some(Group { owner: self.owner(is_removed), calls: Arc::new(calls), members })
    }

    /// All processes of the site.
    pub(super) fn owner(&self, is_removed: bool) -> Owner {
        let process = Process::nobody(&self.title());
        let process = if is_removed { process.into_ended() } else { process };
        Owner { process: Arc::new(process), part: Part::All, site: Some(self.clone()) }
    }
}

/// The calls of an owner by cgroup, also if all are of one.
fn parts<'a>(
    cgroup: u64,
    calls: &'a Arc<Vec<CallRow>>,
    cgroups: &'a [CgroupRow],
) -> impl Iterator<Item = Cow<'a, CgroupRow>> {
    let one = || Cow::Owned(CgroupRow { cgroup, calls: Arc::clone(calls) });
    cgroups.iter().map(Cow::Borrowed).chain(cgroups.is_empty().then(one))
}

/// The calls in some cgroups. `None` without such a cgroup.
fn calls_in<'a>(
    parts: impl Iterator<Item = Cow<'a, CgroupRow>>,
    mut contains: impl FnMut(u64) -> bool,
) -> Option<Arc<Vec<CallRow>>> {
    let parts: Vec<_> = parts.filter(|part| contains(part.cgroup)).collect();
    match &parts[..] {
        [] => None,
        [one] => Some(Arc::clone(&one.calls)),
        several => Some(Arc::new(sum(several.iter().map(|part| &part.calls[..])))),
    }
}

/// What is added up for a site.
struct Sum {
    site: Site,
    calls: Vec<CallRow>,
    /// Processes that have not ended.
    alive: usize,
    /// The last process that was added, by its index.
    last: Option<usize>,
    is_removed: bool,
}

/// The rows of a list of sites over `span`. Only the figures of `span` are set.
///
/// - Over the interval: sites with a call in the interval, and sites with a process that has not
///   ended unless the site was removed.
/// - Since the start: all sites.
pub(super) fn list(snapshot: &Snapshot, dimension: Dimension, span: Span) -> Vec<Group> {
    let mut sums: Vec<Sum> = Vec::new();
    let mut by_cgroup: HashMap<u64, usize> = HashMap::new();
    let mut by_id: HashMap<SiteId, usize> = HashMap::new();
    let mut place_of = |sums: &mut Vec<Sum>, cgroup: u64| match by_cgroup.entry(cgroup) {
        Entry::Occupied(known) => *known.get(),
        Entry::Vacant(new) => {
            let site = Site::of(snapshot, dimension, cgroup);
            let is_removed = site.is_removed();
            let at = *by_id.entry(site.id()).or_insert(sums.len());
            match sums.get_mut(at) {
                Some(sum) => {
                    sum.is_removed &= is_removed;
                    if site.is_named() && !sum.site.is_named() {
                        sum.site = site;
                    }
                }
                None => {
                    sums.push(Sum { site, calls: Vec::new(), alive: 0, last: None, is_removed });
                }
            }
            *new.insert(at)
        }
    };
    for (index, row) in snapshot.processes.iter().enumerate() {
        let is_alive = !has_ended(&row.process);
        for part in parts(row.cgroup, &row.calls, &row.cgroups) {
            let at = place_of(&mut sums, part.cgroup);
            let sum = &mut sums[at];
            if sum.last.replace(index) != Some(index) {
                sum.alive += usize::from(is_alive);
            }
            part.calls.iter().for_each(|row| add(&mut sum.calls, row, span));
        }
    }
    sums.retain(|sum| !sum.calls.is_empty() || (sum.alive > 0 && !sum.is_removed));
    sums.into_iter()
        .map(|Sum { site, calls, alive, is_removed, .. }| Group {
            owner: site.owner(is_removed),
            calls: Arc::new(calls),
            members: alive,
        })
        .collect()
}

/// Adds the figures of `span` to the row of the same key. Adds nothing if there is nothing.
fn add(calls: &mut Vec<CallRow>, row: &CallRow, span: Span) {
    let new = span.of(row);
    if new.is_empty() {
        return;
    }
    let at = calls.binary_search_by_key(&row.key, |sum| sum.key).unwrap_or_else(|at| {
        calls.insert(at, CallRow::new(row.key, Figures::default()));
        at
    });
    match span {
        Span::Total => calls[at].total.merge(new),
        Span::Recent => calls[at].recent.merge(new),
    }
}
