//! The lines of the view of latencies: figures, errors, percentiles, chart.

use super::{
    chart,
    header::{self, Piece},
    shown::Shown,
    style::{Look, Tone},
    view::{Selection, Subject},
};
use crate::{
    model::{Figures, Span, Timed},
    names::errnos,
    present::units,
};

/// The lines of the view of `subject`. `size` is width and height.
pub(super) fn lines(
    subject: &Subject,
    shown: &Shown,
    selection: Selection,
    size: (usize, usize),
    look: Look,
) -> Vec<Vec<Piece>> {
    let (snapshot, span) = (&shown.snapshot, selection.span);
    let figures = subject.figures(shown, selection);
    // Figures of an interval do not include calls that entered earlier.
    let in_flight = match span {
        Span::Total => figures.in_flight(),
        Span::Recent => {
            subject.figures(shown, Selection { span: Span::Total, ..selection }).in_flight()
        }
    };
    let (width, height) = size;
    let mut lines = vec![
        vec![Piece::new(look.printable(&title(subject, selection)), Tone::Strong)],
        summary(&figures, span, span.length(snapshot).as_secs_f64()),
    ];
    if figures.errors > 0 {
        lines.push(errors(&figures));
    }
    lines.extend(wrap(outcomes(&figures, in_flight), width));
    if figures.timed() == 0 {
        let text = match span {
            _ if snapshot.health.timed == Timed::None => "no call is timed (--no-latency)",
            _ if figures.left() > 0 => "none of these calls was timed (--sample)",
            _ if leaves_out(subject, selection) => {
                "no call has returned except those that wait: w shows them"
            }
            Span::Recent => "no call has returned in the last interval; t shows since the start",
            Span::Total => "no call has returned yet",
        };
        lines.push(vec![Piece::new(text, Tone::Dim)]);
        return lines;
    }
    lines.extend(wrap(percentiles(&figures), width));
    // An empty line, if the chart has enough lines without it.
    if height >= 14 {
        lines.push(Vec::new());
    }
    let room = height.saturating_sub(lines.len());
    let chart = chart::lines(&figures, width, room, look);
    lines.extend(chart.into_iter().map(|(text, tone)| vec![Piece::new(text, tone)]));
    lines
}

/// Whether calls that wait by nature are left out.
fn leaves_out(subject: &Subject, selection: Selection) -> bool {
    subject.call.is_none() && !selection.waits
}

/// The title of `subject`, and what its figures exclude.
fn title(subject: &Subject, selection: Selection) -> String {
    let note =
        if leaves_out(subject, selection) { ", without calls that wait by nature" } else { "" };
    format!("{}{note}", subject.title())
}

fn summary(figures: &Figures, span: Span, seconds: f64) -> Vec<Piece> {
    let amount = |what: &str, events: u64| match span {
        Span::Recent => format!("{} {what}/s", units::rate(events, seconds)),
        Span::Total => format!("{} {what}", units::count(events)),
    };
    let mut texts = vec![amount("calls", figures.calls), amount("errors", figures.errors)];
    if figures.timed() > 0 {
        texts.push(format!("mean {}", units::time(figures.mean_ns())));
        texts.push(format!("min {}", units::time(figures.min_ns())));
        texts.push(format!("total {}", units::time(figures.estimated_total_ns())));
    }
    pieces(texts, Tone::Normal)
}

/// Outcomes other than a return, and calls in flight.
fn outcomes(figures: &Figures, in_flight: u64) -> Vec<Piece> {
    [
        ("in flight", in_flight),
        ("restarted", figures.restarted),
        ("denied", figures.denied),
        ("never returned", figures.never_returned),
        ("lost", figures.lost),
    ]
    .into_iter()
    .filter(|&(_, events)| events > 0)
    .map(|(what, events)| Piece::new(format!("{what} {}", units::count(events)), Tone::Normal))
    .collect()
}

pub(super) fn errors(figures: &Figures) -> Vec<Piece> {
    let mut errnos = figures.errnos.clone();
    errnos.sort_by_key(|&(errno, count)| (std::cmp::Reverse(count), errno));
    let named =
        errnos.iter().map(|&(errno, n)| format!("{} {}", errnos::name(errno), units::count(n)));
    let mut texts: Vec<String> = named.collect();
    if figures.errors_unlisted > 0 {
        texts.push(format!("others {}", units::count(figures.errors_unlisted)));
    }
    pieces(texts, Tone::Warning)
}

pub(super) fn percentiles(figures: &Figures) -> Vec<Piece> {
    let texts = chart::percentiles(figures).into_iter();
    pieces(texts.map(|(name, ns)| format!("{name} {}", units::time(ns))).collect(), Tone::Accent)
}

/// `pieces` in as many lines as necessary.
pub(super) fn wrap(pieces: Vec<Piece>, width: usize) -> Vec<Vec<Piece>> {
    let mut lines: Vec<Vec<Piece>> = Vec::new();
    let mut used = 0;
    for piece in pieces {
        let needed = piece.text.len() + header::GAP.len();
        match lines.last_mut() {
            Some(line) if used + needed <= width + header::GAP.len() => line.push(piece),
            _ => {
                used = 0;
                lines.push(vec![piece]);
            }
        }
        used += needed;
    }
    lines
}

/// The texts as pieces. On a narrow terminal, the last pieces are hidden first.
fn pieces(texts: Vec<String>, tone: Tone) -> Vec<Piece> {
    let piece = |(at, text)| Piece::new(text, tone).or_less(at);
    (0..=u8::MAX).zip(texts).map(piece).collect()
}
