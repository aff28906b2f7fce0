//! The protobuf format of Prometheus, which has native histograms beside the classic buckets.
//!
//! The messages come from `io/prometheus/client/metrics.proto` in the repository
//! `prometheus/client_model`. This module has only the messages that the metrics here need. Fields
//! keep their numbers forever, so the messages are declared by hand, and a build needs no protobuf
//! compiler.

use std::time::{SystemTime, UNIX_EPOCH};

use prost::Message as _;

use super::{
    model::{Family, Kind, Metrics, Series, Value, seconds},
    native::{self, Native},
};

/// The content type of the format: one message per family, each preceded by its length.
pub(super) const CONTENT_TYPE: &str = "application/vnd.google.protobuf; \
     proto=io.prometheus.client.MetricFamily; encoding=delimited";

/// The approximate minimum size of an exposition in bytes.
const LEAST_BYTES: usize = 16 << 10;

/// Writes `metrics`. Omits families without series.
pub(super) fn encode(metrics: &Metrics<'_>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(LEAST_BYTES);
    for family in metrics.families().iter().filter(|family| !family.series.is_empty()) {
        // Converts one family at a time, so that only one family is in memory twice.
        convert(family).encode_length_delimited(&mut bytes).expect("a vector takes any length");
    }
    bytes
}

#[derive(Clone, PartialEq, prost::Message)]
struct MetricFamily {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    help: String,
    #[prost(enumeration = "MetricType", tag = "3")]
    kind: i32,
    #[prost(message, repeated, tag = "4")]
    metric: Vec<Metric>,
    #[prost(string, tag = "5")]
    unit: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
enum MetricType {
    Counter = 0,
    Gauge = 1,
    Histogram = 4,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Metric {
    #[prost(message, repeated, tag = "1")]
    label: Vec<LabelPair>,
    #[prost(message, optional, tag = "2")]
    gauge: Option<Gauge>,
    #[prost(message, optional, tag = "3")]
    counter: Option<Counter>,
    #[prost(message, optional, tag = "7")]
    histogram: Option<Histogram>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct LabelPair {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Gauge {
    #[prost(double, tag = "1")]
    value: f64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Counter {
    #[prost(double, tag = "1")]
    value: f64,
    #[prost(message, optional, tag = "3")]
    created_timestamp: Option<Timestamp>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Histogram {
    #[prost(uint64, tag = "1")]
    sample_count: u64,
    #[prost(double, tag = "2")]
    sample_sum: f64,
    #[prost(message, repeated, tag = "3")]
    bucket: Vec<Bucket>,
    #[prost(sint32, tag = "5")]
    schema: i32,
    #[prost(double, tag = "6")]
    zero_threshold: f64,
    #[prost(uint64, tag = "7")]
    zero_count: u64,
    #[prost(message, repeated, tag = "12")]
    positive_span: Vec<BucketSpan>,
    #[prost(sint64, repeated, tag = "13")]
    positive_delta: Vec<i64>,
    #[prost(message, optional, tag = "15")]
    created_timestamp: Option<Timestamp>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Bucket {
    #[prost(uint64, tag = "1")]
    cumulative_count: u64,
    #[prost(double, tag = "2")]
    upper_bound: f64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct BucketSpan {
    #[prost(sint32, tag = "1")]
    offset: i32,
    #[prost(uint32, tag = "2")]
    length: u32,
}

/// `google.protobuf.Timestamp`.
#[derive(Clone, PartialEq, prost::Message)]
struct Timestamp {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

fn convert(family: &Family<'_>) -> MetricFamily {
    MetricFamily {
        // The name includes `_total` or `_info`, because Prometheus adds no suffix.
        name: family.name.to_owned(),
        help: family.help.to_owned(),
        kind: match family.kind {
            Kind::Counter => MetricType::Counter,
            Kind::Gauge | Kind::Info => MetricType::Gauge,
            Kind::Histogram => MetricType::Histogram,
        }
        .into(),
        metric: family.series.iter().map(|series| metric(family.kind, series)).collect(),
        unit: family.unit().map_or_else(String::new, |unit| unit.name().to_owned()),
    }
}

fn metric(kind: Kind, series: &Series<'_>) -> Metric {
    let label = series.labels.iter().map(|label| LabelPair {
        name: label.name.to_owned(),
        value: label.value.as_ref().to_owned(),
    });
    let mut metric = Metric { label: label.collect(), ..Metric::default() };
    let created_timestamp = series.created.map(timestamp);
    match &series.value {
        Value::Histogram(histogram) => {
            metric.histogram = Some(Histogram { created_timestamp, ..distribution(histogram) });
        }
        Value::Number(number) if kind == Kind::Counter => {
            metric.counter = Some(Counter { value: number.as_f64(), created_timestamp });
        }
        Value::Number(number) => metric.gauge = Some(Gauge { value: number.as_f64() }),
    }
    metric
}

fn distribution(histogram: &super::model::Histogram<'_>) -> Histogram {
    let native = Native::new(histogram);
    let bucket = histogram.cumulative().map(|(bound_ns, cumulative_count)| Bucket {
        cumulative_count,
        upper_bound: seconds(bound_ns),
    });
    let span = |span: native::Span| BucketSpan { offset: span.offset, length: span.length };
    Histogram {
        sample_count: histogram.count(),
        sample_sum: seconds(histogram.sum_ns()),
        bucket: bucket.collect(),
        schema: native.schema,
        // This is above 0, so that Prometheus takes even an empty histogram for a native one.
        zero_threshold: seconds(native::ZERO_THRESHOLD_NS),
        zero_count: native.zero_count,
        positive_span: native.spans().into_iter().map(span).collect(),
        positive_delta: native.deltas(),
        created_timestamp: None,
    }
}

fn timestamp(at: SystemTime) -> Timestamp {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp {
        seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        nanos: since.subsec_nanos().cast_signed(),
    }
}
