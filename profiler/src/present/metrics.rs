//! Metrics of a snapshot and of the daemon: a model, and an encoder for each exposition format.

pub mod bounds;
mod calls;
mod cost;
pub mod explain;
mod groups;
mod health;
mod in_flight;
pub mod model;
pub mod native;
mod openmetrics;
mod operations;
pub mod ordinary;
mod protobuf;
mod text;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use crate::{
    filter::Calls,
    model::{GroupReading, Snapshot, Times, Unlogged},
};
use bounds::Bounds;
pub use calls::call_name;
pub use groups::value as group_value;
use model::{Labels, Metrics};

/// What the daemon knows in addition to the snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Service {
    /// When the programs were attached, by the wall clock. All counters were 0 at that time.
    pub attached: Option<SystemTime>,
    /// Durations of the answered scrapes, from request to response.
    pub scrapes: Times,
    /// How many drains were skipped because the drain before them was late.
    pub missed_drains: u64,
    /// The maximum time between two drains: the configured interval, or longer if drains are
    /// expensive.
    pub interval: Duration,
    /// Delay of the last drain.
    pub last_drain_late: Duration,
    /// Whether the last reload of the configuration failed, or the last change of the web
    /// configuration file could not be applied.
    pub reload_failed: bool,
    /// Messages that did not reach the log.
    pub unlogged: Unlogged,
    /// The syscalls that have series of their own. `None` if all have.
    pub named: Option<Arc<Calls>>,
    /// The groups of metrics.
    pub groups: Arc<[GroupReading]>,
}

/// The data of one scrape.
#[derive(Clone, Debug, Default)]
pub struct Exposition {
    /// The figures that the kernel side recorded.
    pub snapshot: Arc<Snapshot>,
    /// The state of the daemon.
    pub service: Service,
    /// The user's settings.
    pub options: Arc<Options>,
}

/// The user's settings for the metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The bounds of latencies in classic buckets.
    pub bounds: Bounds,
    /// Whether counters and histograms have samples `_created` in OpenMetrics. Prometheus stores
    /// each of them as one more series.
    pub created_samples: bool,
}

/// An exposition format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The text format of Prometheus.
    Text,
    /// The text format of OpenMetrics.
    OpenMetrics,
    /// The protobuf format of Prometheus, with native histograms beside the classic buckets.
    Protobuf,
}

impl Format {
    /// All formats.
    pub const ALL: [Self; 3] = [Self::Text, Self::OpenMetrics, Self::Protobuf];

    /// The content type of the format, with its version.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text => text::CONTENT_TYPE,
            Self::OpenMetrics => openmetrics::CONTENT_TYPE,
            Self::Protobuf => protobuf::CONTENT_TYPE,
        }
    }
}

/// Writes `exposition` in the text format of Prometheus.
///
/// # Errors
/// If the encoder rejects a family. The encoder accepts every family of [`collect`].
pub fn text(exposition: &Exposition) -> Result<String, prometheus::Error> {
    text::encode(&collect(exposition))
}

/// Writes `exposition` in `format`.
///
/// # Errors
/// See [`text`].
pub fn encode(exposition: &Exposition, format: Format) -> Result<Vec<u8>, prometheus::Error> {
    let metrics = collect(exposition);
    Ok(match format {
        Format::Text => text::encode(&metrics)?.into(),
        Format::OpenMetrics => {
            openmetrics::encode(&metrics, exposition.options.created_samples).into()
        }
        Format::Protobuf => protobuf::encode(&metrics),
    })
}

/// Collects all metrics. Families that have no series in this snapshot are empty.
pub fn collect(exposition: &Exposition) -> Metrics<'_> {
    let Exposition { snapshot, service, options } = exposition;
    let (named, bounds) = (service.named.as_deref(), &options.bounds);
    let families = calls::families(snapshot, named, bounds).into_iter();
    families
        .chain(in_flight::families(snapshot, named))
        .chain(operations::families(snapshot, bounds))
        .chain(health::families(snapshot))
        .map(|family| family.created(service.attached))
        .chain(cost::families(snapshot, service))
        .chain(groups::families(snapshot, service))
        .collect()
}

/// Returns one sample without labels.
fn one<'a, V>(value: V) -> [(Labels<'a>, V); 1] {
    [(Vec::new(), value)]
}

#[cfg(test)]
mod tests {
    use profiler_common::{
        call::{Abi, CallKey},
        hist::{self, BUCKETS},
    };
    use proptest::prelude::*;

    use super::{
        model::{Kind, Number, Unit, Value},
        *,
    };
    use crate::model::{CallRow, Figures, Latency};

    fn exposition(calls: Vec<(CallKey, Figures)>) -> Exposition {
        let calls = calls.into_iter().map(|(key, total)| CallRow::new(key, total)).collect();
        Exposition {
            snapshot: Arc::new(Snapshot { calls, ..Snapshot::default() }),
            ..Exposition::default()
        }
    }

    #[test]
    fn nothing_recorded_is_still_an_exposition() {
        let text = text(&Exposition::default()).expect("encodes");
        assert!(text.contains("\nprofiler_build_info{version="));
        assert!(!text.contains("profiler_syscalls_total"), "{text}");
    }

    #[test]
    fn numbers_that_share_a_name_share_a_series() {
        let figures = |calls| Figures { calls, ..Figures::default() };
        let text = text(&exposition(vec![
            (CallKey::of(Abi::X86_64, 500), figures(1)),
            (CallKey::of(Abi::X86_64, 501), figures(2)),
            (CallKey::of(Abi::X32, 19), figures(4)),
            (CallKey::of(Abi::X32, 515), figures(8)),
        ]))
        .expect("encodes");
        let counts: Vec<_> =
            text.lines().filter(|line| line.starts_with("profiler_syscalls_total")).collect();
        assert_eq!(
            counts,
            [
                r#"profiler_syscalls_total{abi="x32",syscall="readv"} 12"#,
                r#"profiler_syscalls_total{abi="x86_64",syscall="unknown"} 3"#,
            ]
        );
    }

    #[test]
    fn a_latency_at_a_bound_is_below_it() {
        for bound_ns in Bounds::default().as_slice().to_owned() {
            let mut latency = Latency::default();
            latency.record(bound_ns);
            latency.record(bound_ns + 1);
            let figures = Figures { latency, ..Figures::default() };
            let text =
                text(&exposition(vec![(CallKey::of(Abi::X86_64, 0), figures)])).expect("encodes");
            let bound = (bound_ns as f64 / 1e9).to_string();
            let bucket = samples(&text, "_bucket")
                .into_iter()
                .find(|(le, _)| le.is_some_and(|le| le.to_string() == bound));
            assert_eq!(bucket.map(|(_, count)| count), Some(1.0), "{bound_ns}");
        }
    }

    /// Encoders of other formats rely on these rules.
    #[test]
    fn every_family_keeps_the_rules_of_openmetrics() {
        let mut figures = Figures { calls: 2, restarted: 1, ..Figures::default() };
        figures.latency.record(1);
        let mut exposition = exposition(vec![(CallKey::of(Abi::X86_64, 0), figures)]);
        let attached = Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000));
        exposition.service.attached = attached;
        let metrics = collect(&exposition);
        for family in metrics.families() {
            let name = family.name;
            assert_eq!(family.kind == Kind::Counter, name.ends_with("_total"), "{name}");
            assert_eq!(family.kind == Kind::Info, name.ends_with("_info"), "{name}");
            assert!(family.help.ends_with('.') && !family.help.contains(". "), "{name}");
            if let Some(unit) = family.unit() {
                assert!(family.help.contains(unit.name()), "{name}: {}", family.help);
            }
            for series in &family.series {
                let is_time = match &series.value {
                    Value::Number(number) => matches!(number, Number::Time(_)),
                    Value::Histogram(_) => true,
                };
                assert_eq!(is_time, family.unit() == Some(Unit::Seconds), "{name}");
                assert!(series.created.is_none() || series.created == attached, "{name}");
            }
        }
        let created = |name: &str| {
            let family = metrics.families().iter().find(|family| family.name == name);
            family.and_then(|family| family.series[0].created)
        };
        assert_eq!(created("profiler_syscalls_total"), attached);
        assert_eq!(created("profiler_syscall_duration_seconds"), attached);
        // The process is older than its counters, and a gauge has no creation time.
        assert_eq!(created("profiler_cpu_seconds_total"), None);
        assert_eq!(created("profiler_uptime_seconds"), None);
    }

    /// Returns the samples of the only histogram in `text` whose names end in `suffix`, each with
    /// its value of `le`.
    fn samples(text: &str, suffix: &str) -> Vec<(Option<f64>, f64)> {
        let name = format!("profiler_syscall_duration_seconds{suffix}{{");
        text.lines()
            .filter(|line| line.starts_with(&name))
            .map(|line| {
                let le = line.split_once("le=\"").map(|(_, rest)| {
                    rest.split('"').next().expect("closed").parse().expect("a number")
                });
                (le, line.rsplit(' ').next().expect("a value").parse().expect("a number"))
            })
            .collect()
    }

    proptest! {
        #[test]
        fn histograms_are_what_prometheus_expects(
            counts in prop::collection::vec((0..BUCKETS, 1_u64..1_000_000), 0..40),
            total_ns in 0_u64..1 << 51,
        ) {
            let latency: Latency = counts.iter().copied().collect();
            let figures = Figures { total_ns, latency: latency.clone(), ..Figures::default() };
            let text = text(&exposition(vec![(CallKey::of(Abi::X86_64, 0), figures)]))
                .expect("encodes");

            let buckets = samples(&text, "_bucket");
            prop_assert!(buckets.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1), "{text}");
            for &(le, cumulative) in &buckets {
                let le_ns = (le.expect("has le") * 1e9).round();
                let below: u64 = latency
                    .iter()
                    .filter(|&(bucket, _)| le_ns.is_infinite() || hist::upper(bucket) as f64 <= le_ns)
                    .map(|(_, count)| count)
                    .sum();
                prop_assert_eq!(below as f64, cumulative);
            }
            let count = samples(&text, "_count")[0].1;
            prop_assert_eq!(*buckets.last().expect("some"), (Some(f64::INFINITY), count));
            prop_assert_eq!(count, latency.count() as f64);
            let sum_ns = (samples(&text, "_sum")[0].1 * 1e9).round();
            prop_assert_eq!(sum_ns as u64, total_ns);
        }
    }
}
