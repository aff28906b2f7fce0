//! A snapshot in Prometheus' exposition format.

mod cost;
mod in_flight;

use std::{borrow::Cow, collections::BTreeMap, sync::Arc, time::Duration};

use profiler_common::{
    call::{Abi, CallKey},
    hist,
};
use prometheus::{
    Registry, TextEncoder,
    core::{Collector, Desc},
    proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType},
};

use crate::{
    model::{Figures, Latency, Snapshot, Timed, Times, Unlogged},
    names::{errnos, syscalls},
};

/// The content type of [`text`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The octaves whose upper ends are the bounds of the latency histogram: every
/// second one from 128 ns to 2^41 ns (37 minutes).
///
/// Each is also a bound of the kernel side's buckets, upper end included as `le`
/// wants it, so no count is ever estimated. The bounds are what costs: with 100
/// system calls in use, 18 of them make 2,100 series, every octave would make 4,000
/// and the kernel side's own buckets 32,000. Fewer would leave
/// `histogram_quantile()` too little to go by: a factor of four already is as far
/// apart as they can usefully be. Sum and count are exact whatever the bounds.
const BOUND_OCTAVES: std::ops::RangeInclusive<u32> = 7..=41;
const OCTAVES_PER_BOUND: usize = 2;

/// What the daemon knows beside the snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Service {
    /// Scrapes that were answered, from the request to the answer.
    pub scrapes: Times,
    /// Drains that did not take place since the one before came so late.
    pub missed_drains: u64,
    /// How late the last drain came.
    pub last_drain_late: Duration,
    /// Whether the last reload of the configuration, if there was one, failed.
    pub reload_failed: bool,
    /// Messages that did not reach the log.
    pub unlogged: Unlogged,
}

/// What one scrape shows.
#[derive(Clone, Debug, Default)]
pub struct Exposition {
    /// What the kernel side recorded.
    pub snapshot: Arc<Snapshot>,
    /// The daemon itself.
    pub service: Service,
}

/// `exposition` in the text format.
pub fn text(exposition: &Exposition) -> Result<String, prometheus::Error> {
    let registry = Registry::new();
    registry.register(Box::new(exposition.clone()))?;
    TextEncoder::new().encode_to_string(&registry.gather())
}

impl Collector for Exposition {
    /// None: the registry needs descriptions to keep several collectors apart, and
    /// this is the only one of its own.
    fn desc(&self) -> Vec<&Desc> {
        Vec::new()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        families(&self.snapshot, &self.service)
    }
}

/// Every metric family. Those without a metric in this snapshot are empty.
pub fn families(snapshot: &Snapshot, service: &Service) -> Vec<MetricFamily> {
    let mut families = calls(&named(snapshot), snapshot.health.timed);
    families.extend(in_flight::families(snapshot));
    families.extend(losses(snapshot));
    families.extend(capacity(snapshot));
    families.extend(cost::families(snapshot, service));
    families
}

/// ABI and name of a system call, which make a series.
type Name = (&'static str, &'static str);

/// The calls by what they are labelled with. Numbers that share a name share a
/// series: all those that no table knows, and calls that x32 has under its own
/// number and under that of x86_64. Two series with the same labels would make
/// Prometheus refuse the scrape.
fn named(snapshot: &Snapshot) -> BTreeMap<Name, Cow<'_, Figures>> {
    let mut named: BTreeMap<Name, Cow<'_, Figures>> = BTreeMap::new();
    for row in &snapshot.calls {
        named
            .entry(call_name(row.key))
            .and_modify(|figures| figures.to_mut().merge(&row.total))
            .or_insert(Cow::Borrowed(&row.total));
    }
    named
}

fn call_name(key: CallKey) -> Name {
    (key.abi().map_or(syscalls::UNKNOWN, Abi::name), syscalls::name(key))
}

fn calls(named: &BTreeMap<Name, Cow<'_, Figures>>, timed: Timed) -> Vec<MetricFamily> {
    let each = |value: fn(&Figures) -> u64| {
        named.iter().map(move |(name, figures)| (call_labels(name), value(figures)))
    };
    // Most calls never see these outcomes. A series appears with its first event
    // rather than as a hundred zeros, as those of errors do, whose errnos nobody
    // can list beforehand.
    let rare = |value| each(value).filter(|&(_, count)| count > 0);
    let durations = family(
        "profiler_syscall_duration_seconds",
        "Wall time in system calls that left, whatever their outcome; of those that were timed.",
        MetricType::HISTOGRAM,
        named
            .iter()
            .map(|(name, figures)| {
                let mut metric = Metric::from_label(call_labels(name));
                metric.set_histogram(histogram(
                    &figures.latency,
                    figures.total_ns,
                    BOUND_OCTAVES.step_by(OCTAVES_PER_BOUND),
                ));
                metric
            })
            .collect(),
    );
    let mut families = vec![
        counter("profiler_syscalls_total", "System calls entered.", each(|f| f.calls)),
        counter(
            "profiler_syscall_errors_total",
            "System calls that returned an errno; \"other\" is any that is not counted apart.",
            named.iter().flat_map(|(name, figures)| errors(name, figures)),
        ),
        counter(
            "profiler_syscall_restarts_total",
            "System calls that a signal interrupted and that the kernel restarted; no errors.",
            rare(|f| f.restarted),
        ),
        counter(
            "profiler_syscall_denials_total",
            "System calls refused by seccomp or ptrace before they entered.",
            rare(|f| f.denied),
        ),
        counter(
            "profiler_syscall_never_returned_total",
            "System calls that ended their thread, or whose thread was killed in them.",
            rare(|f| f.never_returned),
        ),
        counter(
            "profiler_syscall_missed_exits_total",
            "System calls that left without being seen to: their outcome and time are not known.",
            rare(|f| f.lost),
        ),
    ];
    // A family of empty histograms would look as if nothing ever took any time.
    if timed != Timed::None {
        families.insert(2, durations);
    }
    families
}

fn errors<'a>(name: &'a Name, figures: &'a Figures) -> impl Iterator<Item = Sample> + 'a {
    let listed = figures.errnos.iter().map(|&(errno, count)| (errnos::name(errno), count));
    let unlisted =
        (figures.errors_unlisted > 0).then_some((Cow::Borrowed("other"), figures.errors_unlisted));
    listed.chain(unlisted).map(|(errno, count)| {
        let mut labels = call_labels(name);
        labels.push(label("errno", errno));
        (labels, count)
    })
}

/// Counts of `latency` below the upper end of each octave of `bounds`. The number of
/// samples is that of the buckets, which are read at one moment, so that they always agree.
fn histogram(latency: &Latency, total_ns: u64, bounds: impl IntoIterator<Item = u32>) -> Histogram {
    let mut buckets = latency.iter().peekable();
    let mut cumulative = 0;
    let bounds = bounds
        .into_iter()
        .map(|octave| {
            let bound_ns = 1_u64 << octave;
            while let Some((_, count)) =
                buckets.next_if(|&(bucket, _)| hist::upper(bucket) <= bound_ns)
            {
                cumulative += count;
            }
            let mut bound = Bucket::default();
            bound.set_upper_bound(seconds(bound_ns));
            bound.set_cumulative_count(cumulative);
            bound
        })
        .collect();
    let mut histogram = Histogram::default();
    histogram.set_bucket(bounds);
    histogram.set_sample_count(latency.count());
    histogram.set_sample_sum(seconds(total_ns));
    histogram
}

fn losses(snapshot: &Snapshot) -> Vec<MetricFamily> {
    let health = &snapshot.health;
    let counters = &health.counters;
    let misses = || health.program_misses.iter().copied();
    vec![
        counter(
            "profiler_lost_calls_total",
            "Events that went uncounted, by reason; anything but 0 means that figures are too low.",
            [
                ("no_task_state", counters.lost_entries),
                ("missed_entry", counters.missed_entries),
                ("missed_exit", counters.lost_exits),
                ("unfollowed_child", counters.lost_children),
                ("missed_life_event", health.lives_missed()),
            ]
            .map(|(reason, count)| (vec![label("reason", reason)], count)),
        ),
        gauge(
            "profiler_lost_calls_unseen",
            "Calls that may be lost beside profiler_lost_calls_total, at most: the kernel skipped the programs, and left no trace of for what.",
            one(health.unseen() as f64),
        ),
        counter(
            "profiler_accounting_breaches_total",
            "Threads, processes and system calls whose calls, counted at entry and at exit, did not agree; anything but 0 is a mistake of the profiler.",
            one(health.breaches),
        ),
        counter(
            "profiler_program_misses_total",
            "Runs of an eBPF program that the kernel skipped, at most; where it is attached several times over, those of all its copies.",
            misses().map(|(program, count)| (vec![label("program", program)], count)),
        ),
        counter(
            "profiler_program_takeovers_total",
            "Entries and exits for which the kernel skipped the first copy of a program, and that another copy counted.",
            [("sys_enter", counters.entries_taken_over), ("sys_exit", counters.exits_taken_over)]
                .map(|(program, count)| (vec![label("program", program)], count)),
        ),
        counter(
            "profiler_overflowed_calls_total",
            "System calls counted in all totals, but of no process, for want of room.",
            one(health.overflowed),
        ),
        counter(
            "profiler_pool_exhausted_total",
            "Times that a pool had nothing left to give.",
            [("records", counters.records_exhausted), ("extents", counters.extents_exhausted)]
                .map(|(pool, count)| (vec![label("pool", pool)], count)),
        ),
        counter(
            "profiler_pool_withheld_total",
            "Times that a pool gave a thread nothing because its user had used up its share, though some was free.",
            [("records", counters.records_withheld), ("extents", counters.extents_withheld)]
                .map(|(pool, count)| (vec![label("pool", pool)], count)),
        ),
        counter(
            "profiler_unmatched_exits_total",
            "Exits that rightly had no entry, and so count as no call, by reason.",
            [
                ("in_flight_at_attach", counters.in_flight_at_attach),
                ("birth", counters.births),
                ("denied", counters.denied_unrecorded),
            ]
            .map(|(reason, count)| (vec![label("reason", reason)], count)),
        ),
        counter(
            "profiler_denied_presumed_total",
            "Denied calls that may instead have been in flight when the profiler attached, at most one a thread.",
            one(counters.denied_presumed),
        ),
    ]
}

fn capacity(snapshot: &Snapshot) -> Vec<MetricFamily> {
    let health = &snapshot.health;
    let pools = [("records", health.records), ("extents", health.extents)];
    vec![
        gauge(
            "profiler_pool_used",
            "Records of threads, and extents of 1 KiB for figures, in use.",
            pools.map(|(pool, of)| (vec![label("pool", pool)], of.used as f64)),
        ),
        gauge(
            "profiler_pool_capacity",
            "Records of threads, and extents of 1 KiB for figures, in all.",
            pools.map(|(pool, of)| (vec![label("pool", pool)], of.capacity as f64)),
        ),
        gauge(
            "profiler_kernel_memory_bytes",
            "Kernel memory of all eBPF maps.",
            one(health.kernel_memory_bytes as f64),
        ),
        gauge("profiler_cpus", "CPUs online.", one(snapshot.cpus as f64)),
    ]
}

type Sample = (Vec<LabelPair>, u64);

fn one<T>(value: T) -> [(Vec<LabelPair>, T); 1] {
    [(Vec::new(), value)]
}

/// To the nanosecond up to 2^51 of them (26 days), and beyond that as near as a
/// double comes, which is all that Prometheus can hold.
fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

fn call_labels(&(abi, syscall): &Name) -> Vec<LabelPair> {
    vec![label("abi", abi), label("syscall", syscall)]
}

fn label(name: &str, value: impl Into<String>) -> LabelPair {
    let mut pair = LabelPair::default();
    pair.set_name(name.to_owned());
    pair.set_value(value.into());
    pair
}

fn counter(name: &str, help: &str, samples: impl IntoIterator<Item = Sample>) -> MetricFamily {
    let metrics =
        samples.into_iter().map(|(labels, count)| counter_metric(labels, count as f64)).collect();
    family(name, help, MetricType::COUNTER, metrics)
}

fn counter_metric(labels: Vec<LabelPair>, value: f64) -> Metric {
    let mut counter = Counter::default();
    counter.set_value(value);
    let mut metric = Metric::from_label(labels);
    metric.set_counter(counter);
    metric
}

fn gauge(
    name: &str,
    help: &str,
    samples: impl IntoIterator<Item = (Vec<LabelPair>, f64)>,
) -> MetricFamily {
    let metrics = samples
        .into_iter()
        .map(|(labels, value)| {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            let mut metric = Metric::from_label(labels);
            metric.set_gauge(gauge);
            metric
        })
        .collect();
    family(name, help, MetricType::GAUGE, metrics)
}

fn family(name: &str, help: &str, kind: MetricType, metrics: Vec<Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    family.set_metric(metrics);
    family
}

#[cfg(test)]
mod tests {
    use super::*;
    use profiler_common::hist::BUCKETS;
    use proptest::prelude::*;

    use crate::model::CallRow;

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
        for octave in BOUND_OCTAVES.step_by(OCTAVES_PER_BOUND) {
            let bound_ns = 1 << octave;
            let mut latency = Latency::default();
            latency.record(bound_ns);
            latency.record(bound_ns + 1);
            let bounds = BOUND_OCTAVES.step_by(OCTAVES_PER_BOUND);
            let histogram = histogram(&latency, 2 * bound_ns + 1, bounds);
            let bucket = histogram
                .get_bucket()
                .iter()
                .find(|bucket| bucket.upper_bound() == seconds(bound_ns))
                .expect("is a bound");
            assert_eq!(bucket.cumulative_count(), 1, "2^{octave}");
        }
    }

    /// The samples of the only histogram in `text` whose name ends in `suffix`, with
    /// the value of `le`.
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
