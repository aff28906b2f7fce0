//! The table of `profiler stat`, for people.

use std::{fmt::Write as _, io, time::Duration};

use profiler_common::hist::BUCKETS;
use unicode_width::UnicodeWidthStr;

use crate::{
    aggregate::{Figures, Latency},
    cli::Grouping,
    enrich::syscalls,
    rows::{self, Row},
    snapshot::Health,
    units,
};

/// How the table may look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// Columns of the terminal, or `None` for no limit.
    pub width: Option<usize>,
    /// A distribution of latencies at the end of a line: only for eyes.
    pub sparkline: bool,
    /// Escape sequences for colour may be used.
    pub color: bool,
    /// Characters beyond ASCII may be used.
    pub unicode: bool,
}

impl Style {
    /// For a file or a pipe.
    pub const PLAIN: Self = Self { width: None, sparkline: false, color: false, unicode: false };
}

/// Characters of a sparkline, and of its narrowest form.
const SPARK_WIDTH: usize = 16;
const SPARKS_UNICODE: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const SPARKS_ASCII: [char; 9] = [' ', '.', '.', ':', ':', '|', '|', '#', '#'];

const BOLD: &str = "\x1b[1m";
const RED: &str = "\x1b[31m";
const RESET: &str = "\x1b[0m";

/// A column: its title, whether it is aligned to the right, and when it is left
/// out on a narrow terminal (the greatest first; 0 is never).
struct Column {
    title: &'static str,
    right: bool,
    expendable: u8,
    cell: fn(&Row, &Sums) -> String,
}

/// What a row is compared with.
struct Sums {
    total_ns: u64,
}

const fn number(title: &'static str, expendable: u8, cell: fn(&Row, &Sums) -> String) -> Column {
    Column { title, right: true, expendable, cell }
}

const FIGURES: [Column; 9] = [
    number("% time", 0, |row, sums| share(row.figures.total_ns, sums.total_ns)),
    number("total", 0, |row, _| units::time(row.figures.total_ns)),
    number("calls", 0, |row, _| units::grouped(row.figures.calls)),
    number("errors", 2, |row, _| match row.figures.errors {
        0 => String::new(),
        n => units::grouped(n),
    }),
    number("mean", 1, |row, _| time(&row.figures, Figures::mean_ns)),
    number("p50", 4, |row, _| time(&row.figures, |f| f.quantiles([0.5])[0])),
    number("p99", 3, |row, _| time(&row.figures, |f| f.quantiles([0.99])[0])),
    number("max", 5, |row, _| time(&row.figures, Figures::max_ns)),
    // Calls without a time of their own: `exit`, or still waiting.
    number("not back", 6, |row, _| match row.figures.never_returned + row.figures.in_flight() {
        0 => String::new(),
        n => units::grouped(n),
    }),
];

fn time(figures: &Figures, of: impl Fn(&Figures) -> u64) -> String {
    if figures.timed() == 0 { units::NONE.into() } else { units::time(of(figures)) }
}

fn share(part: u64, whole: u64) -> String {
    format!("{:.1}", 100.0 * part as f64 / whole.max(1) as f64)
}

fn pid(row: &Row, _: &Sums) -> String {
    row.process.as_ref().and_then(|p| p.tgid).map_or_else(|| "-".into(), |pid| pid.to_string())
}

fn comm(row: &Row, _: &Sums) -> String {
    row.process.as_ref().map(|p| p.comm.clone()).unwrap_or_default()
}

fn syscall(row: &Row, _: &Sums) -> String {
    row.key.map(syscalls::name_with_abi).unwrap_or_default()
}

fn columns(by: Grouping) -> Vec<Column> {
    let left = |title, cell| Column { title, right: false, expendable: 0, cell };
    let mut columns: Vec<Column> = FIGURES.into();
    if by != Grouping::Syscall {
        columns.push(number("pid", 0, pid));
        columns.push(left("process", comm as fn(&Row, &Sums) -> String));
    }
    if by != Grouping::Process {
        columns.push(left("syscall", syscall));
    }
    columns
}

/// Writes a headline, the table, and what was lost if anything was.
///
/// # Errors
/// What `out` returns.
pub fn write(
    out: &mut impl io::Write,
    rows: &[Row],
    by: Grouping,
    window: Duration,
    health: &Health,
    style: Style,
) -> io::Result<()> {
    let sum = rows::total(rows);
    let sums = Sums { total_ns: sum.total_ns };
    writeln!(out, "{}", headline(&sum, window))?;
    warnings(out, health, style)?;
    if rows.is_empty() {
        return writeln!(out, "\nNo system call was made.");
    }
    writeln!(out)?;
    let mut columns = columns(by);
    let mut cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| columns.iter().map(|column| (column.cell)(row, &sums)).collect())
        .collect();
    drop_empty(&mut columns, &mut cells);
    drop_what_does_not_fit(&mut columns, &mut cells, style.width);
    let widths = widths(&columns, &cells);
    let needed: usize = widths.iter().map(|w| w + 2).sum();
    let sparkline =
        style.sparkline && style.width.is_none_or(|width| needed + SPARK_WIDTH <= width);
    let scale = style.sparkline.then(|| scale(&sum.latency)).flatten();

    let mut title = line(&columns, &widths, |i| columns[i].title.into());
    if let (true, Some((first, last))) = (sparkline, scale) {
        let _ = write!(title, "  {}", scale_title(first, last));
    }
    let (on, off) = if style.color { (BOLD, RESET) } else { ("", "") };
    writeln!(out, "{on}{}{off}", title.trim_end())?;
    for (row, cells) in rows.iter().zip(&cells) {
        let mut text = line(&columns, &widths, |i| cells[i].clone());
        if let (true, Some(scale)) = (sparkline, scale) {
            let _ = write!(text, "  {}", spark(&row.figures.latency, scale, style.unicode));
        }
        let (on, off) = if style.color && row.figures.errors > 0 { (RED, RESET) } else { ("", "") };
        writeln!(out, "{on}{}{off}", text.trim_end())?;
    }
    Ok(())
}

fn headline(sum: &Figures, window: Duration) -> String {
    let seconds = window.as_secs_f64();
    let mut line = format!(
        "{} system calls in {seconds:.3} s ({}/s), {} with an error",
        units::grouped(sum.calls),
        units::rate(sum.calls, seconds),
        units::grouped(sum.errors),
    );
    for (n, what) in [(sum.restarted, "to be restarted"), (sum.denied, "denied")] {
        if n > 0 {
            let _ = write!(line, ", {} {what}", units::grouped(n));
        }
    }
    line
}

fn warnings(out: &mut impl io::Write, health: &Health, style: Style) -> io::Result<()> {
    let (on, off) = if style.color { (RED, RESET) } else { ("", "") };
    if health.lost() > 0 {
        writeln!(
            out,
            "{on}{} calls or more were lost: these figures are too low.{off}",
            units::grouped(health.lost())
        )?;
    }
    if health.breaches > 0 {
        writeln!(
            out,
            "{on}The books of {} threads do not balance: entries and exits disagree. Please report this.{off}",
            units::grouped(health.breaches)
        )?;
    }
    if health.overflowed > 0 {
        writeln!(
            out,
            "{on}{} calls found no room and are counted without their process; raise --max-memory or --max-threads.{off}",
            units::grouped(health.overflowed)
        )?;
    }
    Ok(())
}

/// Leaves out columns of figures in which no row has anything.
fn drop_empty(columns: &mut Vec<Column>, cells: &mut [Vec<String>]) {
    for i in (0..columns.len()).rev() {
        if columns[i].expendable > 0 && cells.iter().all(|row| row[i].is_empty()) {
            remove(columns, cells, i);
        }
    }
}

fn drop_what_does_not_fit(
    columns: &mut Vec<Column>,
    cells: &mut [Vec<String>],
    width: Option<usize>,
) {
    let Some(width) = width else { return };
    while widths(columns, cells).iter().map(|w| w + 2).sum::<usize>() > width + 2 {
        let worst = (0..columns.len())
            .filter(|&i| columns[i].expendable > 0)
            .max_by_key(|&i| columns[i].expendable);
        match worst {
            Some(i) => remove(columns, cells, i),
            None => return,
        }
    }
}

fn remove(columns: &mut Vec<Column>, cells: &mut [Vec<String>], at: usize) {
    columns.remove(at);
    for row in cells {
        row.remove(at);
    }
}

fn widths(columns: &[Column], cells: &[Vec<String>]) -> Vec<usize> {
    (0..columns.len())
        .map(|i| {
            let widest = cells.iter().map(|row| row[i].width()).max().unwrap_or(0);
            widest.max(columns[i].title.width())
        })
        .collect()
}

fn line(columns: &[Column], widths: &[usize], cell: impl Fn(usize) -> String) -> String {
    let mut line = String::new();
    for (i, column) in columns.iter().enumerate() {
        if i > 0 {
            line.push_str("  ");
        }
        line.push_str(&units::pad(&cell(i), widths[i], column.right));
    }
    line
}

/// First and last bucket that any row fills: all sparklines share one scale.
fn scale(all: &Latency) -> Option<(usize, usize)> {
    let (first, _) = all.iter().next()?;
    let (last, _) = all.iter().next_back()?;
    Some((first, last))
}

fn scale_title(first: usize, last: usize) -> String {
    let from = units::time(profiler_common::hist::lower(first));
    let to = units::time(profiler_common::hist::upper(last));
    let dots = SPARK_WIDTH.saturating_sub(from.len() + to.len() + 2);
    format!("{from} {} {to}", ".".repeat(dots.max(1)))
}

/// A latency distribution in one line; each character is a range of latencies of
/// the same width on a logarithmic scale.
fn spark(latency: &Latency, (first, last): (usize, usize), unicode: bool) -> String {
    debug_assert!(last < BUCKETS);
    let mut sums = [0_u64; SPARK_WIDTH];
    let buckets = last - first + 1;
    for (bucket, count) in latency.iter() {
        sums[(bucket - first) * SPARK_WIDTH / buckets] += count;
    }
    let most = sums.iter().copied().max().unwrap_or(0).max(1);
    let sparks = if unicode { SPARKS_UNICODE } else { SPARKS_ASCII };
    sums.iter()
        // What is there at all is seen, however little it is.
        .map(|&n| sparks[(n * 8).div_ceil(most) as usize])
        .collect()
}
