//! Rows out of a snapshot: grouped as asked for, and sorted.

use std::{cmp::Reverse, collections::BTreeMap, sync::Arc};

use profiler_common::call::{Abi, CallKey};

use super::units;
use crate::{
    model::{CallRow, Figures, Grouping, Kind, Process, Snapshot, SortKey, Span},
    names::{self, syscalls, waits},
};

/// One line of a table.
#[derive(Clone, Debug)]
pub struct Row {
    /// The process, where rows are of processes.
    pub process: Option<Arc<Process>>,
    /// The system call, where rows are of system calls.
    pub key: Option<CallKey>,
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

    /// Its ABI, likewise.
    pub fn abi(&self) -> Option<Abi> {
        self.key.and_then(CallKey::abi)
    }

    /// Whether the row is of a syscall that waits by nature.
    pub fn waits(&self) -> bool {
        self.key.is_some_and(|key| waits::kind(key) == Kind::Waits)
    }

    fn name(&self) -> (&str, Option<u32>, &str) {
        let process = self.process.as_deref();
        (
            process.map_or("", |p| p.comm.raw()),
            process.and_then(|p| p.tgid),
            self.syscall().unwrap_or(""),
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
    let keep = &keep;
    let of_call = |process: Option<&Arc<Process>>, row: &CallRow| Row {
        process: process.cloned(),
        key: Some(row.key),
        figures: span.of(row).clone(),
        in_flight: row.total.in_flight(),
    };
    let mut rows: Vec<Row> = match by {
        Grouping::Syscall => {
            snapshot.calls.iter().filter(|row| keep(row)).map(|row| of_call(None, row)).collect()
        }
        Grouping::Process => snapshot
            .processes
            .iter()
            .map(|process| {
                let kept = || process.calls.iter().filter(|row| keep(row));
                Row {
                    process: Some(Arc::clone(&process.process)),
                    key: None,
                    figures: kept().map(|row| span.of(row)).collect(),
                    in_flight: kept().map(|row| row.total.in_flight()).sum(),
                }
            })
            .collect(),
        Grouping::ProcessSyscall => snapshot
            .processes
            .iter()
            .flat_map(|process| {
                let kept = process.calls.iter().filter(move |row| keep(row));
                kept.map(|row| of_call(Some(&process.process), row))
            })
            .collect(),
    };
    rows.retain(|row| !row.figures.is_empty());
    rows
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
    let descending = |f: &Figures| -> u64 {
        match sort {
            SortKey::Total => f.estimated_total_ns(),
            SortKey::Calls => f.calls,
            SortKey::Errors => f.errors,
            SortKey::Mean => f.mean_ns(),
            SortKey::P50 => f.quantiles([0.5])[0],
            SortKey::P99 => f.quantiles([0.99])[0],
            SortKey::Max => f.max_ns(),
            SortKey::Name => 0,
        }
    };
    rows.sort_by_cached_key(|row| {
        let (comm, pid, syscall) = row.name();
        (
            Reverse((descending(&row.figures), tie_break(sort, &row.figures))),
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
        CallRow { key: CallKey(nr), total, recent }
    }

    fn snapshot() -> Snapshot {
        let process = |tgid: u32, comm: &str, calls: Vec<CallRow>| ProcessRow {
            process: Arc::new(Process {
                tgid: Some(tgid),
                start_ns: 0,
                comm: comm.into(),
                ended: false,
            }),
            calls: calls.into(),
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
            names(&by(Grouping::Syscall)),
            [(None, Some("read"), 3), (None, Some("write"), 20)]
        );
        assert_eq!(names(&by(Grouping::Process)), [(Some(9), None, 22), (Some(7), None, 1)]);
        // Two rows took as long in all; the one with more calls comes first.
        assert_eq!(
            names(&by(Grouping::ProcessSyscall)),
            [(Some(9), Some("write"), 20), (Some(9), Some("read"), 2), (Some(7), Some("read"), 1)]
        );
    }

    #[test]
    fn an_interval_shows_only_what_it_brought() {
        let s = snapshot();
        let rows = rows(&s, Grouping::ProcessSyscall, Span::Recent, SortKey::Total);
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
            assert_eq!(rows(&s, Grouping::Syscall, span, SortKey::Total)[0].in_flight, 4);
        }
    }

    #[test]
    fn every_sort_key_sorts_by_its_column() {
        let s = snapshot();
        let sorted = |key| rows(&s, Grouping::ProcessSyscall, Span::Total, key);
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
