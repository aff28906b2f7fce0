//! The line about operations of io_uring: of the host, or of the process that is opened.

use super::{
    header::Piece,
    shown::Shown,
    style::{Look, Tone},
};
use crate::{
    model::{Grouping, OperationRow, Process, Span},
    present::{operations, units},
};

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
    use super::*;
    use crate::{
        commands::top::{fixtures, groups::Groups},
        model::Operations,
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
