//! The table of `profiler stat`, for people.

use std::{fmt::Write as _, io, time::Duration};

use profiler_common::hist::BUCKETS;

use super::{
    Report, cost,
    grid::{self, Grid},
    in_flight,
    origin::time as time_of_day,
    rows::{self, Row},
    units,
};
use crate::{
    model::{Figures, Grouping, Health, Latency, Timed},
    names::syscalls,
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

pub(super) const BOLD: &str = "\x1b[1m";
pub(super) const RED: &str = "\x1b[31m";
pub(super) const RESET: &str = "\x1b[0m";

/// A column of the grid, and what stands in it.
struct Column {
    place: grid::Column,
    cell: fn(&Row, &Sums) -> String,
}

/// What a row is compared with.
struct Sums {
    total_ns: u64,
    calls: u64,
}

const SHARE_OF_TIME: &str = "% time";

/// The columns that say nothing where no call is timed, beside [`SHARE_OF_TIME`].
const OF_TIMES: [&str; 5] = ["total", "mean", "p50", "p99", "max"];

/// What stands there instead of the share of the time.
const SHARE_OF_CALLS: Column =
    number("% calls", 0, |row, sums| share(row.figures.calls, sums.calls));

const fn number(title: &'static str, expendable: u8, cell: fn(&Row, &Sums) -> String) -> Column {
    Column { place: grid::Column { title, right: true, expendable }, cell }
}

const FIGURES: [Column; 13] = [
    number(SHARE_OF_TIME, 0, |row, sums| share(row.figures.estimated_total_ns(), sums.total_ns)),
    number("total", 0, |row, _| units::time(row.figures.estimated_total_ns())),
    number("calls", 0, |row, _| units::grouped(row.figures.calls)),
    number("errors", 2, |row, _| unless_zero(row.figures.errors)),
    number("mean", 1, |row, _| time(&row.figures, Figures::mean_ns)),
    number("p50", 4, |row, _| time(&row.figures, |f| f.quantiles([0.5])[0])),
    number("p99", 3, |row, _| time(&row.figures, |f| f.quantiles([0.99])[0])),
    number("max", 5, |row, _| time(&row.figures, Figures::max_ns)),
    number("denied", 6, |row, _| unless_zero(row.figures.denied)),
    number("in flight", 7, |row, _| unless_zero(row.in_flight)),
    number("restarted", 8, |row, _| unless_zero(row.figures.restarted)),
    number("no return", 9, |row, _| unless_zero(row.figures.never_returned)),
    number("lost", 1, |row, _| unless_zero(row.figures.lost)),
];

fn unless_zero(n: u64) -> String {
    if n == 0 { String::new() } else { units::grouped(n) }
}

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
    row.process.as_ref().map(|p| p.comm.to_string()).unwrap_or_default()
}

fn syscall(row: &Row, _: &Sums) -> String {
    row.key.map(syscalls::name_with_abi).unwrap_or_default()
}

fn columns(by: Grouping, timed: Timed) -> Vec<Column> {
    let left =
        |title, cell| Column { place: grid::Column { title, right: false, expendable: 0 }, cell };
    let mut columns: Vec<Column> = FIGURES.into();
    if timed == Timed::None {
        columns.retain(|column| !OF_TIMES.contains(&column.place.title));
        for column in columns.iter_mut().filter(|c| c.place.title == SHARE_OF_TIME) {
            *column = SHARE_OF_CALLS;
        }
    }
    if by != Grouping::Syscall {
        columns.push(number("pid", 0, pid));
        columns.push(left("process", comm as fn(&Row, &Sums) -> String));
    }
    if by != Grouping::Process {
        columns.push(left("syscall", syscall));
    }
    columns
}

/// Writes when it is of, a headline, what was lost if anything was, the table, what has not returned,
/// and if it is asked for what all that cost.
///
/// # Errors
/// What `out` returns.
pub fn write(out: &mut impl io::Write, report: &Report<'_>, style: Style) -> io::Result<()> {
    let Report { origin, rows, window, health, .. } = *report;
    writeln!(out, "{} to {}", time_of_day(origin.start), time_of_day(origin.end))?;
    let sum = rows::total(rows);
    // The others are in none of these figures, and listed below.
    let entered = report.in_flight.count_all() - report.in_flight.count_before();
    writeln!(out, "{}", headline(&sum, entered, window))?;
    if let Timed::OneIn(calls) = health.timed {
        writeln!(out, "Timed: one call in {calls}; totals are estimates from these.")?;
    }
    warnings(out, health, style)?;
    if rows.is_empty() {
        writeln!(out, "\nNo system call was made.")?;
    } else {
        writeln!(out)?;
        table(out, report, &sum, style)?;
    }
    in_flight::write(out, report, style)?;
    report.own.map_or(Ok(()), |own| cost::write(out, own, report, style))
}

fn table(
    out: &mut impl io::Write,
    report: &Report<'_>,
    sum: &Figures,
    style: Style,
) -> io::Result<()> {
    let Report { rows, by, health, .. } = *report;
    // Of the rows as they are shown: estimates of parts do not add up to that of the whole.
    let total_ns = rows.iter().map(|row| row.figures.estimated_total_ns()).sum();
    let sums = Sums { total_ns, calls: sum.calls };
    let columns = columns(by, health.timed);
    let cells = rows
        .iter()
        .map(|row| columns.iter().map(|column| (column.cell)(row, &sums)).collect())
        .collect();
    let places = columns.iter().map(|column| column.place).collect();
    let grid = Grid::new(places, cells, style.width);
    let needed = grid.width() + 2 + SPARK_WIDTH;
    let sparkline = style.sparkline && style.width.is_none_or(|width| needed <= width);
    let scale = style.sparkline.then(|| scale(&sum.latency)).flatten();

    let mut title = grid.title();
    if let (true, Some((first, last))) = (sparkline, scale) {
        let _ = write!(title, "  {}", scale_title(first, last));
    }
    let (on, off) = if style.color { (BOLD, RESET) } else { ("", "") };
    writeln!(out, "{on}{}{off}", title.trim_end())?;
    for (row, mut text) in rows.iter().zip(grid.lines()) {
        if let (true, Some(scale)) = (sparkline, scale) {
            let _ = write!(text, "  {}", spark(&row.figures.latency, scale, style.unicode));
        }
        let (on, off) = if style.color && row.figures.errors > 0 { (RED, RESET) } else { ("", "") };
        writeln!(out, "{on}{}{off}", text.trim_end())?;
    }
    Ok(())
}

fn headline(sum: &Figures, in_flight: u64, window: Duration) -> String {
    let seconds = window.as_secs_f64();
    let mut line = format!(
        "{} system calls in {seconds:.3} s ({}/s), {} with an error",
        units::grouped(sum.calls),
        units::rate(sum.calls, seconds),
        units::grouped(sum.errors),
    );
    let others = [
        (sum.restarted, "restarted"),
        (sum.denied, "denied"),
        (sum.never_returned, "that never return"),
        (in_flight, "in flight"),
    ];
    for (n, what) in others {
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
            "{on}{} calls were lost: these figures are too low.{off}",
            units::grouped(health.lost())
        )?;
    }
    if health.unseen() > 0 {
        writeln!(
            out,
            "{on}The kernel skipped the profiler for up to {} more entries and exits; see `profiler doctor`.{off}",
            units::grouped(health.unseen())
        )?;
    }
    if health.breaches > 0 {
        writeln!(
            out,
            "{on}{} books do not balance, the last of them of {}. Please report this.{off}",
            units::grouped(health.breaches),
            health.last_breach
        )?;
    }
    if health.overflowed > 0 {
        writeln!(
            out,
            "{on}{} calls found no room and are counted without their process; raise --max-memory or --max-threads{}.{off}",
            units::grouped(health.overflowed),
            health.used_up_share()
        )?;
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use profiler_common::call::CallKey;

    use super::*;
    use crate::{
        filter::Filter,
        model::{CallInFlight, Extremes, InFlight, Scope},
    };

    fn row(nr: u32, figures: Figures, in_flight: u64) -> Row {
        Row { process: None, key: Some(CallKey(nr)), figures, in_flight }
    }

    fn timed(calls: u64) -> Figures {
        let mut figures = Figures {
            calls,
            returned: calls,
            total_ns: 100 * calls,
            extremes: Some(Extremes { min_ns: 100, max_ns: 100 }),
            ..Figures::default()
        };
        figures.latency.add(profiler_common::hist::bucket(100) as usize, calls);
        figures
    }

    fn text(rows: &[Row], threads: u64, width: Option<usize>) -> String {
        let call = CallInFlight {
            key: CallKey(202),
            kind: crate::names::waits::kind(CallKey(202)),
            threads,
            unrecorded: 0,
            before: 0,
            oldest: Duration::ZERO,
        };
        let report = Report {
            origin: &crate::present::origin::fixed(),
            rows,
            by: Grouping::Syscall,
            window: Duration::from_secs(2),
            health: &Health::default(),
            in_flight: &InFlight { calls: vec![call], oldest: Vec::new(), sees_before: false },
            own: None,
            scope: &Scope::Host,
            filter: &Filter::default(),
            more_follow: true,
        };
        let mut out = Vec::new();
        write(&mut out, &report, Style { width, ..Style::PLAIN }).expect("a vector takes all");
        String::from_utf8(out).expect("UTF-8")
    }

    fn every_outcome() -> [Row; 3] {
        let failing = Figures { returned: 10, errors: 1, restarted: 2, denied: 7, ..timed(12) };
        [
            row(0, failing, 0),
            row(231, Figures { calls: 1, never_returned: 1, ..Figures::default() }, 0),
            row(202, Figures { calls: 3, ..Figures::default() }, 3),
        ]
    }

    #[test]
    fn every_outcome_that_there_was_has_a_column() {
        insta::assert_snapshot!(text(&every_outcome(), 3, None), @r"
        2023-11-14T22:13:19.734Z to 2023-11-14T22:13:21.234Z
        16 system calls in 2.000 s (8.0/s), 1 with an error, 2 restarted, 7 denied, 1 that never return, 3 in flight

        % time   total  calls  errors   mean    p50    p99    max  denied  in flight  restarted  no return  syscall
         100.0  1.20us     12       1  100ns  100ns  100ns  100ns       7                     2             read
           0.0     0ns      1              -      -      -      -                                        1  exit_group
           0.0     0ns      3              -      -      -      -                  3                        futex
        ");
    }

    #[test]
    fn what_did_not_happen_has_none() {
        insta::assert_snapshot!(text(&[row(0, timed(10), 0)], 0, None), @r"
        2023-11-14T22:13:19.734Z to 2023-11-14T22:13:21.234Z
        10 system calls in 2.000 s (5.0/s), 0 with an error

        % time   total  calls   mean    p50    p99    max  syscall
         100.0  1.00us     10  100ns  100ns  100ns  100ns  read
        ");
    }

    #[test]
    fn a_narrow_terminal_has_the_outcomes_in_the_headline() {
        insta::assert_snapshot!(text(&every_outcome(), 3, Some(50)), @r"
        2023-11-14T22:13:19.734Z to 2023-11-14T22:13:21.234Z
        16 system calls in 2.000 s (8.0/s), 1 with an error, 2 restarted, 7 denied, 1 that never return, 3 in flight

        % time   total  calls  errors   mean  syscall
         100.0  1.20us     12       1  100ns  read
           0.0     0ns      1              -  exit_group
           0.0     0ns      3              -  futex
        ");
    }

    #[test]
    fn calls_without_room_say_whether_a_user_had_used_up_its_share() {
        let text = |greediest_user| {
            let health = Health { overflowed: 7, greediest_user, ..Health::default() };
            let style = Style { width: None, sparkline: false, color: false, unicode: false };
            let mut out = Vec::new();
            warnings(&mut out, &health, style).expect("a vector");
            String::from_utf8(out).expect("text")
        };
        assert!(text(None).contains("raise --max-memory or --max-threads."));
        let said = "--max-threads (a user has used up its share; user 1000 holds the most).";
        assert!(text(Some(1_000)).contains(said), "{}", text(Some(1_000)));
    }
}
