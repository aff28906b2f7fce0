//! The difference between two snapshots. Snapshots are cumulative, so each consumer makes intervals
//! of its own: it keeps the snapshot that it showed last.

use std::{collections::HashMap, iter, sync::Arc};

use super::{CallRow, CgroupRow, ENDED_COMM, Figures, Process, ProcessRow, Snapshot, ThreadRow};

impl Snapshot {
    /// The same snapshot, with the interval since `previous`: the length in
    /// [`interval`](Snapshot::interval), and the figures in [`recent`](CallRow::recent). Without a
    /// previous snapshot, the interval began at the attach.
    ///
    /// If a process has left the list since `previous`, its calls of the interval are in the row of
    /// ended processes.
    #[must_use]
    pub fn since(mut self, previous: Option<&Self>) -> Self {
        self.io_uring.set_recent(previous.map(|previous| &previous.io_uring));
        self.failures.set_recent(previous.map(|previous| &previous.failures));
        let Some(previous) = previous else {
            self.interval = self.window;
            self.calls.iter_mut().for_each(begin_row);
            for process in &mut self.processes {
                begin(&mut process.calls, &mut process.cgroups);
                begin_threads(&mut process.threads);
            }
            return self;
        };
        self.interval = self.window.saturating_sub(previous.window);
        set_recent(&mut self.calls, &previous.calls);
        let mut before: HashMap<_, _> =
            previous.processes.iter().map(|row| (name(&row.process), row)).collect();
        let mut ended = None;
        for row in &mut self.processes {
            if is_ended_row(&row.process) {
                ended = Some(row);
                continue;
            }
            let old = before.get(&name(&row.process)).copied();
            let old = old.filter(|old| !has_begun_anew(&old.calls, &row.calls));
            if old.is_some() {
                before.remove(&name(&row.process));
            }
            match old {
                Some(old) => {
                    set_recent_of_owner(&mut row.calls, &mut row.cgroups, of_process(old));
                    set_recent_of_threads(&mut row.threads, old);
                }
                None => {
                    begin(&mut row.calls, &mut row.cgroups);
                    begin_threads(&mut row.threads);
                }
            }
        }
        if let Some(row) = ended {
            // The engine has added the rest to this row.
            let old: Vec<_> = before.into_values().map(of_process).collect();
            set_recent_of_ended(&mut row.calls, &mut row.cgroups, &old);
        }
        self
    }
}

/// An owner's cgroup, its calls, and these calls by cgroup if there are several.
type Parts<'a> = (u64, &'a Arc<Vec<CallRow>>, &'a [CgroupRow]);

fn of_process(row: &ProcessRow) -> Parts<'_> {
    (row.cgroup, &row.calls, &row.cgroups)
}

fn of_thread(row: &ThreadRow) -> Parts<'_> {
    (row.cgroup, &row.calls, &row.cgroups)
}

/// Sets the recent figures of the rows of an owner, from its rows in the previous snapshot.
fn set_recent_of_owner(
    rows: &mut Arc<Vec<CallRow>>,
    by_cgroup: &mut [CgroupRow],
    (cgroup, calls, cgroups): Parts<'_>,
) {
    set_recent_shared(rows, calls);
    for row in by_cgroup {
        let old = cgroups.iter().find(|old| old.cgroup == row.cgroup).map(|old| &old.calls);
        let old = old.or_else(|| (cgroups.is_empty() && cgroup == row.cgroup).then_some(calls));
        match old {
            Some(old) => set_recent_shared(&mut row.calls, old),
            None => Arc::make_mut(&mut row.calls).iter_mut().for_each(begin_row),
        }
    }
}

/// Sets the recent figures of rows to which the engine has added the figures of these owners.
fn set_recent_of_ended(
    rows: &mut Arc<Vec<CallRow>>,
    by_cgroup: &mut [CgroupRow],
    owners: &[Parts<'_>],
) {
    let old = sum(owners.iter().map(|&(_, calls, _)| calls));
    set_recent(&mut Arc::make_mut(rows)[..], &old);
    let mut before: HashMap<u64, Vec<&Arc<Vec<CallRow>>>> = HashMap::new();
    for &(cgroup, calls, cgroups) in owners {
        if cgroups.is_empty() {
            before.entry(cgroup).or_default().push(calls);
        }
        for part in cgroups {
            before.entry(part.cgroup).or_default().push(&part.calls);
        }
    }
    for row in by_cgroup {
        let old = sum(before.remove(&row.cgroup).unwrap_or_default().into_iter());
        set_recent(&mut Arc::make_mut(&mut row.calls)[..], &old);
    }
}

/// Sets the recent figures of threads. If a thread has left the list, its calls are in the row of
/// ended threads.
fn set_recent_of_threads(threads: &mut [ThreadRow], old: &ProcessRow) {
    if old.threads.is_empty() && !old.calls.is_empty() {
        // Threads were not listed then, so their earlier figures are unknown.
        for row in threads {
            clear_recent(&mut row.calls);
            row.cgroups.iter_mut().for_each(|part| clear_recent(&mut part.calls));
        }
        return;
    }
    let serial = |row: &ThreadRow| row.thread.as_ref().map(|thread| thread.serial);
    let mut before: HashMap<_, _> = old.threads.iter().map(|row| (serial(row), row)).collect();
    let mut ended = None;
    for row in threads {
        if row.thread.is_none() {
            ended = Some(row);
            continue;
        }
        match before.remove(&serial(row)) {
            Some(old) => {
                set_recent_of_owner(&mut row.calls, &mut row.cgroups, of_thread(old));
            }
            None => begin(&mut row.calls, &mut row.cgroups),
        }
    }
    if let Some(row) = ended {
        let old: Vec<_> = before.into_values().map(of_thread).collect();
        set_recent_of_ended(&mut row.calls, &mut row.cgroups, &old);
    }
}

/// Identifies a process, or by its name a row that belongs to no process.
fn name(process: &Process) -> (Option<u32>, u64, &str) {
    let comm = if process.tgid.is_none() { process.comm.raw() } else { "" };
    (process.tgid, process.start_ns, comm)
}

fn is_ended_row(process: &Process) -> bool {
    process.tgid.is_none() && process.comm.raw() == ENDED_COMM
}

/// Whether a process left the list after it had the rows `before`, and came back.
fn has_begun_anew(before: &[CallRow], rows: &[CallRow]) -> bool {
    before.iter().any(|old| {
        rows.binary_search_by_key(&old.key, |row| row.key)
            .map_or(true, |at| rows[at].total.calls < old.total.calls)
    })
}

fn begin_threads(threads: &mut [ThreadRow]) {
    threads.iter_mut().for_each(|row| begin(&mut row.calls, &mut row.cgroups));
}

fn begin(calls: &mut Arc<Vec<CallRow>>, cgroups: &mut [CgroupRow]) {
    for calls in iter::once(calls).chain(cgroups.iter_mut().map(|part| &mut part.calls)) {
        Arc::make_mut(calls).iter_mut().for_each(begin_row);
    }
}

fn begin_row(row: &mut CallRow) {
    row.recent = row.total.clone();
}

/// Sets the recent figures of `rows`. Other snapshots may share `rows`.
fn set_recent_shared(rows: &mut Arc<Vec<CallRow>>, before: &Arc<Vec<CallRow>>) {
    if is_same(before, rows) {
        // Without a change, no figures are recent.
        clear_recent(rows);
    } else {
        set_recent(&mut Arc::make_mut(rows)[..], before);
    }
}

/// Sets the recent figures of `rows` to the difference to `before`. Both are sorted by key.
fn set_recent(rows: &mut [CallRow], before: &[CallRow]) {
    let mut before = before.iter().peekable();
    for row in rows {
        while before.next_if(|old| old.key < row.key).is_some() {}
        match before.next_if(|old| old.key == row.key) {
            Some(old) => row.recent = row.total.since(&old.total),
            None => begin_row(row),
        }
    }
}

/// Whether no call was counted between two readings of the rows of a process.
fn is_same(before: &Arc<Vec<CallRow>>, rows: &Arc<Vec<CallRow>>) -> bool {
    let counts = |row: &CallRow| {
        let f = &row.total;
        let left = (f.returned, f.restarted, f.errors, f.total_ns);
        (row.key, f.calls, left, f.denied, f.never_returned, f.lost)
    };
    Arc::ptr_eq(before, rows) || before.iter().map(counts).eq(rows.iter().map(counts))
}

fn clear_recent(rows: &mut Arc<Vec<CallRow>>) {
    if rows.iter().any(|row| !row.recent.is_empty()) {
        Arc::make_mut(rows).iter_mut().for_each(|row| row.recent = Figures::default());
    }
}

/// The rows of several processes or threads, added up by key.
fn sum<'a>(owners: impl Iterator<Item = &'a Arc<Vec<CallRow>>>) -> Vec<CallRow> {
    let mut rows: Vec<CallRow> = Vec::new();
    for row in owners.flat_map(|calls| calls.iter()) {
        match rows.binary_search_by_key(&row.key, |sum| sum.key) {
            Ok(at) => rows[at].total.merge(&row.total),
            Err(at) => rows.insert(at, CallRow { recent: Figures::default(), ..row.clone() }),
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use profiler_common::call::CallKey;

    use super::*;
    use crate::model::{Extremes, Thread};

    fn figures(calls: u64, errno: u64, ns: u64) -> Figures {
        let mut figures = Figures {
            calls,
            returned: calls,
            errors: errno,
            total_ns: calls * ns,
            extremes: Some(Extremes { min_ns: ns, max_ns: ns }),
            ..Figures::default()
        };
        figures.add_errno(11, errno);
        figures.latency.add(profiler_common::hist::bucket(ns) as usize, calls);
        figures
    }

    fn row(nr: u32, total: Figures) -> CallRow {
        CallRow::new(CallKey(nr), total)
    }

    fn process(tgid: Option<u32>, comm: &str, calls: Vec<CallRow>) -> ProcessRow {
        let process =
            tgid.map_or_else(|| Process::nobody(comm), |tgid| Process::new(tgid, 1, comm));
        ProcessRow::new(process, calls)
    }

    fn snapshot(seconds: u64, processes: Vec<ProcessRow>) -> Snapshot {
        let calls = sum(processes.iter().map(|row| &row.calls));
        Snapshot { window: Duration::from_secs(seconds), calls, processes, ..Snapshot::default() }
    }

    fn recent(snapshot: &Snapshot) -> Vec<(&str, u64)> {
        snapshot.processes.iter().map(|p| (p.process.comm.raw(), p.recent().calls)).collect()
    }

    #[test]
    fn an_interval_has_what_came_in_it() {
        let mut later = figures(3, 1, 100);
        later.merge(&figures(2, 2, 5_000));
        let first = snapshot(1, vec![process(Some(1), "a", vec![row(0, figures(3, 1, 100))])]);
        let second = snapshot(
            3,
            vec![
                process(Some(1), "a", vec![row(0, later)]),
                process(Some(2), "b", vec![row(1, figures(4, 0, 7))]),
            ],
        );
        let shown = second.since(Some(&first));
        assert_eq!(shown.interval, Duration::from_secs(2));
        // Not a new minimum, so it is the lower bound of its bucket.
        let extremes = Some(Extremes { min_ns: 4_609, max_ns: 5_000 });
        assert_eq!(shown.calls[0].recent, Figures { extremes, ..figures(2, 2, 5_000) });
        assert_eq!(shown.calls[1].recent, figures(4, 0, 7));
        assert_eq!(recent(&shown), [("a", 2), ("b", 4)]);
    }

    fn with_threads(threads: &[(Option<u64>, u64)]) -> ProcessRow {
        let thread = |&(serial, calls): &(Option<u64>, u64)| {
            let thread = serial
                .map(|serial| Arc::new(Thread { tid: 1, serial, comm: "t".into(), ended: false }));
            ThreadRow::new(thread, Arc::new(vec![row(0, figures(calls, 0, 100))]))
        };
        let all = threads.iter().map(|(_, calls)| calls).sum();
        let process = process(Some(1), "a", vec![row(0, figures(all, 0, 100))]);
        ProcessRow { threads: threads.iter().map(thread).collect(), ..process }
    }

    fn recent_of_threads(snapshot: &Snapshot) -> Vec<u64> {
        let threads = snapshot.processes[0].threads.iter();
        threads.map(|thread| thread.calls[0].recent.calls).collect()
    }

    /// One goes on, one has ended and left the list after two more calls, and one is new.
    #[test]
    fn threads_have_what_came_in_the_interval() {
        let first = snapshot(1, vec![with_threads(&[(Some(1), 5), (Some(2), 4), (None, 10)])]);
        let second = snapshot(2, vec![with_threads(&[(Some(1), 8), (Some(3), 7), (None, 16)])]);
        let shown = second.since(Some(&first));
        assert_eq!(recent_of_threads(&shown), [3, 7, 2]);
        assert_eq!(shown.calls[0].recent.calls, 12);
        // The figures of a thread before it was listed are unknown.
        let unlisted = snapshot(1, vec![process(Some(1), "a", vec![row(0, figures(5, 0, 100))])]);
        let third = snapshot(2, vec![with_threads(&[(Some(1), 8), (None, 2)])]);
        let shown = third.since(Some(&unlisted));
        assert_eq!((recent_of_threads(&shown), shown.calls[0].recent.calls), (vec![0, 0], 5));
        let from_the_start = snapshot(2, vec![with_threads(&[(Some(1), 8)])]).since(None);
        assert_eq!(recent_of_threads(&from_the_start), [8]);
    }

    /// A process ended and was added to the row of ended processes. Then another of its threads
    /// made its first call.
    #[test]
    fn what_left_the_list_and_came_back_counts_once() {
        let of = |calls| vec![row(0, figures(calls, 0, 100))];
        let first = snapshot(1, vec![process(Some(1), "a", of(5))]);
        let second =
            snapshot(2, vec![process(Some(1), "a", of(2)), process(None, ENDED_COMM, of(6))]);
        let shown = second.since(Some(&first));
        assert_eq!(recent(&shown), [("a", 2), (ENDED_COMM, 1)]);
        assert_eq!(shown.calls[0].recent.calls, 3);
    }

    #[test]
    fn the_first_interval_is_since_the_start() {
        let shown =
            snapshot(5, vec![process(Some(1), "a", vec![row(0, figures(3, 1, 100))])]).since(None);
        assert_eq!(shown.interval, Duration::from_secs(5));
        assert_eq!((recent(&shown), shown.calls[0].recent.calls), (vec![("a", 3)], 3));
    }

    #[test]
    fn what_has_not_changed_is_shared_and_brings_nothing() {
        let same = process(Some(1), "a", vec![row(0, figures(3, 1, 100))]);
        let (first, second) = (snapshot(1, vec![same.clone()]), snapshot(2, vec![same.clone()]));
        let first = first.since(None);
        let second = second.since(Some(&first));
        assert_eq!(recent(&second), [("a", 0)]);
        let third = snapshot(3, vec![same.clone()]).since(Some(&second));
        assert_eq!(recent(&third), [("a", 0)]);
        assert!(Arc::ptr_eq(&third.processes[0].calls, &same.calls));
    }

    /// A process that left the list did two more calls before; another was never in it.
    #[test]
    fn what_left_the_list_counts_in_the_row_of_the_ended() {
        let first = snapshot(
            1,
            vec![
                process(Some(1), "a", vec![row(0, figures(3, 0, 100))]),
                process(None, ENDED_COMM, vec![row(0, figures(10, 0, 100))]),
            ],
        );
        let second =
            snapshot(2, vec![process(None, ENDED_COMM, vec![row(0, figures(10 + 5 + 7, 0, 100))])]);
        let shown = second.since(Some(&first));
        assert_eq!(recent(&shown), [(ENDED_COMM, 2 + 7)]);
        assert_eq!(shown.calls[0].recent.calls, 2 + 7);
    }
}
