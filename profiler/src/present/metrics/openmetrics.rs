//! The text format of OpenMetrics, version 1.0.0.
//!
//! Differences from the text format of Prometheus, apart from the header lines:
//! - The name of a family of counters has no suffix `_total`. The names of its samples have.
//! - The name of a family of type `info` has no suffix `_info`. The names of its samples have.
//! - The exposition ends with `# EOF`, so a reader notices if it was cut off.
//!
//! Numbers have the same form as in the text format, including the values of `le`. So Prometheus
//! stores the same series, whichever of the two formats it scrapes.

use std::{
    fmt::{self, Write as _},
    time::{SystemTime, UNIX_EPOCH},
};

use super::model::{Family, Histogram, Kind, Label, Metrics, Number, Series, Value, seconds};

/// The content type of the format.
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The approximate minimum size of an exposition in bytes.
const LEAST_BYTES: usize = 32 << 10;

/// Writes `metrics`, with samples `_created` if `created` is true. Omits families without series.
pub(super) fn encode(metrics: &Metrics<'_>, created: bool) -> String {
    let mut text = String::with_capacity(LEAST_BYTES);
    for family in metrics.families().iter().filter(|family| !family.series.is_empty()) {
        write(&mut text, family, created).expect("a string takes any text");
    }
    text.push_str("# EOF\n");
    text
}

/// Returns the name of a family, without the suffix that its samples have.
pub(super) fn name(family: &Family<'_>) -> &'static str {
    let suffix = match family.kind {
        Kind::Counter => "_total",
        Kind::Info => "_info",
        Kind::Gauge | Kind::Histogram => "",
    };
    family.name.strip_suffix(suffix).unwrap_or(family.name)
}

fn write(out: &mut String, family: &Family<'_>, created: bool) -> fmt::Result {
    let name = name(family);
    let kind = match family.kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Info => "info",
        Kind::Histogram => "histogram",
    };
    writeln!(out, "# TYPE {name} {kind}")?;
    if let Some(unit) = family.unit() {
        writeln!(out, "# UNIT {name} {}", unit.name())?;
    }
    write!(out, "# HELP {name} ")?;
    escape(out, family.help);
    out.push('\n');
    for series in &family.series {
        match &series.value {
            Value::Number(number) => {
                sample(out, family.name, "", &series.labels, None)?;
                match number {
                    Number::Whole(whole) => writeln!(out, "{whole}")?,
                    Number::Time(_) => writeln!(out, "{}", number.as_f64())?,
                }
            }
            Value::Histogram(histogram) => distribution(out, name, series, histogram)?,
        }
        if let Some(at) = series.created.filter(|_| created) {
            sample(out, name, "_created", &series.labels, None)?;
            writeln!(out, "{}", since_epoch(at))?;
        }
    }
    Ok(())
}

fn distribution(
    out: &mut String,
    name: &str,
    series: &Series<'_>,
    histogram: &Histogram<'_>,
) -> fmt::Result {
    let labels = &series.labels;
    for (bound_ns, count) in histogram.cumulative() {
        sample(out, name, "_bucket", labels, Some(seconds(bound_ns)))?;
        writeln!(out, "{count}")?;
    }
    sample(out, name, "_bucket", labels, Some(f64::INFINITY))?;
    writeln!(out, "{}", histogram.count())?;
    sample(out, name, "_count", labels, None)?;
    writeln!(out, "{}", histogram.count())?;
    sample(out, name, "_sum", labels, None)?;
    writeln!(out, "{}", seconds(histogram.sum_ns()))
}

/// Writes a sample without its value.
fn sample(
    out: &mut String,
    name: &str,
    suffix: &str,
    labels: &[Label<'_>],
    le: Option<f64>,
) -> fmt::Result {
    out.push_str(name);
    out.push_str(suffix);
    let mut separator = '{';
    for label in labels {
        write!(out, "{separator}{}=\"", label.name)?;
        escape(out, &label.value);
        out.push('"');
        separator = ',';
    }
    match le {
        Some(f64::INFINITY) => write!(out, "{separator}le=\"+Inf\"}} "),
        Some(le) => write!(out, "{separator}le=\"{le}\"}} "),
        None if separator == '{' => out.write_char(' '),
        None => out.write_str("} "),
    }
}

/// Writes `text` with the escapes that the format requires in label values and HELP.
fn escape(out: &mut String, text: &str) {
    let mut rest = text;
    while let Some(at) = rest.find(['\\', '"', '\n']) {
        out.push_str(&rest[..at]);
        out.push_str(match rest.as_bytes()[at] {
            b'\\' => "\\\\",
            b'"' => "\\\"",
            _ => "\\n",
        });
        rest = &rest[at + 1..];
    }
    out.push_str(rest);
}

fn since_epoch(at: SystemTime) -> f64 {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
