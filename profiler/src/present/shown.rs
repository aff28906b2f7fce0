//! Selects the rows of a report, and sums up the rows that are not shown.
//!
//! These filters change no count: the rows and [`Hidden`] together always include all figures.

use crate::{
    model::{Figures, Grouping, Kind, Snapshot, SortKey, Span, Timed},
    names::{errnos::Errno, waits},
    present::rows::{self, Row},
};

/// The options that select and sort rows.
#[derive(Clone, Debug, Default)]
pub struct Shown {
    /// The sort key; `None` for the default order: by total time, and syscalls that wait by
    /// nature after all others.
    pub sort: Option<SortKey>,
    /// Show only rows that have an error or a denied call.
    pub failed: bool,
    /// Show only rows that have one of these errors. If empty, show all rows.
    pub errnos: Vec<Errno>,
    /// Hide syscalls that wait by nature.
    pub no_waits: bool,
    /// Show the errors by name in the table.
    pub show_errno: bool,
    /// Add the latency histogram to JSON.
    pub buckets: bool,
}

/// The rows that a report does not show.
#[derive(Clone, Debug, Default)]
pub struct Hidden {
    /// Number of rows that are not shown.
    pub rows: usize,
    /// The sum of all rows that are not shown.
    pub left_out: Sum,
    /// The part that [`Shown::no_waits`] hides.
    pub waits: Sum,
    /// Total time of all syscalls that wait by nature, shown or not, nanoseconds.
    pub waiting_ns: u64,
}

/// The sum of some rows.
#[derive(Clone, Debug, Default)]
pub struct Sum {
    /// Rows.
    pub rows: usize,
    /// Their figures.
    pub figures: Figures,
    /// Their total time, nanoseconds. The sum of the rows' estimates, if calls are sampled.
    pub total_ns: u64,
    /// Their calls in flight.
    pub in_flight: u64,
}

impl Sum {
    /// The sum of `rows`.
    pub fn of(rows: &[Row]) -> Self {
        Self {
            rows: rows.len(),
            figures: rows::total(rows),
            total_ns: rows.iter().map(|row| row.figures.estimated_total_ns()).sum(),
            in_flight: rows.iter().map(|row| row.in_flight).sum(),
        }
    }
}

impl Shown {
    /// Whether any filter of rows is set.
    pub fn is_filtered(&self) -> bool {
        self.failed || !self.errnos.is_empty() || self.no_waits
    }

    /// The filters of rows in the syntax of the command line: `--failed, --errno ENOENT`.
    pub(super) fn row_filters(&self) -> String {
        let names: Vec<String> = self.errnos.iter().map(ToString::to_string).collect();
        let errnos = (!names.is_empty()).then(|| format!("--errno {}", names.join(",")));
        let failed = self.failed.then(|| "--failed".to_owned());
        failed.into_iter().chain(errnos).collect::<Vec<_>>().join(", ")
    }

    /// Whether a row is shown.
    fn includes(&self, figures: &Figures) -> bool {
        let has = |errno: &Errno| figures.errnos.iter().any(|&(n, _)| n == errno.number());
        (!self.failed || figures.errors > 0 || figures.denied > 0)
            && (self.errnos.is_empty() || self.errnos.iter().any(has))
    }

    /// The rows of a snapshot that are shown, sorted, and the sum of all other rows.
    pub fn rows(&self, snapshot: &Snapshot, by: Grouping, span: Span) -> (Vec<Row>, Hidden) {
        let all = |keep: fn(Kind) -> bool| {
            rows::grouped(snapshot, by, span, |call| keep(waits::kind(call.key)))
        };
        let (candidates, waiting) = if self.no_waits {
            (all(|kind| kind != Kind::Waits), all(|kind| kind == Kind::Waits))
        } else {
            (all(|_| true), Vec::new())
        };
        let (mut shown, dropped): (Vec<Row>, Vec<Row>) =
            candidates.into_iter().partition(|row| self.includes(&row.figures));
        let of_waiting = snapshot.calls.iter().filter(|call| waits::kind(call.key) == Kind::Waits);
        let waiting_ns = of_waiting.map(|call| span.of(call).estimated_total_ns()).sum();
        let hidden = if self.is_filtered() {
            let waits = Sum::of(&waiting);
            let left_out: Vec<Row> = dropped.into_iter().chain(waiting).collect();
            Hidden {
                // A process can have calls in rows of both kinds.
                rows: all(|_| true).len() - shown.len(),
                left_out: Sum::of(&left_out),
                waits,
                waiting_ns,
            }
        } else {
            Hidden { waiting_ns, ..Hidden::default() }
        };
        rows::sort(&mut shown, self.sort.unwrap_or_default());
        // Without times, rows are sorted by calls, and rows that wait need no separate place.
        if self.sort.is_none() && snapshot.health.timed != Timed::None {
            // The sort is stable.
            shown.sort_by_key(Row::waits);
        }
        (shown, hidden)
    }
}

#[cfg(test)]
mod tests {
    use profiler_common::call::CallKey;

    use super::*;
    use crate::model::{CallRow, Process, ProcessRow};

    const READ: u32 = 0;
    const FSYNC: u32 = 74;
    const FUTEX: u32 = 202;
    const UNLINK: u32 = 87;

    fn call(nr: u32, calls: u64, total_ns: u64, errnos: &[(u16, u64)]) -> CallRow {
        let mut total = Figures { calls, returned: calls, total_ns, ..Figures::default() };
        for &(errno, count) in errnos {
            total.errors += count;
            total.add_errno(errno, count);
        }
        CallRow::new(CallKey(nr), total)
    }

    fn snapshot() -> Snapshot {
        let denied = Figures { denied: 3, ..Figures::default() };
        let calls = vec![
            call(READ, 5, 50, &[(11, 2)]),
            call(FSYNC, 1, 100, &[]),
            call(FUTEX, 9, 9_000, &[(110, 4)]),
            call(UNLINK, 4, 40, &[(2, 3), (13, 1)]),
            CallRow::new(CallKey(165), denied),
        ];
        let process = |tgid: u32, calls: &[CallRow]| {
            ProcessRow::new(Process::new(tgid, 0, "a"), calls.to_vec())
        };
        let processes =
            vec![process(1, &calls[..2]), process(2, &calls[2..3]), process(3, &calls[2..])];
        Snapshot { calls, processes, ..Snapshot::default() }
    }

    fn names(shown: &Shown) -> (Vec<&'static str>, Hidden) {
        let (rows, hidden) = shown.rows(&snapshot(), Grouping::SYSCALL, Span::Total);
        (rows.iter().filter_map(Row::syscall).collect(), hidden)
    }

    fn with_errnos(names: &[&str]) -> Shown {
        let errnos = names.iter().map(|name| name.parse().expect("an errno")).collect();
        Shown { errnos, ..Shown::default() }
    }

    #[test]
    fn calls_that_wait_come_last_unless_a_key_is_given() {
        let (shown, hidden) = names(&Shown::default());
        assert_eq!(shown, ["fsync", "read", "unlink", "mount", "futex"]);
        assert_eq!(hidden.rows, 0);
        let by_total = Shown { sort: Some(SortKey::Total), ..Shown::default() };
        assert_eq!(names(&by_total).0[0], "futex");
    }

    #[test]
    fn without_times_the_order_is_that_of_calls() {
        let mut snapshot = snapshot();
        snapshot.health.timed = Timed::None;
        for call in &mut snapshot.calls {
            call.total.total_ns = 0;
        }
        let (rows, _) = Shown::default().rows(&snapshot, Grouping::SYSCALL, Span::Total);
        assert_eq!(rows[0].syscall(), Some("futex"));
    }

    #[test]
    fn failed_rows_have_an_error_or_a_denial() {
        let (shown, hidden) = names(&Shown { failed: true, ..Shown::default() });
        assert_eq!(shown, ["read", "unlink", "mount", "futex"]);
        assert_eq!((hidden.rows, hidden.left_out.figures.calls), (1, 1));
        assert_eq!(hidden.left_out.total_ns, 100);
    }

    #[test]
    fn errnos_choose_rows_that_have_any_of_them() {
        assert_eq!(names(&with_errnos(&["ENOENT"])).0, ["unlink"]);
        let (shown, hidden) = names(&with_errnos(&["EAGAIN", "EACCES"]));
        assert_eq!(shown, ["read", "unlink"]);
        assert_eq!((hidden.rows, hidden.left_out.figures.errors), (3, 4));
        assert_eq!(with_errnos(&["2", "EACCES"]).row_filters(), "--errno ENOENT,EACCES");
    }

    #[test]
    fn waits_are_left_out_within_processes_too() {
        let no_waits = Shown { no_waits: true, ..Shown::default() };
        let (shown, hidden) = names(&no_waits);
        assert_eq!(shown, ["fsync", "read", "unlink", "mount"]);
        assert_eq!((hidden.rows, hidden.waits.rows, hidden.waits.figures.calls), (1, 1, 9));
        let (rows, hidden) = no_waits.rows(&snapshot(), Grouping::PROCESS, Span::Total);
        let calls: Vec<u64> = rows.iter().map(|row| row.figures.calls).collect();
        assert_eq!(calls, [6, 4]);
        // One process made only calls that wait. Another made other calls too, and keeps its row.
        assert_eq!((hidden.rows, hidden.left_out.figures.calls), (1, 18));
    }

    #[test]
    fn rows_and_what_is_left_out_are_the_whole() {
        for by in [Grouping::SYSCALL, Grouping::PROCESS, Grouping::PROCESS_SYSCALL] {
            let (all, _) = Shown::default().rows(&snapshot(), by, Span::Total);
            for bits in 0..8 {
                let errnos =
                    if bits & 1 > 0 { with_errnos(&["ENOENT", "11"]).errnos } else { vec![] };
                let shown = Shown {
                    errnos,
                    failed: bits & 2 > 0,
                    no_waits: bits & 4 > 0,
                    ..Shown::default()
                };
                let (rows, hidden) = shown.rows(&snapshot(), by, Span::Total);
                let mut sum = rows::total(&rows);
                sum.merge(&hidden.left_out.figures);
                assert_eq!(sum, rows::total(&all), "{shown:?}");
                assert_eq!(rows.len() + hidden.rows, all.len(), "{shown:?}");
            }
        }
    }
}
