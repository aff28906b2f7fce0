//! What a process did in the last seconds, in words.

use super::Line;
use crate::{
    model::{CallProfile, CpuUse, FailedCalls, ProcessProfile},
    present::units,
};

/// Paths that are printed of one syscall and errno.
const MOST_PATHS: usize = 5;

/// Writes the profile.
pub(super) fn lines(lines: &mut Vec<Line>, profile: &ProcessProfile) {
    // Without counted calls, only the use of CPUs is known.
    let cpu_window = profile.cpu.map_or(0, |cpu| cpu.window_ns);
    let window_ns = if profile.calls.is_some() { profile.window_ns } else { cpu_window };
    lines.push(Line::heading(format!("The last {}", units::time(window_ns))));
    if let Some(cpu) = &profile.cpu {
        lines.push(Line::text(format!("  {}", cpu_text(cpu))));
    }
    if let Some(calls) = &profile.calls {
        of_calls(lines, calls);
        errors(lines, calls, profile.failures.as_ref());
    }
}

fn cpu_text(cpu: &CpuUse) -> String {
    let CpuUse { window_ns, on_cpu_ns, system_ns, runnable_ns } = *cpu;
    let share = |ns: u64| units::percent(ns as f64 / window_ns.max(1) as f64);
    format!(
        "{} of a CPU ({} in the kernel); its threads waited for a CPU for {} of the time",
        share(on_cpu_ns),
        share(system_ns),
        share(runnable_ns)
    )
}

fn of_calls(lines: &mut Vec<Line>, calls: &CallProfile) {
    let mut total = format!(
        "  {}, {}",
        units::counted(calls.calls, "syscall"),
        units::counted(calls.errors, "error")
    );
    if calls.lost > 0 {
        total += &format!("; up to {} more are missing", units::grouped(calls.lost));
    }
    lines.push(Line::text(total));
    if calls.rows.is_empty() {
        return;
    }
    let heading: &[&str] = match calls.is_split {
        true => &["total", "on cpu", "waiting", "runnable", "calls", "errors", "max", "syscall"],
        false => &["total", "calls", "errors", "max", "syscall"],
    };
    let mut rows: Vec<Vec<String>> = vec![heading.iter().map(|&title| title.to_owned()).collect()];
    for row in &calls.rows {
        let mut cells = vec![units::time(row.total_ns)];
        if calls.is_split {
            cells.extend([row.on_cpu_ns, row.waiting_ns, row.runnable_ns].map(units::time));
        }
        cells.extend([units::grouped(row.calls), units::grouped(row.errors)]);
        cells.push(units::latency(row.max_ns, row.max_ns));
        let note = if row.waits_by_nature { " (waits by nature)" } else { "" };
        cells.push(format!("{}{note}", row.syscall));
        rows.push(cells);
    }
    let last = heading.len() - 1;
    let width = |at: usize| rows.iter().map(|row| row[at].len()).max().unwrap_or(0);
    let widths: Vec<_> = (0..last).map(width).collect();
    for row in &rows {
        let mut text = String::from(" ");
        for (cell, width) in row.iter().zip(&widths) {
            text += &format!(" {cell:>width$} ");
        }
        lines.push(Line::text(format!("{text} {}", row[last])));
    }
    if calls.omitted > 0 {
        let more = units::counted(calls.omitted as u64, "more syscall");
        lines.push(Line::text(format!("  and {more}")));
    }
}

/// Errors by syscall and errno, and the paths of each.
fn errors(lines: &mut Vec<Line>, calls: &CallProfile, failures: Option<&FailedCalls>) {
    if calls.by_errno.is_empty() {
        return;
    }
    lines.push(Line::text(""));
    lines.push(Line::heading("Errors"));
    for error in &calls.by_errno {
        let count = units::grouped(error.count);
        lines.push(Line::text(format!("  {count:>8}  {} {}", error.syscall, error.errno)));
        let rows = failures.iter().flat_map(|failures| &failures.rows);
        let of_error = rows.filter(|row| {
            row.syscall == error.syscall && row.errno == error.errno && !row.path.raw().is_empty()
        });
        for row in of_error.take(MOST_PATHS) {
            let count = units::grouped(row.count);
            lines.push(Line::text(format!("  {:>8}  {count:>8}  {}", "", row.path)));
        }
    }
    if let Some(failures) = failures.filter(|failures| failures.dropped > 0) {
        lines.push(Line::text(format!(
            "  {} failed calls were traced, and {} events were dropped: the counts of paths are too low",
            units::grouped(failures.seen),
            units::grouped(failures.dropped)
        )));
    }
}
