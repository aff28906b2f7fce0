//! The view of latencies, line by line: figures, errors, percentiles, the chart.

use crate::{aggregate::Figures, enrich::errnos, snapshot::Snapshot};

use super::{
    chart, format,
    header::{self, Piece},
    style::{Look, Tone},
    view::{Span, Subject},
};

/// The view of `subject` in `size`, width and height.
pub(super) fn lines(
    subject: &Subject,
    snapshot: &Snapshot,
    span: Span,
    size: (usize, usize),
    look: Look,
) -> Vec<Vec<Piece>> {
    let figures = subject.figures(snapshot, span);
    let mut lines = vec![
        vec![Piece::new(look.printable(&subject.title()), Tone::Strong)],
        summary(&figures, span, span.seconds(snapshot)),
    ];
    if figures.errors > 0 {
        lines.push(errors(&figures));
    }
    if figures.timed() == 0 {
        let text = match span {
            Span::Interval => "no call has returned in the last interval; t shows since the start",
            Span::Start => "no call has returned yet",
        };
        lines.push(vec![Piece::new(text, Tone::Dim)]);
        return lines;
    }
    let (width, height) = size;
    lines.extend(wrap(percentiles(&figures), width));
    // A line between only where the chart does not need it.
    if height >= 14 {
        lines.push(Vec::new());
    }
    let room = height.saturating_sub(lines.len());
    let chart = chart::lines(&figures, width, room, look);
    lines.extend(chart.into_iter().map(|(text, tone)| vec![Piece::new(text, tone)]));
    lines
}

fn summary(figures: &Figures, span: Span, seconds: f64) -> Vec<Piece> {
    let amount = |what: &str, events: u64| match span {
        Span::Interval => format!("{} {what}/s", format::rate(events, seconds)),
        Span::Start => format!("{} {what}", format::count(events)),
    };
    let mut texts = vec![amount("calls", figures.calls), amount("errors", figures.errors)];
    if figures.timed() > 0 {
        texts.push(format!("mean {}", format::time(figures.mean_ns())));
        texts.push(format!("min {}", format::time(figures.min_ns())));
        texts.push(format!("total {}", format::time(figures.total_ns)));
    }
    for (what, events) in [("restarted", figures.restarted), ("denied", figures.denied)] {
        if events > 0 {
            texts.push(format!("{what} {}", format::count(events)));
        }
    }
    pieces(texts, Tone::Normal)
}

fn errors(figures: &Figures) -> Vec<Piece> {
    let mut errnos = figures.errnos.clone();
    errnos.sort_by_key(|&(errno, count)| (std::cmp::Reverse(count), errno));
    let named =
        errnos.iter().map(|&(errno, n)| format!("{} {}", errnos::name(errno), format::count(n)));
    let mut texts: Vec<String> = named.collect();
    if figures.errors_unlisted > 0 {
        texts.push(format!("others {}", format::count(figures.errors_unlisted)));
    }
    pieces(texts, Tone::Warning)
}

fn percentiles(figures: &Figures) -> Vec<Piece> {
    let texts = chart::percentiles(figures).into_iter();
    pieces(texts.map(|(name, ns)| format!("{name} {}", format::time(ns))).collect(), Tone::Accent)
}

/// `pieces` in as many lines as they need.
fn wrap(pieces: Vec<Piece>, width: usize) -> Vec<Vec<Piece>> {
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

/// Pieces of which the last give way first.
fn pieces(texts: Vec<String>, tone: Tone) -> Vec<Piece> {
    let piece = |(at, text)| Piece::new(text, tone).or_less(at);
    (0..=u8::MAX).zip(texts).map(piece).collect()
}
