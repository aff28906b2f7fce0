//! The table of `profiler stat`, for people.

use std::{fmt::Write as _, io, time::Duration};

use profiler_common::hist::BUCKETS;

use super::{
    Report, bars,
    columns::{self, Column, Form, Whole, share},
    cost, failures,
    grid::{Grid, Place},
    in_flight, not_shown, operations,
    origin::time as time_of_day,
    paint::{BAD, HEADING, PLAIN},
    rows::{self, Row},
    units,
};
use crate::model::{Figures, Health, InFlight, Latency, Timed};

/// The style of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// Columns of the terminal, or `None` for no limit.
    pub width: Option<usize>,
    /// Draw a sparkline of latencies at the end of each line.
    pub sparkline: bool,
    /// Whether characters beyond ASCII may be used.
    pub unicode: bool,
}

impl Style {
    /// For a file or a pipe.
    pub const PLAIN: Self = Self { width: None, sparkline: false, unicode: false };
}

/// Characters of a sparkline.
const SPARK_WIDTH: usize = 16;

/// Writes a report: its time, a headline, warnings, the table, the rows that are not shown, calls
/// in flight and, with `--self`, the profiler's own cost.
///
/// # Errors
/// If `out` cannot be written.
pub fn write(out: &mut impl io::Write, report: &Report<'_>, style: Style) -> io::Result<()> {
    let Report { origin, rows, hidden, window, health, .. } = *report;
    writeln!(out, "{} to {}", time_of_day(origin.start), time_of_day(origin.end))?;
    let mut sum = rows::total(rows);
    sum.merge(&hidden.left_out.figures);
    writeln!(out, "{}", headline(&sum, report.in_flight, window))?;
    if let Timed::OneIn(calls) = health.timed {
        writeln!(out, "Timed: one call in {calls}; totals are estimates from these.")?;
    }
    if let Timed::Adaptive(limit) = health.timed {
        adaptive(out, &sum, limit.get(), rows)?;
    }
    warnings(out, health)?;
    if !rows.is_empty() {
        writeln!(out)?;
        table(out, report, style)?;
    } else if hidden.rows == 0 {
        writeln!(out, "\nNo syscall was made.")?;
    }
    not_shown::write(out, report)?;
    failures::write(out, report, style)?;
    operations::write(out, report, style)?;
    in_flight::write(out, report, style)?;
    report.own.map_or(Ok(()), |own| cost::write(out, own, report, style))
}

/// Says how many calls were timed with adaptive sampling, and how far quantiles can be off.
fn adaptive(out: &mut impl io::Write, sum: &Figures, limit: u32, rows: &[Row]) -> io::Result<()> {
    if sum.untimed == 0 {
        return writeln!(out, "Timed: every call.");
    }
    let (timed, left) = (units::grouped(sum.timed()), units::grouped(sum.left()));
    let limit = units::grouped(limit.into());
    writeln!(
        out,
        "Timed: {timed} of {left} calls, at most {limit} per second of each thread and syscall. \
         ~ marks estimates."
    )?;
    let errors = rows.iter().filter_map(|row| row.figures.rank_error());
    let Some(error) = errors.reduce(f64::max) else { return Ok(()) };
    writeln!(
        out,
        "Quantiles of rows with ~ are off by at most {:.1} % of the calls (95 % confidence).",
        100.0 * error
    )
}

fn table(out: &mut impl io::Write, report: &Report<'_>, style: Style) -> io::Result<()> {
    let Report { rows, hidden, shown, by, health, .. } = *report;
    let sum = rows::total(rows);
    // Sums up the shown rows, because estimates of parts do not add up to the estimate of the
    // whole. Hidden rows that wait by nature would make every share tiny.
    let shown_ns: u64 = rows.iter().map(|row| row.figures.estimated_total_ns()).sum();
    let whole = Whole {
        time_ns: shown_ns + hidden.left_out.total_ns - hidden.waits.total_ns,
        calls: sum.calls + hidden.left_out.figures.calls - hidden.waits.figures.calls,
    };
    let columns = columns::of_report(by, health.timed, health.off_cpu);
    let of_row = |row: &Row| columns.iter().map(|c| c.cell(row, whole, Form::Exact)).collect();
    let cells = rows.iter().map(of_row).collect();
    let grid = Grid::new(columns.iter().map(|&column| place(column)).collect(), cells, style.width);
    let needed = grid.width() + 2 + SPARK_WIDTH;
    let sparkline = style.sparkline && style.width.is_none_or(|width| needed <= width);
    let scale = style.sparkline.then(|| scale(&sum.latency)).flatten();
    // In a pipe, a row is always one line, so that grep(1) finds the syscall of an errno.
    let errors_in_line = shown.show_errno && style.width.is_none() && sum.errors > 0;

    let mut title = grid.title();
    if let (true, Some((first, last))) = (sparkline, scale) {
        let _ = write!(title, "  {}", scale_title(first, last));
    }
    if errors_in_line {
        let _ = write!(title, "  {}", Column::ErrorsByName.spec().title);
    }
    writeln!(out, "{HEADING}{}{HEADING:#}", title.trim_end())?;
    let first_that_waits = first_that_waits(report);
    for (index, (row, mut text)) in rows.iter().zip(grid.lines()).enumerate() {
        if first_that_waits == Some(index) {
            let waiting = rows[index..].iter().map(|row| row.figures.estimated_total_ns()).sum();
            let share = share(waiting, whole.time_ns);
            writeln!(
                out,
                "{HEADING}Waiting by nature, {share} % of the time (--no-waits hides it):{HEADING:#}"
            )?;
        }
        if let (true, Some(scale)) = (sparkline, scale) {
            let _ = write!(text, "  {}", spark(&row.figures.latency, scale, style.unicode));
        }
        let errors = if shown.show_errno { rows::errors_by_name(&row.figures) } else { Vec::new() };
        if errors_in_line {
            let _ = write!(text, "  {}", errors.join(", "));
        }
        let paint = if row.figures.errors > 0 { BAD } else { PLAIN };
        writeln!(out, "{paint}{}{paint:#}", text.trim_end())?;
        if let (false, Some(width)) = (errors_in_line, style.width) {
            for line in wrapped(&errors, width) {
                writeln!(out, "{paint}{line}{paint:#}")?;
            }
        }
    }
    Ok(())
}

/// Lays out a column. The columns that identify the process are never omitted.
fn place(column: Column) -> Place {
    let place = Place::from(column);
    if column == Column::Pid { Place { expendable: 0, ..place } } else { place }
}

/// The index of the first row that waits by nature, if the default order puts such rows last.
fn first_that_waits(report: &Report<'_>) -> Option<usize> {
    let Report { rows, shown, health, .. } = *report;
    if shown.sort.is_some() || health.timed == Timed::None {
        return None;
    }
    rows.iter().position(Row::waits).filter(|&index| index > 0)
}

/// The errors of a row, in lines of at most `width` columns.
fn wrapped(errors: &[String], width: usize) -> Vec<String> {
    const INDENT: usize = 8;
    let mut lines: Vec<String> = Vec::new();
    for error in errors {
        match lines.last_mut() {
            Some(line) if line.len() + 2 + error.len() < width => {
                let _ = write!(line, ", {error}");
            }
            last => {
                if let Some(line) = last {
                    line.push(',');
                }
                lines.push(" ".repeat(INDENT) + error);
            }
        }
    }
    lines
}

fn headline(sum: &Figures, in_flight: &InFlight, window: Duration) -> String {
    let seconds = window.as_secs_f64();
    let mut line = format!(
        "{} syscalls in {seconds:.3} s ({}/s), {} with an error",
        units::grouped(sum.calls),
        units::rate(sum.calls, seconds),
        units::grouped(sum.errors),
    );
    let others = [
        (sum.restarted, "restarted"),
        (sum.denied, "denied"),
        (sum.never_returned, if sum.never_returned == 1 { "thread exit" } else { "thread exits" }),
        (in_flight.count_all(), "in flight"),
    ];
    for (n, what) in others {
        if n > 0 {
            let _ = write!(line, ", {} {what}", units::grouped(n));
        }
    }
    // These calls are in none of the counts above.
    let before = in_flight.count_before();
    if before > 0 {
        let _ = write!(line, " ({} entered before the attach)", units::grouped(before));
    }
    line
}

fn warnings(out: &mut impl io::Write, health: &Health) -> io::Result<()> {
    if health.lost() > 0 {
        writeln!(
            out,
            "{BAD}{} calls were lost: these figures are too low.{BAD:#}",
            units::grouped(health.lost())
        )?;
    }
    if health.unseen > 0 {
        writeln!(
            out,
            "{BAD}The kernel skipped the profiler for up to {} more entries and exits; see `profiler doctor`.{BAD:#}",
            units::grouped(health.unseen)
        )?;
    }
    if let Some(kernel) = health.kernel_off_cpu()
        && kernel.unreported_returns > 0
    {
        writeln!(
            out,
            "{BAD}The kernel did not report {} to a CPU: up to {} of 'on cpu' was time off the CPU.{BAD:#}",
            units::counted(kernel.unreported_returns, "return"),
            units::time(kernel.unreported_ns)
        )?;
    }
    if health.breaches > 0 {
        writeln!(
            out,
            "{BAD}{} sums are wrong, most recently that of {}. This is a bug in the profiler: please report this line.{BAD:#}",
            units::grouped(health.breaches),
            health.last_breach
        )?;
    }
    if health.overflowed > 0 {
        writeln!(
            out,
            "{BAD}{} calls are counted without their process, because the tables were full; raise --max-memory or --max-threads{}.{BAD:#}",
            units::grouped(health.overflowed),
            health.used_up_share()
        )?;
    }
    Ok(())
}

/// The first and the last bucket that is not empty in any row. All sparklines share this scale.
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

/// A latency distribution in one line. Each character stands for a range of latencies, of the
/// same width on a logarithmic scale.
fn spark(latency: &Latency, (first, last): (usize, usize), unicode: bool) -> String {
    debug_assert!(last < BUCKETS);
    let mut sums = [0_u64; SPARK_WIDTH];
    let buckets = last - first + 1;
    for (bucket, count) in latency.iter() {
        sums[(bucket - first) * SPARK_WIDTH / buckets] += count;
    }
    bars::sparkline(&sums, unicode)
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
