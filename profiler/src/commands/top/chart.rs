//! A latency distribution as text: a bar chart with scales and percentiles.

use profiler_common::hist::{self, BUCKETS};

use super::style::{Look, Tone};
use crate::{
    model::{Figures, Latency},
    present::{bars, units},
};

/// The percentiles that are shown, with their names.
pub(super) const PERCENTILES: [(&str, f64); 4] =
    [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)];

/// Width of the scale at the left of a chart, including its line.
const SCALE_WIDTH: usize = 8;
/// Number of lines below the bars: the axis, its labels, the pointers, their labels.
const LINES_BELOW: usize = 4;
/// Minimum number of buckets in a chart: two octaves. So a chart of a single bucket still shows the
/// position of the bucket on the scale.
const MIN_BUCKETS: usize = 16;
/// Maximum width of a bar.
const MAX_BAR: usize = 6;

/// The percentiles of `figures`, and then the maximum, each with its name.
pub(super) fn percentiles(figures: &Figures) -> Vec<(&'static str, u64)> {
    let values = figures.quantiles(PERCENTILES.map(|(_, quantile)| quantile));
    let named = PERCENTILES.iter().zip(values).map(|(&(name, _), ns)| (name, ns));
    named.chain([("max", figures.max_ns())]).collect()
}

/// How buckets map to columns of the screen.
struct Scale {
    /// The first bucket drawn.
    first: usize,
    /// Number of buckets per bar. More than one on a narrow screen.
    buckets_per_bar: usize,
    /// Width of a bar.
    bar_width: usize,
    /// Number of bars.
    bars: usize,
}

impl Scale {
    fn new(latency: &Latency, width: usize) -> Option<Self> {
        let (low, _) = latency.iter().next()?;
        let (high, _) = latency.iter().next_back()?;
        // Whole octaves, so that the labels of bounds are at the ends of bars.
        let mut first = low / 8 * 8;
        let mut end = (high / 8 + 1) * 8;
        if end - first < MIN_BUCKETS {
            first = first.saturating_sub(8);
            end = (first + MIN_BUCKETS + 8).min(BUCKETS);
        }
        let buckets = end - first;
        let buckets_per_bar = buckets.div_ceil(width.max(1));
        let bars = buckets.div_ceil(buckets_per_bar);
        let bar_width = (width / bars).clamp(1, MAX_BAR);
        Some(Self { first, buckets_per_bar, bar_width, bars })
    }

    fn bar(&self, bucket: usize) -> usize {
        (bucket.saturating_sub(self.first) / self.buckets_per_bar).min(self.bars - 1)
    }

    fn column(&self, bucket: usize) -> usize {
        self.bar(bucket) * self.bar_width
    }

    fn width(&self) -> usize {
        self.bars * self.bar_width
    }

    /// The lower bound of a bar.
    fn lower(&self, bar: usize) -> u64 {
        hist::lower((self.first + bar * self.buckets_per_bar).min(BUCKETS - 1))
    }
}

/// The lines of the chart of `figures` in an area of `width` by `height`. Empty if no call was
/// timed, or if the area is too small.
pub(super) fn lines(
    figures: &Figures,
    width: usize,
    height: usize,
    look: Look,
) -> Vec<(String, Tone)> {
    let rows = height.saturating_sub(LINES_BELOW);
    let room = width.saturating_sub(SCALE_WIDTH);
    let Some(scale) = Scale::new(&figures.latency, room).filter(|_| rows >= 2 && room >= 16) else {
        return Vec::new();
    };
    let mut bars = vec![0_u64; scale.bars];
    for (bucket, count) in figures.latency.iter() {
        bars[scale.bar(bucket)] += count;
    }
    let mut lines = draw_bars(&bars, &scale, rows, look);
    lines.extend(draw_axis(&scale, look));
    lines.extend(draw_pointers(figures, &scale, look));
    lines
}

fn draw_bars(bars: &[u64], scale: &Scale, rows: usize, look: Look) -> Vec<(String, Tone)> {
    let most = bars.iter().copied().max().unwrap_or(0);
    let levels = bars::levels(look.unicode);
    let [vertical, ..] = look.axes();
    let line = |row: usize| {
        let label = match row {
            0 => units::count(most),
            // Half of the maximum has a label only if the maximum is large enough.
            r if r == rows / 2 && rows >= 6 && most >= rows as u64 => {
                units::count(most * (rows - r) as u64 / rows as u64)
            }
            _ => String::new(),
        };
        let mut line = units::pad(&label, SCALE_WIDTH - 2, true);
        line.push(' ');
        line.push(vertical);
        let below = (rows - 1 - row) * bars::PARTS;
        for &count in bars {
            let filled = bars::height(count, most, rows).saturating_sub(below).min(bars::PARTS);
            // A gap between bars, if the bars are wide enough.
            let gap = usize::from(scale.bar_width >= 3);
            line.extend(std::iter::repeat_n(levels[filled], scale.bar_width - gap));
            line.extend(std::iter::repeat_n(' ', gap));
        }
        (line, Tone::Normal)
    };
    (0..rows).map(line).collect()
}

/// The axis, with a tick for each label that fits.
fn draw_axis(scale: &Scale, look: Look) -> [(String, Tone); 2] {
    let [_, corner, horizontal, tick] = look.axes();
    let mut axis = vec![horizontal; scale.width()];
    let mut labels = Labels::new(scale.width());
    for bar in (0..scale.bars).filter(|bar| (bar * scale.buckets_per_bar).is_multiple_of(8)) {
        let column = bar * scale.bar_width;
        if labels.place(column, &units::time(scale.lower(bar))) {
            axis[column] = tick;
        }
    }
    let axis: String = axis.into_iter().collect();
    let margin = " ".repeat(SCALE_WIDTH - 1);
    [
        (format!("{margin}{corner}{axis}"), Tone::Normal),
        (format!("{margin} {}", labels.text), Tone::Dim),
    ]
}

/// Pointers to the percentiles. The maximum has no pointer, because it is in the last bar.
fn draw_pointers(figures: &Figures, scale: &Scale, look: Look) -> [(String, Tone); 2] {
    let mut pointers = vec![' '; scale.width()];
    let mut labels = Labels::new(scale.width());
    for &(name, ns) in &percentiles(figures)[..PERCENTILES.len()] {
        let column = scale.column(hist::bucket(ns) as usize);
        pointers[column] = look.pointer();
        // At the right end, a label is to the left of its pointer.
        labels.place(column.min(scale.width().saturating_sub(name.len())), name);
    }
    let pointers: String = pointers.into_iter().collect();
    let margin = " ".repeat(SCALE_WIDTH);
    [
        (format!("{margin}{pointers}"), Tone::Accent),
        (format!("{margin}{}", labels.text), Tone::Accent),
    ]
}

/// A line of labels that do not overlap, from left to right.
struct Labels {
    text: String,
    width: usize,
}

impl Labels {
    fn new(width: usize) -> Self {
        Self { text: String::new(), width }
    }

    /// Adds `label` at `column` if it fits.
    fn place(&mut self, column: usize, label: &str) -> bool {
        let taken = self.text.len() + usize::from(!self.text.is_empty());
        let fits = column >= taken && column + label.len() <= self.width;
        if fits {
            self.text = units::pad(&self.text, column, false) + label;
        }
        fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASCII: Look = Look { colour: false, unicode: false };

    fn figures(buckets: &[(usize, u64)]) -> Figures {
        let latency: Latency = buckets.iter().copied().collect();
        let timed = latency.count();
        let ends = buckets.iter().map(|&(bucket, _)| hist::representative(bucket));
        let extremes = crate::model::Extremes {
            min_ns: ends.clone().min().unwrap(),
            max_ns: ends.max().unwrap(),
        };
        let extremes = Some(extremes);
        Figures { calls: timed, returned: timed, latency, extremes, ..Figures::default() }
    }

    #[test]
    fn a_chart_puts_each_bucket_over_its_latency() {
        // 1 to 4 us are the buckets 40 to 55.
        let drawn = lines(&figures(&[(40, 8), (48, 4), (49, 1)]), 40, 8, ASCII);
        let text: Vec<&str> = drawn.iter().map(|(line, _)| line.trim_end()).collect();
        assert_eq!(
            text,
            [
                "     8 |##",
                "       |##",
                "       |##              ##",
                "       |##              ##==",
                "       ++---------------+---------------",
                "        1.02us          2.05us",
                "        ^               ^ ^",
                "        p50             p90",
            ]
        );
    }

    #[test]
    fn percentiles_are_those_of_the_figures() {
        let figures = figures(&[(40, 900), (48, 90), (80, 9), (120, 1)]);
        let [p50, p90, p99, p999] = figures.quantiles([0.5, 0.9, 0.99, 0.999]);
        let max = figures.max_ns();
        assert_eq!(
            percentiles(&figures),
            [("p50", p50), ("p90", p90), ("p99", p99), ("p99.9", p999), ("max", max)]
        );
        assert!(p50 < p99 && p99 < max);
    }

    #[test]
    fn nothing_is_drawn_of_nothing_or_without_room() {
        assert!(lines(&Figures::default(), 80, 20, ASCII).is_empty());
        let some = figures(&[(40, 1)]);
        assert!(lines(&some, 80, 5, ASCII).is_empty());
        assert!(lines(&some, 20, 20, ASCII).is_empty());
        assert_eq!(lines(&some, 80, 6, ASCII).len(), 6);
    }

    #[test]
    fn the_widest_range_fits_the_narrowest_chart() {
        let all: Vec<(usize, u64)> = (0..BUCKETS).map(|bucket| (bucket, 1)).collect();
        for width in [24, 40, 80, 200, 400] {
            for (line, _) in lines(&figures(&all), width, 10, ASCII) {
                assert!(line.len() <= width, "{width}: {line}");
            }
        }
    }
}
