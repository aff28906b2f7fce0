//! What the table of `profiler stat` says of rows that it does not show.

use std::io;

use super::{Report, columns::share, units};
use crate::model::{Grouping, Timed};

/// Rows of processes are sums, in which waiting cannot come last: says how much of them it is,
/// if it is most.
fn hint_at_waits(out: &mut impl io::Write, report: &Report<'_>) -> io::Result<()> {
    let Report { rows, hidden, shown, by, .. } = *report;
    let total_ns: u64 = rows.iter().map(|row| row.figures.estimated_total_ns()).sum();
    let waiting_ns = hidden.waiting_ns;
    if by != Grouping::Process || shown.sort.is_some() || waiting_ns <= total_ns / 2 {
        return Ok(());
    }
    let share = share(waiting_ns, total_ns);
    writeln!(
        out,
        "\n{share} % of the time is in syscalls that wait by nature; --no-waits hides it."
    )
}

/// Says what filters of what is shown leave out.
///
/// # Errors
/// What `out` returns.
pub(super) fn write(out: &mut impl io::Write, report: &Report<'_>) -> io::Result<()> {
    let Report { rows, hidden, shown, by, health, .. } = *report;
    if !shown.is_filtered() {
        // Rows of processes are sums, in which waiting cannot come last.
        return hint_at_waits(out, report);
    }
    writeln!(out)?;
    let time = |ns: u64| match health.timed {
        Timed::None => String::new(),
        _ => format!(", {}", units::time(ns)),
    };
    let filters = shown.row_filters();
    if !filters.is_empty() {
        let waiting = if by == Grouping::Process { 0 } else { hidden.waits.rows };
        let calls = hidden.left_out.figures.calls - hidden.waits.figures.calls;
        writeln!(
            out,
            "Not shown ({filters}): {}, with {} calls{}.",
            units::counted(hidden.rows.saturating_sub(waiting) as u64, "row"),
            units::grouped(calls),
            time(hidden.left_out.total_ns - hidden.waits.total_ns),
        )?;
    }
    if shown.no_waits {
        let waits = &hidden.waits;
        let shown_ns: u64 = rows.iter().map(|row| row.figures.estimated_total_ns()).sum();
        let whole_ns = shown_ns + hidden.left_out.total_ns;
        let share = match health.timed {
            Timed::None => String::new(),
            _ => format!(" ({} % of the time)", share(waits.total_ns, whole_ns)),
        };
        writeln!(
            out,
            "Not shown (--no-waits): {}, with {} calls{}{share}.",
            units::counted(waits.rows as u64, "row"),
            units::grouped(waits.figures.calls),
            time(waits.total_ns),
        )?;
    }
    Ok(())
}
