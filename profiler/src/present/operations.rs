//! The operations of io_uring in reports: grouped by process if the rows of syscalls are, and
//! always by opcode.

use std::{borrow::Cow, cmp::Reverse, collections::BTreeMap, io, sync::Arc};

use serde::Serialize;

use super::{
    Report, errors,
    grid::{Grid, Place},
    json::Bucket,
    paint::{BAD, HEADING, PLAIN},
    table::Style,
    units,
};
use crate::{
    model::{Coverage, Dimension, Grouping, OperationRow, Operations, Process, Span},
    names::operations,
    text::Untrusted,
};

/// The sum of all operations with the same opcode and, if rows are grouped by it, the same process
/// or name.
#[derive(Clone, Debug)]
pub struct OperationSum {
    /// The process, if rows are grouped by process.
    pub process: Option<Arc<Process>>,
    /// The name of the processes, if rows are grouped by process or name.
    pub comm: Option<Untrusted>,
    /// The opcode. `None` for completions whose opcode is unknown.
    pub opcode: Option<u8>,
    /// The figures.
    pub figures: Operations,
    /// Requests that have not completed at the end of the span.
    pub in_flight: u64,
}

impl OperationSum {
    /// The name of the operation.
    pub fn name(&self) -> Cow<'static, str> {
        operations::name(self.opcode)
    }
}

/// The sums of these operations, the most frequent first. Empty rows are omitted.
pub fn rows<'a>(
    operations: impl IntoIterator<Item = &'a OperationRow>,
    by: Grouping,
    span: Span,
) -> Vec<OperationSum> {
    let by_process = by.has(Dimension::Process) || by.has(Dimension::Thread);
    let by_comm = by.has(Dimension::Comm);
    let mut sums: BTreeMap<_, OperationSum> = BTreeMap::new();
    for row in operations {
        let process = by_process.then(|| Arc::clone(&row.process));
        let comm = (by_process || by_comm).then(|| row.process.comm.clone());
        let id = process.as_ref().map(|process| (process.tgid, process.start_ns));
        // Rows without a process are identified by name.
        let named = comm.as_ref().map(|comm| comm.raw().to_owned());
        let sum = sums.entry((id, named, row.opcode)).or_insert_with(|| OperationSum {
            process,
            comm,
            opcode: row.opcode,
            figures: Operations::default(),
            in_flight: 0,
        });
        sum.figures.merge(match span {
            Span::Total => &row.total,
            Span::Recent => &row.recent,
        });
        sum.in_flight += row.total.in_flight();
    }
    let mut rows: Vec<OperationSum> = sums.into_values().collect();
    rows.retain(|row| !row.figures.is_empty());
    // The sort is stable, and the rows are in the order of their keys.
    rows.sort_by_key(|row| Reverse(row.figures.submitted.max(row.figures.completed)));
    rows
}

/// The columns of the table.
const COLUMNS: [Place; 13] = {
    const fn column(title: &'static str, right: bool, expendable: u8) -> Place {
        Place { title, right, expendable }
    }
    [
        column("pid", true, 1),
        column("process", false, 2),
        column("operation", false, 0),
        column("submitted", true, 0),
        column("completed", true, 0),
        column("errors", true, 0),
        column("posted", true, 3),
        column("overflowed", true, 4),
        column("in flight", true, 3),
        column("mean", true, 7),
        column("p50", true, 6),
        column("p99", true, 5),
        column("errors by name", false, 8),
    ]
};

/// Writes the table. Writes nothing if there was no operation.
///
/// # Errors
/// If `out` cannot be written.
pub(super) fn write(out: &mut impl io::Write, report: &Report<'_>, style: Style) -> io::Result<()> {
    let rows = report.operations;
    if rows.is_empty() {
        return Ok(());
    }
    let submitted = rows.iter().map(|row| row.figures.submitted).sum();
    let errors = rows.iter().map(|row| row.figures.errors()).sum();
    writeln!(
        out,
        "\n{HEADING}{} operations of io_uring (not syscalls), {} with an error:{HEADING:#}",
        units::grouped(submitted),
        units::grouped(errors)
    )?;
    let cells = rows.iter().map(|row| cells(row, report.shown.show_errno)).collect();
    let grid = Grid::new(COLUMNS.into(), cells, style.width);
    writeln!(out, "{HEADING}{}{HEADING:#}", grid.title().trim_end())?;
    for (row, line) in rows.iter().zip(grid.lines()) {
        let paint = if row.figures.errors() > 0 { BAD } else { PLAIN };
        writeln!(out, "{paint}{}{paint:#}", line.trim_end())?;
    }
    Ok(())
}

fn cells(row: &OperationSum, show_errno: bool) -> Vec<String> {
    let figures = &row.figures;
    let unless_0 = |n: u64| if n == 0 { String::new() } else { units::grouped(n) };
    let timed = figures.timed();
    let [p50, p99] = figures.quantiles([0.5, 0.99]);
    let latency = |ns: u64| units::latency(ns, timed);
    let errors: Vec<String> = if show_errno {
        errors::map(&figures.errnos, figures.errors_unlisted)
            .into_iter()
            .map(|(name, n)| format!("{name} {}", units::grouped(n)))
            .collect()
    } else {
        Vec::new()
    };
    let pid = row.process.as_ref().and_then(|process| process.tgid);
    vec![
        pid.map(|pid| pid.to_string()).unwrap_or_default(),
        row.comm.as_ref().map(ToString::to_string).unwrap_or_default(),
        row.name().into_owned(),
        units::grouped(figures.submitted),
        units::grouped(figures.completed),
        units::grouped(figures.errors()),
        unless_0(figures.posted),
        unless_0(figures.overflowed),
        unless_0(row.in_flight),
        latency(figures.mean_ns()),
        latency(p50),
        latency(p99),
        errors.join(", "),
    ]
}

/// A row in JSON.
#[derive(Serialize)]
pub(super) struct Object<'a> {
    pid: Option<u32>,
    comm: Option<&'a Untrusted>,
    /// Null for completions whose opcode is unknown.
    operation: Option<Cow<'static, str>>,
    opcode: Option<u8>,
    submitted: u64,
    completed: u64,
    errors: u64,
    errnos: BTreeMap<String, u64>,
    in_flight: u64,
    /// Further completions: of multishot requests, and messages of other rings.
    posted: u64,
    /// Completions that found the completion queue full.
    overflowed: u64,
    /// Completed requests that were submitted before the attach.
    unmatched: u64,
    /// Submitted requests that ask for no completion if they succeed.
    silent: u64,
    /// Requests that ended without a completion that names them.
    unreported: u64,
    /// Completed requests whose latency is known.
    timed: u64,
    total_ns: u64,
    mean_ns: u64,
    p50_ns: u64,
    p90_ns: u64,
    p99_ns: u64,
    p999_ns: u64,
    /// The buckets that are not empty, from low to high, with `--buckets`.
    #[serde(skip_serializing_if = "Option::is_none")]
    buckets: Option<Vec<Bucket>>,
}

impl<'a> Object<'a> {
    fn new(row: &'a OperationSum, buckets: bool) -> Self {
        let f = &row.figures;
        let [p50_ns, p90_ns, p99_ns, p999_ns] = f.quantiles([0.5, 0.9, 0.99, 0.999]);
        Self {
            pid: row.process.as_ref().and_then(|process| process.tgid),
            comm: row.comm.as_ref(),
            operation: row.opcode.map(|_| row.name()),
            opcode: row.opcode,
            submitted: f.submitted,
            completed: f.completed,
            errors: f.errors(),
            errnos: errors::map(&f.errnos, f.errors_unlisted),
            in_flight: row.in_flight,
            posted: f.posted,
            overflowed: f.overflowed,
            unmatched: f.unmatched,
            silent: f.silent,
            unreported: f.unreported,
            timed: f.timed(),
            total_ns: f.total_ns,
            mean_ns: f.mean_ns(),
            p50_ns,
            p90_ns,
            p99_ns,
            p999_ns,
            buckets: buckets.then(|| f.latency.buckets().map(Bucket::from).collect()),
        }
    }

    /// The rows of a report; `None` if operations are not counted.
    pub(super) fn of(report: &Report<'a>) -> Option<Vec<Self>> {
        let rows = report.operations.iter();
        let buckets = report.shown.buckets;
        report.coverage.is_counted().then(|| rows.map(|row| Self::new(row, buckets)).collect())
    }
}

/// Why operations are not counted.
pub(super) fn missing(coverage: &Coverage) -> Option<&str> {
    match coverage {
        Coverage::NotObserved => Some("this engine does not observe io_uring"),
        Coverage::Missing(what) => Some(what),
        Coverage::ByUserData | Coverage::ByRequest => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::IoUring,
        present::{shown::Shown, testing},
    };

    fn io_uring() -> IoUring {
        let mut read = Operations {
            submitted: 1_200,
            completed: 1_198,
            errnos: vec![(9, 3), (11, 5)],
            total_ns: 1_198_000,
            ..Operations::default()
        };
        read.latency.add(60, 1_198);
        let accept = Operations { submitted: 1, posted: 40, ..Operations::default() };
        let message = Operations { posted: 7, overflowed: 2, ..Operations::default() };
        let recent = Operations { submitted: 5, completed: 5, ..Operations::default() };
        let mut rows = vec![
            OperationRow::new(Process::new(7, 1, "server"), Some(22), read.clone()),
            OperationRow::new(Process::new(8, 1, "server"), Some(22), read),
            OperationRow::new(Process::new(8, 1, "server"), Some(13), accept),
            OperationRow::new(Process::new(8, 1, "server"), None, message),
        ];
        rows[0].recent = recent;
        IoUring { coverage: Coverage::ByRequest, rows }
    }

    fn by(dimensions: &[Dimension]) -> Grouping {
        dimensions.iter().copied().collect()
    }

    #[test]
    fn rows_are_grouped_as_the_syscalls_are() {
        let count =
            |dimensions: &[Dimension], span| rows(&io_uring().rows, by(dimensions), span).len();
        assert_eq!(count(&[Dimension::Syscall], Span::Total), 3);
        assert_eq!(count(&[Dimension::Process], Span::Total), 4);
        assert_eq!(count(&[Dimension::Comm], Span::Total), 3);
        assert_eq!(count(&[Dimension::Process, Dimension::Syscall], Span::Recent), 1);
        let read = &rows(&io_uring().rows, by(&[Dimension::Syscall]), Span::Total)[0];
        assert_eq!((read.figures.submitted, read.in_flight), (2_400, 4));
    }

    #[test]
    fn the_table_has_what_happened() {
        let rows = rows(&io_uring().rows, by(&[Dimension::Process]), Span::Total);
        let shown = Shown { show_errno: true, ..Shown::default() };
        let report = Report { operations: &rows, shown: &shown, ..testing::report() };
        let mut out = Vec::new();
        write(&mut out, &report, Style::PLAIN).expect("a vector");
        insta::assert_snapshot!(testing::unstyled(out), @r"

        2,401 operations of io_uring (not syscalls), 16 with an error:
        pid  process  operation  submitted  completed  errors  posted  overflowed  in flight    mean     p50     p99  errors by name
          7  server   READ           1,200      1,198       8                              2  1.00us  6.39us  6.39us  EAGAIN 5, EBADF 3
          8  server   READ           1,200      1,198       8                              2  1.00us  6.39us  6.39us  EAGAIN 5, EBADF 3
          8  server   ACCEPT             1          0       0      40                      1       -       -       -
          8  server   unknown            0          0       0       7           2                  -       -       -
        ");
    }

    #[test]
    fn nothing_is_said_of_nothing() {
        let mut out = Vec::new();
        write(&mut out, &testing::report(), Style::PLAIN).expect("a vector");
        assert!(out.is_empty());
        assert!(Object::of(&testing::report()).is_none());
        assert!(missing(&Coverage::default()).is_some());
    }
}
