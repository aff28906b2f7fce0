//! Draws horizontal bars as SVG. The scale is logarithmic, because strace costs hundreds of times
//! as much as a tool that only counts.

use std::fmt::Write as _;

use super::markdown::{NO_DIFFERENCE, percent};
use crate::bench::{
    figures::NOTHING,
    results::{Load, Results, Row},
};

const WIDTH: f64 = 860.0;
/// The x coordinates at which the bars begin, and at which the longest bar ends. Figures are to the
/// right.
const LEFT: f64 = 300.0;
const RIGHT: f64 = 770.0;
const MARGIN: f64 = 24.0;
const TOP: f64 = 84.0;
const ROW: f64 = 24.0;
const BAR: f64 = 15.0;
const FONT: &str = "system-ui, 'Segoe UI', 'Helvetica Neue', Arial, sans-serif";

const OURS: &str = "#1a6fb5";
const LIMIT: &str = "#8b949e";
const THEIRS: &str = "#d08a45";

struct Chart {
    title: &'static str,
    subtitle: String,
    /// The minimum of the scale. Smaller values are drawn as a line.
    least: f64,
    unit: &'static str,
    groups: Vec<Group>,
}

struct Group {
    title: String,
    bars: Vec<Bar>,
}

struct Bar {
    label: String,
    value: f64,
    text: String,
    colour: &'static str,
}

/// Draws the chart of the added cost of a call, in the first loop.
pub(super) fn of_calls(results: &Results) -> Option<String> {
    let hot_path = results.hot_path.as_ref()?;
    let section = hot_path.sections.first()?;
    let bars = section.rows.iter().filter_map(|row| {
        let added = row.figures.as_ref()?.added?;
        let text = if added < 100.0 { format!("{added:.1}") } else { thousands(added) };
        Some(bar(row, added, format!("{text} ns")))
    });
    let chart = Chart {
        title: "What watching a syscall costs",
        subtitle: format!("nanoseconds added to {}; {}", section.workload, machine(results)),
        least: 10.0,
        unit: "ns",
        groups: vec![Group { title: String::new(), bars: bars.collect() }],
    };
    Some(chart.drawn())
}

/// Draws the chart of how much longer real work takes.
pub(super) fn of_work(results: &Results) -> Option<String> {
    let work = results.work.as_ref()?;
    let group = |load: &Load| {
        let bars = load.rows.iter().filter_map(|row| {
            let figures = row.slow_down.as_ref()?;
            Some(if figures.shows_difference() {
                bar(row, figures.median, format!("{} %", percent(figures.median)))
            } else {
                bar(row, 0.0, NO_DIFFERENCE.to_owned())
            })
        });
        Group { title: load.name.clone(), bars: bars.collect() }
    };
    let chart = Chart {
        title: "What watching real work costs",
        subtitle: format!("percent longer than with nothing attached; {}", machine(results)),
        least: 0.5,
        unit: "%",
        groups: work.loads.iter().map(group).filter(|group| !group.bars.is_empty()).collect(),
    };
    Some(chart.drawn())
}

fn machine(results: &Results) -> String {
    let machine = &results.machine;
    let kernel = machine.kernel.split('-').next().unwrap_or_default();
    format!("Linux {kernel}, {}, {} CPUs", machine.cpu_model, machine.cpus)
}

fn bar(row: &Row, value: f64, text: String) -> Bar {
    let colour = match row.title.as_str() {
        title if title.contains("**") => OURS,
        title if title.starts_with('`') || row.key == NOTHING => THEIRS,
        _ => LIMIT,
    };
    Bar { label: row.title.replace(['*', '`'], ""), value, text, colour }
}

impl Chart {
    fn drawn(&self) -> String {
        let titled = self.groups.iter().filter(|group| !group.title.is_empty()).count();
        let bars: usize = self.groups.iter().map(|group| group.bars.len()).sum();
        let bottom = TOP + ROW * (bars + titled) as f64;
        let height = bottom + 44.0;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
             width=\"{WIDTH}\" height=\"{height}\" font-family=\"{FONT}\" font-size=\"13\">\n\
             <title>{}</title>\n\
             <rect width=\"{WIDTH}\" height=\"{height}\" rx=\"8\" fill=\"#ffffff\"/>\n\
             <text x=\"{MARGIN}\" y=\"36\" font-size=\"18\" font-weight=\"600\" \
             fill=\"#1f2328\">{}</text>\n\
             <text x=\"{MARGIN}\" y=\"58\" fill=\"#59636e\">{}</text>\n",
            escaped(self.title),
            escaped(self.title),
            escaped(&self.subtitle),
        );
        let scale = self.scale();
        for tick in scale.ticks() {
            let x = scale.x(tick);
            let _ = write!(
                svg,
                "<path d=\"M{x:.1} {:.1}V{bottom:.1}\" stroke=\"#e4e8ec\"/>\n\
                 <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\" font-size=\"11\" \
                 fill=\"#59636e\">{} {}</text>\n",
                TOP - 6.0,
                bottom + 18.0,
                thousands(tick),
                self.unit
            );
        }
        let mut y = TOP;
        for group in &self.groups {
            if !group.title.is_empty() {
                let _ = writeln!(
                    svg,
                    "<text x=\"{MARGIN}\" y=\"{:.1}\" font-weight=\"600\" fill=\"#1f2328\">{}</text>",
                    y + 17.0,
                    escaped(&group.title)
                );
                y += ROW;
            }
            for bar in &group.bars {
                svg += &bar.drawn(y, &scale);
                y += ROW;
            }
        }
        svg + "</svg>\n"
    }

    fn scale(&self) -> Scale {
        let values = self.groups.iter().flat_map(|group| &group.bars).map(|bar| bar.value);
        Scale { least: self.least, greatest: values.fold(self.least * 10.0, f64::max) }
    }
}

impl Bar {
    fn drawn(&self, y: f64, scale: &Scale) -> String {
        let width = (scale.x(self.value) - LEFT).max(2.0);
        let weight = if self.colour == OURS { "600" } else { "400" };
        let text = y + 12.5;
        format!(
            "<text x=\"{:.1}\" y=\"{text:.1}\" text-anchor=\"end\" font-weight=\"{weight}\" \
             fill=\"#1f2328\">{}</text>\n\
             <rect x=\"{LEFT}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{BAR}\" rx=\"2\" \
             fill=\"{}\"/>\n\
             <text x=\"{:.1}\" y=\"{text:.1}\" font-weight=\"{weight}\" fill=\"#1f2328\" \
             stroke=\"#ffffff\" stroke-width=\"4\" paint-order=\"stroke\">{}</text>\n",
            LEFT - 10.0,
            escaped(&self.label),
            self.colour,
            LEFT + width + 7.0,
            escaped(&self.text),
        )
    }
}

/// A logarithmic scale.
struct Scale {
    least: f64,
    greatest: f64,
}

impl Scale {
    fn x(&self, value: f64) -> f64 {
        let part = (value.max(self.least) / self.least).ln() / (self.greatest / self.least).ln();
        LEFT + part * (RIGHT - LEFT)
    }

    /// The powers of ten on the scale.
    fn ticks(&self) -> Vec<f64> {
        let first = self.least.log10().ceil() as i32;
        let last = self.greatest.log10().floor() as i32;
        (first..=last).map(|power| 10_f64.powi(power)).collect()
    }
}

/// Formats a number without a fraction, with commas.
pub(super) fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_is_logarithmic_between_its_ends() {
        let scale = Scale { least: 10.0, greatest: 100_000.0 };
        assert_eq!(scale.ticks(), [10.0, 100.0, 1e3, 1e4, 1e5]);
        assert!((scale.x(10.0) - LEFT).abs() < 1e-9 && (scale.x(1e5) - RIGHT).abs() < 1e-9);
        assert!((scale.x(1e3) - f64::midpoint(LEFT, RIGHT)).abs() < 1e-9);
        assert!((scale.x(-3.0) - LEFT).abs() < 1e-9, "a bar without cost has no length");
        assert_eq!(thousands(1e4), "10,000");
    }
}
