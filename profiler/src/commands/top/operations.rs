//! Operations of io_uring: a line about those of the host or of the process that is opened, and the
//! view of the operations of a process with an opcode.

use super::{
    chart,
    header::Piece,
    latency,
    shown::Shown,
    style::{Look, Tone},
    view::{ProcessId, process_name},
};
use crate::{
    model::{Extremes, Figures, Grouping, OperationRow, Operations, Process, Span},
    names,
    present::{operations, units},
};

/// The figures of a row for a span.
pub(super) fn of(row: &OperationRow, span: Span) -> &Operations {
    match span {
        Span::Total => &row.total,
        Span::Recent => &row.recent,
    }
}

/// Operations as calls: a submission is a call, and a completion its return. The extremes are the
/// bounds of the outermost buckets.
pub(super) fn figures(operations: &Operations) -> Figures {
    let [min_ns, max_ns] = operations.quantiles([0.0, 1.0]);
    Figures {
        calls: operations.submitted,
        returned: operations.completed,
        errors: operations.errors(),
        errnos: operations.errnos.clone(),
        errors_unlisted: operations.errors_unlisted,
        untimed: operations.completed.wrapping_sub(operations.timed()),
        total_ns: operations.total_ns,
        extremes: (operations.timed() > 0).then_some(Extremes { min_ns, max_ns }),
        latency: operations.latency.clone(),
        ..Figures::default()
    }
}

/// The lines of the view of the operations of a process with an opcode. `size` is width and height.
pub(super) fn lines(
    (process, opcode): (&Process, Option<u8>),
    shown: &Shown,
    span: Span,
    (width, height): (usize, usize),
    look: Look,
) -> Vec<Vec<Piece>> {
    let id = ProcessId::from(process);
    let is_of = |row: &&OperationRow| row.opcode == opcode && ProcessId::from(&*row.process) == id;
    let title = format!("{} by {}", names::operations::name(opcode), process_name(process));
    let mut lines = vec![vec![Piece::new(look.printable(&title), Tone::Strong)]];
    let Some(row) = shown.snapshot.io_uring.rows.iter().find(is_of) else {
        let text = "these operations are no longer listed";
        lines.push(vec![Piece::new(text, Tone::Dim)]);
        return lines;
    };
    let (sums, seconds) = (of(row, span), span.length(&shown.snapshot).as_secs_f64());
    let count = |n: u64| match span {
        Span::Recent => format!("{}/s", units::rate(n, seconds)),
        Span::Total => units::count(n),
    };
    let figures = figures(sums);
    let always = [("submitted", sums.submitted), ("completed", sums.completed)];
    let others = [
        ("errors", sums.errors()),
        ("posted", sums.posted),
        ("overflowed", sums.overflowed),
        ("silent", sums.silent),
        ("unmatched", sums.unmatched),
        ("unreported", sums.unreported),
    ];
    let others = others.into_iter().filter(|&(_, n)| n > 0);
    let mut pieces: Vec<Piece> = (always.into_iter().chain(others))
        .map(|(what, n)| Piece::new(format!("{what} {}", count(n)), Tone::Normal))
        .collect();
    if row.total.in_flight() > 0 {
        let text = format!("in flight {}", units::count(row.total.in_flight()));
        pieces.push(Piece::new(text, Tone::Normal));
    }
    if figures.timed() > 0 {
        pieces.push(Piece::new(format!("mean {}", units::time(sums.mean_ns())), Tone::Normal));
    }
    lines.extend(latency::wrap(pieces, width));
    if figures.errors > 0 {
        lines.push(latency::errors(&figures));
    }
    if figures.timed() == 0 {
        let text = match span {
            Span::Recent => "no timed completion in the last interval; t shows since the start",
            Span::Total => "no timed completion",
        };
        lines.push(vec![Piece::new(text, Tone::Dim)]);
        return lines;
    }
    lines.extend(latency::wrap(latency::percentiles(&figures), width));
    let room = height.saturating_sub(lines.len());
    let chart = chart::lines(&figures, width, room, look);
    lines.extend(chart.into_iter().map(|(text, tone)| vec![Piece::new(text, tone)]));
    lines
}

/// The operations of `process`, or of all processes, the most frequent first. `None` if there
/// never was one.
pub(super) fn line(
    shown: Option<&Shown>,
    process: Option<&Process>,
    span: Span,
    look: Look,
) -> Option<Vec<Piece>> {
    let snapshot = &shown?.snapshot;
    let is_of = |row: &&OperationRow| {
        process.is_none_or(|process| {
            (row.process.tgid, row.process.start_ns) == (process.tgid, process.start_ns)
        })
    };
    let rows = || snapshot.io_uring.rows.iter().filter(is_of);
    rows().next()?;
    let in_flight: u64 = rows().map(|row| row.total.in_flight()).sum();
    let sums = operations::rows(rows(), Grouping::SYSCALL, span);
    let seconds = span.length(snapshot).as_secs_f64();
    let count = |n: u64| match span {
        Span::Recent => format!("{}/s", units::rate(n, seconds)),
        Span::Total => units::count(n),
    };
    let submitted = sums.iter().map(|sum| sum.figures.submitted).sum();
    let errors = sums.iter().map(|sum| sum.figures.errors()).sum();
    let mut pieces = vec![Piece::new(format!("io_uring {}", count(submitted)), Tone::Normal)];
    if errors > 0 {
        pieces.push(Piece::new(format!("errors {}", count(errors)), Tone::Normal).or_less(1));
    }
    if in_flight > 0 {
        let text = format!("in flight {}", units::count(in_flight));
        pieces.push(Piece::new(text, Tone::Normal).or_less(2));
    }
    for (place, sum) in sums.iter().enumerate() {
        let of = sum.figures.submitted.max(sum.figures.completed).max(sum.figures.posted);
        let text = look.printable(&format!("{} {}", sum.name(), count(of)));
        let expendable = u8::try_from(place).unwrap_or(u8::MAX).saturating_add(3);
        pieces.push(Piece::new(text, Tone::Dim).or_less(expendable));
    }
    Some(pieces)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
    use ratatui_core::backend::TestBackend;

    use super::*;
    use crate::{
        commands::top::{
            fixtures,
            groups::Groups,
            screens::{self, PLAIN},
            state::App,
            view::View,
        },
        model::SortKey,
    };

    fn shown() -> Shown {
        let mut snapshot = fixtures::busy_host();
        let row = |process: Process, opcode, submitted, errors| {
            let total = Operations {
                submitted,
                completed: submitted - 2,
                errnos: vec![(9, errors)],
                ..Operations::default()
            };
            OperationRow { recent: total.clone(), ..OperationRow::new(process, opcode, total) }
        };
        snapshot.io_uring.rows = vec![
            row(Process::new(1, 1, "a"), Some(22), 400, 0),
            row(Process::new(2, 1, "b"), Some(23), 600, 30),
        ];
        Shown { spent: snapshot.health.cost.since_attached(), groups: Groups::default(), snapshot }
    }

    /// The live view of the list of operations, since the start.
    fn app() -> App {
        let mut host = shown().snapshot;
        let latency = [(60, 300), (90, 98)].into_iter().collect();
        let timed = |total: &mut Operations| {
            total.latency = latency;
            total.total_ns = 398_000;
        };
        timed(&mut host.io_uring.rows[0].total);
        let message = Operations { posted: 7, ..Operations::default() };
        host.io_uring.rows.push(OperationRow::new(Process::new(2, 1, "b"), None, message));
        let mut app = App::new(Duration::from_secs(1), SortKey::Calls, "");
        app.fit(10);
        app.update(host);
        "4t".chars().for_each(|c| press(&mut app, KeyCode::Char(c)));
        app
    }

    fn press(app: &mut App, code: KeyCode) {
        app.on_key(KeyEvent::new(code, KeyModifiers::NONE));
    }

    fn screen(app: &mut App, width: u16, height: u16) -> TestBackend {
        screens::draw(app, width, height, PLAIN)
    }

    #[test]
    fn the_list_has_processes_and_opcodes_120x12() {
        let mut app = app();
        assert_eq!((&app.place().view, app.items().len()), (&View::Operations, 3));
        insta::assert_snapshot!(screen(&mut app, 120, 12));
    }

    #[test]
    fn the_list_keeps_to_a_narrow_screen_40x10() {
        insta::assert_snapshot!(screen(&mut app(), 40, 10));
    }

    #[test]
    fn an_operation_opens_to_its_results_and_latencies_80x16() {
        let mut app = app();
        "/read".chars().for_each(|c| press(&mut app, KeyCode::Char(c)));
        press(&mut app, KeyCode::Enter);
        press(&mut app, KeyCode::Enter);
        let titles: Vec<_> = app.trail().titles().collect();
        assert_eq!(titles, ["io_uring", "READ by a (1)"]);
        insta::assert_snapshot!(screen(&mut app, 80, 16));
        press(&mut app, KeyCode::Esc);
        press(&mut app, KeyCode::Esc);
        press(&mut app, KeyCode::Char('g'));
        press(&mut app, KeyCode::Char('h'));
        let text = screen(&mut app, 100, 16).to_string();
        assert!(text.contains("WRITE by b (2)") && text.contains("EBADF 30"), "{text}");
        // The process has left the list.
        app.update(fixtures::busy_host());
        let text = screen(&mut app, 80, 16).to_string();
        assert!(text.contains("no longer listed"), "{text}");
    }

    fn look() -> Look {
        Look { colour: false, unicode: true }
    }

    fn text(shown: &Shown, process: Option<&Process>) -> Option<String> {
        let pieces = line(Some(shown), process, Span::Total, look())?;
        Some(pieces.iter().map(|piece| piece.text.as_str()).collect::<Vec<_>>().join("  "))
    }

    #[test]
    fn the_line_has_the_host_or_the_opened_process() {
        let shown = shown();
        let all = "io_uring 1000  errors 30  in flight 4  WRITE 600  READ 400";
        assert_eq!(text(&shown, None).as_deref(), Some(all));
        let of_one = "io_uring 400  in flight 2  READ 400";
        assert_eq!(text(&shown, Some(&Process::new(1, 1, "a"))).as_deref(), Some(of_one));
        assert_eq!(text(&shown, Some(&Process::new(3, 1, "c"))), None);
    }

    #[test]
    fn there_is_no_line_without_operations() {
        let mut shown = shown();
        shown.snapshot.io_uring.rows.clear();
        assert_eq!(text(&shown, None), None);
        assert_eq!(line(None, None, Span::Recent, look()), None);
    }
}
