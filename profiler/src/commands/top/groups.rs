//! The rows of processes, threads and sites. Each live process or thread has a row. Ended processes
//! or threads of the same name share a row.
//!
//! A fork storm ends thousands of processes in each interval. A row for each would fill the
//! screen, so ended processes of one name share a row.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Range,
    sync::Arc,
};

use super::{
    owner::{Owner, Part, has_ended},
    sites::{self, Site},
    view::ProcessId,
};
use crate::model::{
    CallRow, Dimension, ENDED_COMM, Figures, Process, ProcessRow, Snapshot, Span, ThreadRow,
};

/// A process, a thread, several ended processes or threads of the same name, or a site.
#[derive(Clone, Debug)]
pub(super) struct Group {
    /// The process or thread. For several processes, a process with their name and without an id.
    pub(super) owner: Owner,
    /// The syscalls, by key.
    pub(super) calls: Arc<Vec<CallRow>>,
    /// Number of processes or threads in the group. 0 if the number is unknown. For a site, number
    /// of processes that have not ended.
    pub(super) members: usize,
}

impl Group {
    fn one(row: &ProcessRow) -> Self {
        let owner = Arc::clone(&row.process).into();
        Self { owner, calls: Arc::clone(&row.calls), members: 1 }
    }

    fn of_part(process: &Arc<Process>, part: Part, row: &ThreadRow) -> Self {
        let owner = Owner { process: Arc::clone(process), part, site: None };
        Self { owner, calls: Arc::clone(&row.calls), members: 1 }
    }

    /// The group of `owner`, if `snapshot` has that process, thread or site.
    fn find(snapshot: &Snapshot, owner: &Owner) -> Option<Self> {
        match &owner.site {
            None => Self::find_in(&snapshot.processes, owner),
            Some(site) if owner.part == Part::All => site.group(snapshot),
            Some(site) => Self::find_in(&site.rows(snapshot), owner).map(|mut group| {
                group.owner.site = Some(site.clone());
                group
            }),
        }
    }

    fn find_in(rows: &[ProcessRow], owner: &Owner) -> Option<Self> {
        let is_process =
            |row: &&ProcessRow| ProcessId::from(&*row.process) == ProcessId::from(&*owner.process);
        let row = rows.iter().find(is_process)?;
        match &owner.part {
            Part::Whole => Some(Self::one(row)),
            Part::Thread(wanted) => row.threads.iter().find_map(|thread_row| {
                let thread = thread_row.thread.as_ref()?;
                let part = Part::Thread(Arc::clone(thread));
                (thread.serial == wanted.serial)
                    .then(|| Self::of_part(&row.process, part, thread_row))
            }),
            Part::Ended(_) | Part::All => None,
        }
    }

    fn is_idle(&self) -> bool {
        is_idle(&self.calls)
    }

    /// The same group after it has left the list: ended, and without calls in the interval.
    fn departed(&self) -> Self {
        let mut group = self.clone();
        group.owner.end();
        if !group.is_idle() {
            let calls = Arc::make_mut(&mut group.calls);
            calls.iter_mut().for_each(|row| row.recent = Figures::default());
        }
        group
    }
}

/// What the views show, beside the rows of all processes.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted {
    /// Owners that are opened.
    pub(super) owners: Vec<Owner>,
    /// The dimension of the list of sites.
    pub(super) sites: Option<Dimension>,
    /// The site whose processes are listed.
    pub(super) site: Option<Site>,
}

/// The rows of a list of processes, and of the list of their threads, as indexes.
#[derive(Clone, Debug, Default)]
struct Listing {
    processes: Range<usize>,
    threads: Vec<usize>,
}

/// The rows of a snapshot.
#[derive(Clone, Debug, Default)]
pub(super) struct Groups {
    all: Vec<Group>,
    /// The rows of all processes.
    everywhere: Listing,
    /// The rows of the processes in a site.
    in_site: Option<(Site, Listing)>,
    /// The rows of sites.
    sites: Range<usize>,
}

impl Groups {
    /// The rows of `snapshot` over `span`.
    ///
    /// - Over the interval, processes that ended in the interval share a row by name. Processes that
    ///   ended earlier have no row.
    /// - Since the start, all ended processes share the row `(ended)`.
    ///
    /// Ended threads of a process share rows in the same way.
    ///
    /// [`Self::find`] finds all owners that are wanted, even without a row. If the snapshot lacks an
    /// owner, its group comes from the rows `before`.
    pub(super) fn new(snapshot: &Snapshot, span: Span, wanted: &Wanted, before: &Self) -> Self {
        let mut groups = Self::default();
        groups.everywhere = groups.add_processes(&snapshot.processes, span, None);
        groups.in_site = wanted.site.as_ref().map(|site| {
            let rows = site.rows(snapshot);
            (site.clone(), groups.add_processes(&rows, span, Some(site)))
        });
        let first = groups.all.len();
        if let Some(dimension) = wanted.sites {
            groups.all.extend(sites::list(snapshot, dimension, span));
        }
        groups.sites = first..groups.all.len();
        for owner in &wanted.owners {
            let known = groups.position(owner);
            // The row of a site has only the figures of the span.
            if known.is_some() && owner.part != Part::All {
                continue;
            }
            let group = Group::find(snapshot, owner);
            let group = group.or_else(|| before.find(owner).map(Group::departed));
            match (known, group) {
                (Some(at), Some(group)) => groups.all[at] = group,
                (None, group) => groups.all.extend(group),
                (Some(_), None) => {}
            }
        }
        groups
    }

    /// Adds rows for these processes and their threads.
    fn add_processes(&mut self, rows: &[ProcessRow], span: Span, site: Option<&Site>) -> Listing {
        let all = &mut self.all;
        let first = all.len();
        // The processes that have a row of their own.
        let mut alone: Vec<&ProcessRow> = Vec::new();
        let mut ended: HashMap<&str, Vec<&ProcessRow>> = HashMap::new();
        for row in rows {
            let process = &row.process;
            match (has_ended(process), span) {
                (false, _) => alone.push(row),
                (true, Span::Recent) if is_idle(&row.calls) => {}
                (true, Span::Recent) => ended.entry(process.comm.raw()).or_default().push(row),
                (true, Span::Total) => ended.entry(ENDED_COMM).or_default().push(row),
            }
        }
        let mut several = Vec::new();
        for (name, rows) in ended {
            match rows[..] {
                [one] if one.process.tgid.is_some() && name != ENDED_COMM => alone.push(one),
                _ => several.push(sum_of_processes(name, &rows)),
            }
        }
        all.extend(alone.iter().map(|row| Group::one(row)));
        all.extend(several);
        let last = all.len();
        let mut threads = Vec::new();
        for (at, row) in (first..).zip(&alone) {
            if are_threads_known(row, span) {
                let first = all.len();
                add_threads(all, row, span);
                threads.extend(first..all.len());
            } else {
                threads.push(at);
            }
        }
        threads.extend(first + alone.len()..last);
        if let Some(site) = site {
            all[first..].iter_mut().for_each(|group| group.owner.site = Some(site.clone()));
        }
        Listing { processes: first..last, threads }
    }

    /// The rows of processes in `site`, or of all processes.
    fn listing(&self, site: Option<&Site>) -> Option<&Listing> {
        match (site, &self.in_site) {
            (None, _) => Some(&self.everywhere),
            (Some(site), Some((known, listing))) if site == known => Some(listing),
            (Some(_), _) => None,
        }
    }

    /// The rows of all processes.
    #[cfg(test)]
    pub(super) fn listed(&self) -> &[Group] {
        &self.all[self.everywhere.processes.clone()]
    }

    /// The rows of processes in `site`, or of all processes, with their indexes.
    pub(super) fn processes(&self, site: Option<&Site>) -> impl Iterator<Item = (usize, &Group)> {
        let range = self.listing(site).map_or(0..0, |listing| listing.processes.clone());
        range.map(|at| (at, &self.all[at]))
    }

    /// The rows of threads in `site`, or of all threads, with their indexes. A process whose threads
    /// are not known has one row, and so have several ended processes. So the rows always sum up to
    /// those of the processes.
    pub(super) fn threads(&self, site: Option<&Site>) -> impl Iterator<Item = (usize, &Group)> {
        let threads = self.listing(site).map_or(&[][..], |listing| &listing.threads);
        threads.iter().map(|&at| (at, &self.all[at]))
    }

    /// The rows of sites, with their indexes.
    pub(super) fn sites(&self) -> impl Iterator<Item = (usize, &Group)> {
        self.sites.clone().map(|at| (at, &self.all[at]))
    }

    /// The group at `index`, listed or not.
    pub(super) fn at(&self, index: usize) -> &Group {
        &self.all[index]
    }

    /// The index of the group of `owner`, listed or not.
    pub(super) fn position(&self, owner: &Owner) -> Option<usize> {
        let id = owner.id();
        self.all.iter().position(|group| group.owner.id() == id)
    }

    /// The group of `owner`, listed or not.
    pub(super) fn find(&self, owner: &Owner) -> Option<&Group> {
        self.position(owner).map(|index| self.at(index))
    }
}

fn is_idle(calls: &[CallRow]) -> bool {
    calls.iter().all(|row| row.recent.is_empty())
}

/// Whether the rows of the threads of a process include all of its calls. If threads were first
/// requested within the interval, it is unknown which threads made the calls of the interval.
fn are_threads_known(row: &ProcessRow, span: Span) -> bool {
    let add = |(calls, left, ns): (u64, u64, u64), row: &CallRow| {
        let figures = span.of(row);
        (calls + figures.calls, left + figures.left(), ns + figures.total_ns)
    };
    let of_threads = row.threads.iter().flat_map(|thread| thread.calls.iter());
    !row.threads.is_empty()
        && of_threads.fold((0, 0, 0), add) == row.calls.iter().fold((0, 0, 0), add)
}

/// Adds the rows of the threads of a process.
fn add_threads(all: &mut Vec<Group>, row: &ProcessRow, span: Span) {
    let mut ended: BTreeMap<&str, Vec<&ThreadRow>> = BTreeMap::new();
    for thread_row in &row.threads {
        match (&thread_row.thread, span) {
            (Some(thread), _) if !thread.ended => {
                let part = Part::Thread(Arc::clone(thread));
                all.push(Group::of_part(&row.process, part, thread_row));
            }
            (_, Span::Recent) if is_idle(&thread_row.calls) => {}
            (Some(thread), Span::Recent) => {
                ended.entry(thread.comm.raw()).or_default().push(thread_row);
            }
            _ => ended.entry(ENDED_COMM).or_default().push(thread_row),
        }
    }
    all.extend(ended.into_iter().map(|(name, rows)| match rows[..] {
        [ThreadRow { thread: Some(thread), .. }] if name != ENDED_COMM => {
            Group::of_part(&row.process, Part::Thread(Arc::clone(thread)), rows[0])
        }
        _ => Group {
            owner: Owner {
                process: Arc::clone(&row.process),
                part: Part::Ended(name.into()),
                site: None,
            },
            calls: Arc::new(sum(rows.iter().map(|row| &row.calls[..]))),
            members: if name == ENDED_COMM { 0 } else { rows.len() },
        },
    }));
}

/// One row for several processes.
fn sum_of_processes(name: &str, rows: &[&ProcessRow]) -> Group {
    let is_known = name != ENDED_COMM;
    Group {
        owner: Arc::new(Process::nobody(name).into_ended()).into(),
        calls: Arc::new(sum(rows.iter().map(|row| &row.calls[..]))),
        members: if is_known { rows.len() } else { 0 },
    }
}

/// The rows of several processes or threads, added up by key.
pub(super) fn sum<'a>(rows: impl Iterator<Item = &'a [CallRow]>) -> Vec<CallRow> {
    let mut calls: Vec<CallRow> = Vec::new();
    for row in rows.flatten() {
        match calls.binary_search_by_key(&row.key, |sum| sum.key) {
            Ok(at) => {
                calls[at].total.merge(&row.total);
                calls[at].recent.merge(&row.recent);
            }
            Err(at) => calls.insert(at, row.clone()),
        }
    }
    calls
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::top::fixtures::{self, call, process, row};

    fn ended(pid: u32, comm: &str) -> Arc<Process> {
        Arc::new((*process(pid, comm)).clone().into_ended())
    }

    /// A shell that has started three processes that ended in the interval, and one before.
    fn storm() -> Snapshot {
        let mut old = row(call("read"), 5, 100);
        old.recent = Figures::default();
        let older = Arc::new(Process::nobody(ENDED_COMM));
        fixtures::snapshot(
            9,
            vec![
                (process(10, "bash"), vec![row(call("read"), 7, 100)]),
                (ended(11, "true"), vec![row(call("execve"), 1, 900)]),
                (ended(12, "true"), vec![row(call("openat"), 3, 40), row(call("execve"), 1, 700)]),
                (ended(13, "sed"), vec![row(call("read"), 2, 50)]),
                (ended(14, "sleep"), vec![old]),
                (older, vec![row(call("read"), 3, 100)]),
            ],
        )
    }

    fn named(groups: &Groups, span: Span) -> Vec<(String, Option<u32>, usize, u64)> {
        let calls = |group: &Group| group.calls.iter().map(|row| span.of(row).calls).sum();
        let mut named: Vec<_> = (groups.listed().iter())
            .map(|g| (g.owner.process.comm.to_string(), g.owner.process.tgid, g.members, calls(g)))
            .collect();
        named.sort();
        named
    }

    #[test]
    fn processes_that_ended_in_the_interval_share_a_row_by_name() {
        let groups = Groups::new(&storm(), Span::Recent, &Wanted::default(), &Groups::default());
        let of = |name: &str, pid, processes, calls| (name.to_owned(), pid, processes, calls);
        assert_eq!(
            named(&groups, Span::Recent),
            [
                of(ENDED_COMM, None, 0, 3),
                of("bash", Some(10), 1, 7),
                of("sed", Some(13), 1, 2),
                of("true", None, 2, 5),
            ]
        );
    }

    #[test]
    fn since_the_start_all_ended_processes_are_one_row() {
        let groups = Groups::new(&storm(), Span::Total, &Wanted::default(), &Groups::default());
        let of = |name: &str, pid, processes, calls| (name.to_owned(), pid, processes, calls);
        assert_eq!(
            named(&groups, Span::Total),
            [of(ENDED_COMM, None, 0, 10 + 30 + 10 + 20 + 50 + 30), of("bash", Some(10), 1, 70)]
        );
    }

    /// The rows of processes add up to the rows of syscalls, in both spans.
    #[test]
    fn sums_stay_exact() {
        let snapshot = storm();
        for span in [Span::Recent, Span::Total] {
            let groups = Groups::new(&snapshot, span, &Wanted::default(), &Groups::default());
            let sum = |rows: &[CallRow]| rows.iter().map(|row| span.of(row).calls).sum::<u64>();
            let by_process: u64 = groups.listed().iter().map(|group| sum(&group.calls)).sum();
            assert_eq!(by_process, sum(&snapshot.calls), "{span:?}");
        }
    }

    #[test]
    fn an_opened_process_is_found_after_it_has_left_the_list() {
        let opened = Owner::from(process(11, "true"));
        let wanted = Wanted { owners: vec![opened.clone()], ..Wanted::default() };
        let first = Groups::new(&storm(), Span::Recent, &wanted, &Groups::default());
        assert_eq!((first.listed().len(), first.find(&opened).unwrap().members), (4, 1));
        let mut later = storm();
        later.processes.retain(|row| row.process.tgid != Some(11));
        let second = Groups::new(&later, Span::Recent, &wanted, &first);
        let group = second.find(&opened).unwrap();
        assert!(group.owner.process.ended && group.is_idle());
        assert_eq!(group.calls[0].total.calls, 10);
        assert!(second.listed().iter().all(|group| group.owner.process.tgid != Some(11)));
    }

    #[test]
    fn rows_without_a_process_id_are_told_apart_by_name() {
        let groups = Groups::new(&storm(), Span::Recent, &Wanted::default(), &Groups::default());
        let ids: std::collections::HashSet<_> =
            groups.listed().iter().map(|group| ProcessId::from(&*group.owner.process)).collect();
        assert_eq!(ids.len(), groups.listed().len());
    }
}
