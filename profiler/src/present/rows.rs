//! Rows out of a snapshot: grouped as asked for, and sorted.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use profiler_common::call::{Abi, CallKey};

use super::{columns::Column, units};
use crate::{
    model::{CallRow, Dimension, Figures, Grouping, Kind, Process, Snapshot, SortKey, Span},
    names::{self, syscalls, waits},
    text::Untrusted,
};

/// One line of a table. Of its key, it has the dimensions that rows are told apart by.
#[derive(Clone, Debug, Default)]
pub struct Row {
    /// The process.
    pub process: Option<Arc<Process>>,
    /// The name of the processes, if rows are told apart by that and not by process.
    pub comm: Option<Untrusted>,
    /// The syscall.
    pub key: Option<CallKey>,
    /// The ABI, if rows are told apart by that and not by syscall.
    pub abi: Option<Abi>,
    /// Its figures.
    pub figures: Figures,
    /// Calls that have not returned at the end of the span, whenever they entered: the
    /// figures of an interval know only those that entered in it.
    pub in_flight: u64,
}

impl Row {
    /// Name of the system call, if the row is of one.
    pub fn syscall(&self) -> Option<&'static str> {
        self.key.map(syscalls::name)
    }

    /// The ABI, if the row is of one.
    pub fn abi(&self) -> Option<Abi> {
        self.key.and_then(CallKey::abi).or(self.abi)
    }

    /// The name of the process or processes, if the row is of such.
    pub fn comm(&self) -> Option<&Untrusted> {
        self.process.as_ref().map(|process| &process.comm).or(self.comm.as_ref())
    }

    /// Whether the row is of a syscall that waits by nature.
    pub fn waits(&self) -> bool {
        self.key.is_some_and(|key| waits::kind(key) == Kind::Waits)
    }

    fn name(&self) -> (&str, Option<u32>, &str) {
        (
            self.comm().map_or("", Untrusted::raw),
            self.process.as_ref().and_then(|process| process.tgid),
            self.syscall().or_else(|| self.abi.map(Abi::name)).unwrap_or(""),
        )
    }
}

/// The rows of a snapshot, those without anything to show left out.
pub fn rows(snapshot: &Snapshot, by: Grouping, span: Span, sort: SortKey) -> Vec<Row> {
    let mut rows = grouped(snapshot, by, span, |_| true);
    self::sort(&mut rows, sort);
    rows
}

/// The rows of a snapshot that the calls to `keep` make, in no order. Rows without anything to
/// show are left out.
pub(super) fn grouped(
    snapshot: &Snapshot,
    by: Grouping,
    span: Span,
    keep: impl Fn(&CallRow) -> bool,
) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    let mut by_key = HashMap::new();
    let mut add = |process: Option<&Arc<Process>>, call: &CallRow| {
        let row = empty_row(by, process, call);
        let key = (
            row.process.as_ref().map(Arc::as_ptr),
            row.comm.as_ref().map(|comm| comm.raw().to_owned()),
            row.key,
            row.abi.map(Abi::name),
        );
        let at = *by_key.entry(key).or_insert_with(|| {
            rows.push(row);
            rows.len() - 1
        });
        rows[at].figures.merge(span.of(call));
        rows[at].in_flight += call.total.in_flight();
    };
    if by.needs_processes() {
        for process in &snapshot.processes {
            let kept = process.calls.iter().filter(|call| keep(call));
            kept.for_each(|call| add(Some(&process.process), call));
        }
    } else {
        snapshot.calls.iter().filter(|call| keep(call)).for_each(|call| add(None, call));
    }
    rows.retain(|row| !row.figures.is_empty());
    rows
}

/// The row of a call of a process, without figures.
fn empty_row(by: Grouping, process: Option<&Arc<Process>>, call: &CallRow) -> Row {
    let mut row = Row::default();
    if by.has(Dimension::Process) {
        row.process = process.cloned();
    } else if by.has(Dimension::Comm) {
        row.comm = process.map(|process| process.comm.clone());
    }
    if by.has(Dimension::Syscall) {
        row.key = Some(call.key);
    } else if by.has(Dimension::Abi) {
        row.abi = call.key.abi();
    }
    row
}

/// The sum of rows.
pub fn total(rows: &[Row]) -> Figures {
    rows.iter().map(|row| &row.figures).collect()
}

/// The errors of `figures` by name, the most frequent first: `ENOENT 240`. Errors that the
/// kernel side does not tell apart come last, as `other`.
pub(super) fn errors_by_name(figures: &Figures) -> Vec<String> {
    let mut errnos = figures.errnos.clone();
    errnos.sort_by_key(|&(errno, count)| (Reverse(count), errno));
    let named = errnos.iter().map(|&(errno, count)| (names::errnos::name(errno), count));
    let unlisted = (figures.errors_unlisted > 0).then(|| ("other".into(), figures.errors_unlisted));
    named.chain(unlisted).map(|(name, n)| format!("{name} {}", units::grouped(n))).collect()
}

/// The errors of `figures` by name; those the kernel side does not tell apart are
/// `other`.
pub fn errnos(figures: &Figures) -> BTreeMap<String, u64> {
    let mut errnos: BTreeMap<String, u64> = figures
        .errnos
        .iter()
        .map(|&(errno, count)| (names::errnos::name(errno).into_owned(), count))
        .collect();
    if figures.errors_unlisted > 0 {
        errnos.insert("other".into(), figures.errors_unlisted);
    }
    errnos
}

/// Sorts rows by `sort`.
pub(super) fn sort(rows: &mut [Row], sort: SortKey) {
    // Quantiles are worth computing once a row, not once a comparison.
    let figure = |row: &Row| Column::sorted_by(sort).figure(row).unwrap_or(0);
    rows.sort_by_cached_key(|row| {
        let (comm, pid, syscall) = row.name();
        (
            Reverse((figure(row), tie_break(sort, &row.figures))),
            comm.to_owned(),
            pid,
            syscall.to_owned(),
            row.key,
        )
    });
}

/// Rows alike in the column sorted by are ordered by what there is more of.
fn tie_break(sort: SortKey, figures: &Figures) -> u64 {
    if sort == SortKey::Name { 0 } else { figures.calls }
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;

    use super::*;
    use crate::model::{Extremes, ProcessRow};

    fn is_sorted(rows: &[Row], compare: impl Fn(&Row, &Row) -> Ordering) -> bool {
        rows.windows(2).all(|pair| compare(&pair[0], &pair[1]) != Ordering::Greater)
    }

    fn figures(calls: u64, ns: u64) -> Figures {
        let mut figures = Figures {
            calls,
            returned: calls,
            total_ns: calls * ns,
            extremes: Some(Extremes { min_ns: ns, max_ns: ns }),
            ..Figures::default()
        };
        figures.latency.add(profiler_common::hist::bucket(ns) as usize, calls);
        figures
    }

    fn call(nr: u32, total: Figures, recent: Figures) -> CallRow {
        CallRow { recent, ..CallRow::new(CallKey(nr), total) }
    }

    fn snapshot() -> Snapshot {
        let process = |tgid: u32, comm: &str, calls: Vec<CallRow>| {
            ProcessRow::new(Process::new(tgid, 0, comm), calls)
        };
        let none = Figures::default;
        Snapshot {
            calls: vec![
                call(0, figures(3, 1000), figures(1, 1000)),
                call(1, figures(20, 100), none()),
            ],
            processes: vec![
                process(7, "b", vec![call(0, figures(1, 1000), none())]),
                process(
                    9,
                    "a",
                    vec![
                        call(0, figures(2, 1000), figures(1, 1000)),
                        call(1, figures(20, 100), none()),
                    ],
                ),
            ],
            ..Snapshot::default()
        }
    }

    fn names(rows: &[Row]) -> Vec<(Option<u32>, Option<&'static str>, u64)> {
        rows.iter()
            .map(|r| (r.process.as_ref().and_then(|p| p.tgid), r.syscall(), r.figures.calls))
            .collect()
    }

    #[test]
    fn groups() {
        let s = snapshot();
        let by = |by| rows(&s, by, Span::Total, SortKey::Total);
        assert_eq!(
            names(&by(Grouping::SYSCALL)),
            [(None, Some("read"), 3), (None, Some("write"), 20)]
        );
        assert_eq!(names(&by(Grouping::PROCESS)), [(Some(9), None, 22), (Some(7), None, 1)]);
        // Two rows took as long in all; the one with more calls comes first.
        assert_eq!(
            names(&by(Grouping::PROCESS_SYSCALL)),
            [(Some(9), Some("write"), 20), (Some(9), Some("read"), 2), (Some(7), Some("read"), 1)]
        );
    }

    /// Two processes of one name, one of which makes i386 calls.
    #[test]
    fn rows_are_told_apart_by_any_dimensions() {
        let mut s = snapshot();
        let mut namesake = s.processes[0].clone();
        namesake.process = Arc::new(Process { tgid: Some(8), ..(*namesake.process).clone() });
        let i386 = CallRow::new(CallKey::of(Abi::I386, 3), figures(5, 1000));
        namesake.calls = vec![call(0, figures(4, 1000), Figures::default()), i386].into();
        s.processes.push(namesake);
        let by = |dimensions: &[Dimension]| {
            let by = dimensions.iter().copied().collect();
            let mut rows: Vec<_> = rows(&s, by, Span::Total, SortKey::Name)
                .iter()
                .map(|row| {
                    let process = row.process.as_ref().and_then(|process| process.tgid);
                    let comm = row.comm().map(|comm| comm.raw().to_owned()).unwrap_or_default();
                    let abi = row.abi().map(Abi::name).unwrap_or_default();
                    (process, comm, abi, row.syscall().unwrap_or_default(), row.figures.calls)
                })
                .collect();
            rows.sort();
            rows
        };
        let row = |process, comm: &str, abi, syscall, calls| {
            (process, comm.to_owned(), abi, syscall, calls)
        };
        assert_eq!(
            by(&[Dimension::Comm]),
            [row(None, "a", "", "", 22), row(None, "b", "", "", 10)]
        );
        assert_eq!(
            by(&[Dimension::Abi, Dimension::Comm]),
            [
                row(None, "a", "x86_64", "", 22),
                row(None, "b", "i386", "", 5),
                row(None, "b", "x86_64", "", 5),
            ]
        );
        assert_eq!(
            by(&[Dimension::Comm, Dimension::Syscall]),
            [
                row(None, "a", "x86_64", "read", 2),
                row(None, "a", "x86_64", "write", 20),
                row(None, "b", "i386", "read", 5),
                row(None, "b", "x86_64", "read", 5),
            ]
        );
        assert_eq!(
            by(&[Dimension::Process, Dimension::Abi]),
            [
                row(Some(7), "b", "x86_64", "", 1),
                row(Some(8), "b", "i386", "", 5),
                row(Some(8), "b", "x86_64", "", 4),
                row(Some(9), "a", "x86_64", "", 22),
            ]
        );
        // Over all processes, whether they are still listed or not.
        assert_eq!(by(&[Dimension::Abi]), [row(None, "", "x86_64", "", 23)]);
    }

    #[test]
    fn an_interval_shows_only_what_it_brought() {
        let s = snapshot();
        let rows = rows(&s, Grouping::PROCESS_SYSCALL, Span::Recent, SortKey::Total);
        assert_eq!(names(&rows), [(Some(9), Some("read"), 1)]);
    }

    #[test]
    fn what_entered_before_the_interval_is_in_flight_in_it() {
        let mut s = snapshot();
        // Five entered, two of them long ago; one returned in this interval.
        let of_interval = Figures { calls: 3, returned: 1, ..Figures::default() };
        let total = Figures { calls: 5, returned: 1, ..Figures::default() };
        s.calls = vec![call(0, total, of_interval)];
        for span in [Span::Recent, Span::Total] {
            assert_eq!(rows(&s, Grouping::SYSCALL, span, SortKey::Total)[0].in_flight, 4);
        }
    }

    #[test]
    fn every_sort_key_sorts_by_its_column() {
        let s = snapshot();
        let sorted = |key| rows(&s, Grouping::PROCESS_SYSCALL, Span::Total, key);
        let by = |f: fn(&Figures) -> u64| move |a: &Row, b: &Row| f(&b.figures).cmp(&f(&a.figures));
        assert!(is_sorted(&sorted(SortKey::Total), by(|f| f.total_ns)));
        assert!(is_sorted(&sorted(SortKey::Calls), by(|f| f.calls)));
        assert!(is_sorted(&sorted(SortKey::Errors), by(|f| f.errors)));
        assert!(is_sorted(&sorted(SortKey::Mean), by(Figures::mean_ns)));
        assert!(is_sorted(&sorted(SortKey::P50), by(|f| f.quantiles([0.5])[0])));
        assert!(is_sorted(&sorted(SortKey::P99), by(|f| f.quantiles([0.99])[0])));
        assert!(is_sorted(&sorted(SortKey::Max), by(Figures::max_ns)));
        assert!(is_sorted(&sorted(SortKey::Name), |a, b| a.name().cmp(&b.name())));
    }

    #[test]
    fn errors_have_names() {
        let mut f = Figures { errors: 4, errors_unlisted: 1, ..Figures::default() };
        f.add_errno(11, 2);
        f.add_errno(2, 1);
        let errnos = errnos(&f);
        let shown: Vec<_> = errnos.iter().map(|(name, &n)| (name.as_str(), n)).collect();
        assert_eq!(shown, [("EAGAIN", 2), ("ENOENT", 1), ("other", 1)]);
        f.add_errno(13, 1_234);
        assert_eq!(errors_by_name(&f), ["EACCES 1,234", "EAGAIN 2", "ENOENT 1", "other 1"]);
    }
}
