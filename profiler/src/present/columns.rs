//! The columns of the table of `profiler stat`: titles, cells and meanings.

use super::{grid, rows::Row, units};
use crate::{
    model::{Dimension, Figures, Grouping, Timed},
    names::syscalls,
};

/// A column of the grid, and what stands in it.
pub(super) struct Column {
    pub(super) place: grid::Column,
    pub(super) cell: fn(&Row, &Sums) -> String,
    /// What it means, for the manual page.
    help: &'static str,
}

/// What a row is compared with.
pub(super) struct Sums {
    pub(super) total_ns: u64,
    pub(super) calls: u64,
}

const SHARE_OF_TIME: &str = "% time";

/// The columns that say nothing where no call is timed, beside [`SHARE_OF_TIME`].
const OF_TIMES: [&str; 5] = ["total", "mean", "p50", "p99", "max"];

/// What stands there instead of the share of the time.
const SHARE_OF_CALLS: Column =
    number("% calls", 0, SHARE_OF_CALLS_HELP, |row, sums| share(row.figures.calls, sums.calls));
const SHARE_OF_CALLS_HELP: &str = "Share of all calls. It replaces `% time` with --no-latency.";

const fn number(
    title: &'static str,
    expendable: u8,
    help: &'static str,
    cell: fn(&Row, &Sums) -> String,
) -> Column {
    Column { place: grid::Column { title, right: true, expendable }, cell, help }
}

const fn text(title: &'static str, help: &'static str, cell: fn(&Row, &Sums) -> String) -> Column {
    Column { place: grid::Column { title, right: false, expendable: 0 }, cell, help }
}

const FIGURES: [Column; 13] = [
    number(
        SHARE_OF_TIME,
        0,
        "Share of the total time of all rows. With --no-waits, share of the time without the \
         calls that wait by nature.",
        |row, sums| share(row.figures.estimated_total_ns(), sums.total_ns),
    ),
    number("total", 0, "Wall time of all calls in the kernel.", |row, _| {
        units::time(row.figures.estimated_total_ns())
    }),
    number("calls", 0, "Calls that entered.", |row, _| units::grouped(row.figures.calls)),
    number("errors", 2, "Calls that returned an errno.", |row, _| unless_zero(row.figures.errors)),
    number("mean", 1, "Mean latency.", |row, _| time(&row.figures, Figures::mean_ns)),
    number("p50", 4, "Median latency.", |row, _| time(&row.figures, |f| f.quantiles([0.5])[0])),
    number("p99", 3, "99th percentile of the latency.", |row, _| {
        time(&row.figures, |f| f.quantiles([0.99])[0])
    }),
    number("max", 5, "Maximum latency.", |row, _| time(&row.figures, Figures::max_ns)),
    number("denied", 6, "Calls that seccomp or ptrace refused; not part of `calls`.", |row, _| {
        unless_zero(row.figures.denied)
    }),
    number("in flight", 7, "Calls that have not left the kernel yet.", |row, _| {
        unless_zero(row.in_flight)
    }),
    number(
        "restarted",
        8,
        "Calls that a signal interrupted and the kernel restarted.",
        |row, _| unless_zero(row.figures.restarted),
    ),
    number(
        "no return",
        9,
        "Calls in which their thread ended, as exit and exit_group do.",
        |row, _| unless_zero(row.figures.never_returned),
    ),
    number("lost", 1, "Calls whose exit was missed.", |row, _| unless_zero(row.figures.lost)),
];

/// The columns that say what a row is about.
const SUBJECTS: [Column; 4] = [
    number("pid", 0, "Process id.", pid),
    text("process", "Name of the process.", comm),
    text("abi", "ABI of the syscalls, with `--by abi`.", abi),
    text("syscall", "Name of the syscall, with its ABI unless that is x86_64.", syscall),
];

/// The title of what --show-errno adds.
pub(super) const ERRORS_BY_NAME: &str = "errors by name";
const ERRORS_BY_NAME_HELP: &str = "With --show-errno: the errors of the row, the most frequent \
    first. On a terminal they are in a line of their own below the row.";

/// Titles and meanings of all columns, in their order: for the manual page.
pub fn help() -> impl Iterator<Item = (&'static str, &'static str)> {
    let of = |column: &Column| (column.place.title, column.help);
    let first: Vec<_> = FIGURES.iter().chain(&SUBJECTS).map(of).collect();
    first.into_iter().chain([of(&SHARE_OF_CALLS), (ERRORS_BY_NAME, ERRORS_BY_NAME_HELP)])
}

fn unless_zero(n: u64) -> String {
    if n == 0 { String::new() } else { units::grouped(n) }
}

fn time(figures: &Figures, of: impl Fn(&Figures) -> u64) -> String {
    if figures.timed() == 0 { units::NONE.into() } else { units::time(of(figures)) }
}

pub(super) fn share(part: u64, whole: u64) -> String {
    format!("{:.1}", 100.0 * part as f64 / whole.max(1) as f64)
}

fn pid(row: &Row, _: &Sums) -> String {
    row.process.as_ref().and_then(|p| p.tgid).map_or_else(|| "-".into(), |pid| pid.to_string())
}

fn comm(row: &Row, _: &Sums) -> String {
    row.comm().map(ToString::to_string).unwrap_or_default()
}

fn abi(row: &Row, _: &Sums) -> String {
    row.abi().map(|abi| abi.name().to_owned()).unwrap_or_default()
}

fn syscall(row: &Row, _: &Sums) -> String {
    row.key.map(syscalls::name_with_abi).unwrap_or_default()
}

/// The columns of a table with a row per `by`.
pub(super) fn columns(by: Grouping, timed: Timed) -> Vec<Column> {
    let mut columns: Vec<Column> = FIGURES.into();
    if timed == Timed::None {
        columns.retain(|column| !OF_TIMES.contains(&column.place.title));
        for column in columns.iter_mut().filter(|c| c.place.title == SHARE_OF_TIME) {
            *column = SHARE_OF_CALLS;
        }
    }
    let [pid, process, abi, syscall] = SUBJECTS;
    if by.has(Dimension::Process) {
        columns.push(pid);
    }
    if by.needs_processes() {
        columns.push(process);
    }
    if by.has(Dimension::Syscall) {
        columns.push(syscall);
    } else if by.has(Dimension::Abi) {
        columns.push(abi);
    }
    columns
}
