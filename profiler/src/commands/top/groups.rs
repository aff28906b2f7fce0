//! The rows of processes: each live process alone, and processes that have ended by their name.
//!
//! A fork storm ends thousands of processes in each interval. A row for each would fill the
//! screen, so ended processes of one name share a row.

use std::{collections::HashMap, sync::Arc};

use super::view::ProcessId;
use crate::model::{CallRow, ENDED_COMM, Process, ProcessRow, Snapshot, Span};

/// A process, or several that have ended and had the same name.
#[derive(Clone, Debug)]
pub(super) struct Group {
    /// The process. For several, a process without an id that has their name.
    pub(super) process: Arc<Process>,
    /// Its system calls, by key.
    pub(super) calls: Arc<Vec<CallRow>>,
    /// How many processes it stands for; 0 if that is not known.
    pub(super) processes: usize,
}

impl Group {
    fn one(row: &ProcessRow) -> Self {
        Self { process: Arc::clone(&row.process), calls: Arc::clone(&row.calls), processes: 1 }
    }

    fn is_idle(&self) -> bool {
        is_idle(&self.calls)
    }

    /// The same process after it has left the list: it has ended, and does nothing any more.
    fn departed(&self) -> Self {
        let mut group = self.clone();
        Arc::make_mut(&mut group.process).ended = true;
        if !group.is_idle() {
            let calls = Arc::make_mut(&mut group.calls);
            calls.iter_mut().for_each(|row| row.recent = crate::model::Figures::default());
        }
        group
    }
}

/// The rows of a snapshot.
#[derive(Clone, Debug, Default)]
pub(super) struct Groups {
    all: Vec<Group>,
    listed: usize,
}

impl Groups {
    /// The rows of `snapshot` over `span`.
    ///
    /// - Over the interval, processes that ended in it share a row by name. A process that ended
    ///   before it has no row.
    /// - Since the start, all ended processes share the row `(ended)`.
    ///
    /// The processes `opened` are found by [`Self::find`] even if they have no row. A process
    /// that the snapshot lacks is taken from the rows `before`.
    pub(super) fn new(
        snapshot: &Snapshot,
        span: Span,
        opened: &[Arc<Process>],
        before: &Self,
    ) -> Self {
        let mut all = Vec::new();
        let mut ended: HashMap<&str, Vec<&ProcessRow>> = HashMap::new();
        for row in &snapshot.processes {
            let process = &row.process;
            match (has_ended(process), span) {
                (false, _) => all.push(Group::one(row)),
                (true, Span::Recent) if is_idle(&row.calls) => {}
                (true, Span::Recent) => ended.entry(process.comm.raw()).or_default().push(row),
                (true, Span::Total) => ended.entry(ENDED_COMM).or_default().push(row),
            }
        }
        all.extend(ended.into_iter().map(|(name, rows)| match rows[..] {
            [one] if one.process.tgid.is_some() && name != ENDED_COMM => Group::one(one),
            _ => sum(name, &rows),
        }));
        let listed = all.len();
        let mut groups = Self { all, listed };
        for process in opened {
            if groups.find(process).is_some() {
                continue;
            }
            let id = ProcessId::from(&**process);
            let row = snapshot.processes.iter().find(|row| ProcessId::from(&*row.process) == id);
            let group = row.map(Group::one).or_else(|| before.find(process).map(Group::departed));
            groups.all.extend(group);
        }
        groups
    }

    /// The rows that are listed.
    pub(super) fn listed(&self) -> &[Group] {
        &self.all[..self.listed]
    }

    /// The row at `index`, listed or not.
    pub(super) fn at(&self, index: usize) -> &Group {
        &self.all[index]
    }

    /// The index of the row of `process`, listed or not.
    pub(super) fn position(&self, process: &Process) -> Option<usize> {
        let id = ProcessId::from(process);
        self.all.iter().position(|group| ProcessId::from(&*group.process) == id)
    }

    /// The row of `process`, listed or not.
    pub(super) fn find(&self, process: &Process) -> Option<&Group> {
        self.position(process).map(|index| self.at(index))
    }
}

/// Whether a process has ended, or stands for processes that have.
pub(super) fn has_ended(process: &Process) -> bool {
    process.ended || process.tgid.is_none() && process.comm.raw() == ENDED_COMM
}

fn is_idle(calls: &[CallRow]) -> bool {
    calls.iter().all(|row| row.recent.is_empty())
}

/// One row for `rows`.
fn sum(name: &str, rows: &[&ProcessRow]) -> Group {
    let mut calls: Vec<CallRow> = Vec::new();
    for row in rows.iter().flat_map(|row| row.calls.iter()) {
        match calls.binary_search_by_key(&row.key, |sum| sum.key) {
            Ok(at) => {
                calls[at].total.merge(&row.total);
                calls[at].recent.merge(&row.recent);
            }
            Err(at) => calls.insert(at, row.clone()),
        }
    }
    let is_known = name != ENDED_COMM;
    let process = Process::nobody(name).into_ended();
    Group {
        process: Arc::new(process),
        calls: Arc::new(calls),
        processes: if is_known { rows.len() } else { 0 },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        commands::top::fixtures::{self, call, process, row},
        model::Figures,
    };

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
            .map(|g| (g.process.comm.to_string(), g.process.tgid, g.processes, calls(g)))
            .collect();
        named.sort();
        named
    }

    #[test]
    fn processes_that_ended_in_the_interval_share_a_row_by_name() {
        let groups = Groups::new(&storm(), Span::Recent, &[], &Groups::default());
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
        let groups = Groups::new(&storm(), Span::Total, &[], &Groups::default());
        let of = |name: &str, pid, processes, calls| (name.to_owned(), pid, processes, calls);
        assert_eq!(
            named(&groups, Span::Total),
            [of(ENDED_COMM, None, 0, 10 + 30 + 10 + 20 + 50 + 30), of("bash", Some(10), 1, 70)]
        );
    }

    /// The rows of processes add up to the rows of system calls, in both spans.
    #[test]
    fn sums_stay_exact() {
        let snapshot = storm();
        for span in [Span::Recent, Span::Total] {
            let groups = Groups::new(&snapshot, span, &[], &Groups::default());
            let sum = |rows: &[CallRow]| rows.iter().map(|row| span.of(row).calls).sum::<u64>();
            let by_process: u64 = groups.listed().iter().map(|group| sum(&group.calls)).sum();
            assert_eq!(by_process, sum(&snapshot.calls), "{span:?}");
        }
    }

    #[test]
    fn an_opened_process_is_found_after_it_has_left_the_list() {
        let opened = [process(11, "true")];
        let first = Groups::new(&storm(), Span::Recent, &opened, &Groups::default());
        assert_eq!((first.listed().len(), first.find(&opened[0]).unwrap().processes), (4, 1));
        let mut later = storm();
        later.processes.retain(|row| row.process.tgid != Some(11));
        let second = Groups::new(&later, Span::Recent, &opened, &first);
        let group = second.find(&opened[0]).unwrap();
        assert!(group.process.ended && group.is_idle());
        assert_eq!(group.calls[0].total.calls, 10);
        assert!(second.listed().iter().all(|group| group.process.tgid != Some(11)));
    }

    #[test]
    fn rows_without_a_process_id_are_told_apart_by_name() {
        let groups = Groups::new(&storm(), Span::Recent, &[], &Groups::default());
        let ids: std::collections::HashSet<_> =
            groups.listed().iter().map(|group| ProcessId::from(&*group.process)).collect();
        assert_eq!(ids.len(), groups.listed().len());
    }
}
