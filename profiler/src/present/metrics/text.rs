//! The text format of Prometheus, version 0.0.4.

use prometheus::{
    TextEncoder,
    proto::{self, LabelPair, Metric, MetricFamily, MetricType},
};

use super::model::{Family, Histogram, Kind, Metrics, Series, Value, seconds};

/// The content type of the text format.
pub(super) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The approximate minimum size of an exposition in bytes.
const LEAST_BYTES: usize = 32 << 10;

/// Writes `metrics` in the text format. Omits families without series.
///
/// # Errors
/// If the encoder rejects a family. The encoder accepts every family of [`super::collect`].
pub(super) fn encode(metrics: &Metrics<'_>) -> Result<String, prometheus::Error> {
    let mut text = String::with_capacity(LEAST_BYTES);
    for family in metrics.families().iter().filter(|family| !family.series.is_empty()) {
        // Converts one family at a time, so that only one family is in memory twice.
        TextEncoder::new().encode_utf8(&[convert(family)], &mut text)?;
    }
    Ok(text)
}

/// Converts a family to the types of the crate that encodes it.
fn convert(family: &Family<'_>) -> MetricFamily {
    let mut converted = MetricFamily::default();
    converted.set_name(family.name.to_owned());
    converted.set_help(family.help.to_owned());
    converted.set_field_type(match family.kind {
        Kind::Counter => MetricType::COUNTER,
        Kind::Gauge | Kind::Info => MetricType::GAUGE,
        Kind::Histogram => MetricType::HISTOGRAM,
    });
    converted.set_metric(family.series.iter().map(|series| metric(family.kind, series)).collect());
    converted
}

fn metric(kind: Kind, series: &Series<'_>) -> Metric {
    let labels = series.labels.iter().map(|label| {
        let mut pair = LabelPair::default();
        pair.set_name(label.name.to_owned());
        pair.set_value(label.value.as_ref().to_owned());
        pair
    });
    let mut metric = Metric::from_label(labels.collect());
    match &series.value {
        Value::Histogram(histogram) => metric.set_histogram(with_fixed_bounds(histogram)),
        Value::Number(number) if kind == Kind::Counter => {
            let mut counter = proto::Counter::default();
            counter.set_value(number.as_f64());
            metric.set_counter(counter);
        }
        Value::Number(number) => {
            let mut gauge = proto::Gauge::default();
            gauge.set_value(number.as_f64());
            metric.set_gauge(gauge);
        }
    }
    metric
}

fn with_fixed_bounds(histogram: &Histogram<'_>) -> proto::Histogram {
    let bounds = histogram.cumulative().map(|(bound_ns, count)| {
        let mut bound = proto::Bucket::default();
        bound.set_upper_bound(seconds(bound_ns));
        bound.set_cumulative_count(count);
        bound
    });
    let mut converted = proto::Histogram::default();
    converted.set_bucket(bounds.collect());
    converted.set_sample_count(histogram.count());
    converted.set_sample_sum(seconds(histogram.sum_ns()));
    converted
}
