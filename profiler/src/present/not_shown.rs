//! The sentences below the table of `profiler stat` about rows that are not shown.

use std::io;

use super::{Report, columns::share, shown::Hidden, units};
use crate::model::{Dimension, Timed};

/// Suggests --no-waits if most of the time is in syscalls that wait by nature. In rows of
/// processes, waiting is a part of each sum, so it cannot come last.
fn hint_at_waits(out: &mut impl io::Write, report: &Report<'_>) -> io::Result<()> {
    let Report { rows, hidden, shown, by, .. } = *report;
    let total_ns: u64 = rows.iter().map(|row| row.figures.estimated_total_ns()).sum();
    let waiting_ns = hidden.waiting_ns;
    if by.has(Dimension::Syscall) || shown.sort.is_some() || waiting_ns <= total_ns / 2 {
        return Ok(());
    }
    let share = share(waiting_ns, total_ns);
    writeln!(
        out,
        "\n{share} % of the time is in syscalls that wait by nature; --no-waits hides it."
    )
}

/// Writes how many rows, calls and how much time are not shown.
///
/// # Errors
/// If `out` cannot be written.
pub(super) fn write(out: &mut impl io::Write, report: &Report<'_>) -> io::Result<()> {
    let Report { rows, hidden, shown, by, health, .. } = *report;
    let Hidden { left_out, waits, .. } = hidden;
    if !shown.is_filtered() {
        return hint_at_waits(out, report);
    }
    if left_out.rows > 0 {
        writeln!(out)?;
    }
    let time = |ns: u64| match health.timed {
        Timed::None => String::new(),
        _ => format!(", {}", units::time(ns)),
    };
    let dropped = left_out.rows - waits.rows;
    if dropped > 0 {
        let calls = left_out.figures.calls - waits.figures.calls;
        writeln!(
            out,
            "Not shown ({}): {}, with {} calls{}.",
            shown.row_filters(),
            units::counted(dropped as u64, "row"),
            units::grouped(calls),
            time(left_out.total_ns - waits.total_ns),
        )?;
    }
    if waits.rows > 0 {
        let shown_ns: u64 = rows.iter().map(|row| row.figures.estimated_total_ns()).sum();
        let share = match health.timed {
            Timed::None => String::new(),
            _ => {
                format!(" ({} % of the time)", share(waits.total_ns, shown_ns + left_out.total_ns))
            }
        };
        // A process that also makes other calls still has a row.
        let part = if by.has(Dimension::Syscall) { "" } else { "part of " };
        writeln!(
            out,
            "Not shown (--no-waits): {part}{}, with {} calls{}{share}.",
            units::counted(waits.rows as u64, "row"),
            units::grouped(waits.figures.calls),
            time(waits.total_ns),
        )?;
    }
    Ok(())
}
