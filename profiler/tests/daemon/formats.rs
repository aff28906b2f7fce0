//! All exposition formats have the same content, for any figures.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use profiler::{
    model::{CallRow, Figures, Snapshot},
    present::metrics::{self, Exposition, Format, Options, bounds::Bounds, native},
};
use profiler_common::{
    call::{Abi, CallKey},
    hist::{self, BUCKETS},
};
use proptest::prelude::*;

use crate::{
    decoder::{self, Samples},
    exposition::exposition_of,
    fake,
};

fn text(exposition: &Exposition) -> Samples {
    decoder::text(&string(exposition, Format::Text))
}

fn string(exposition: &Exposition, format: Format) -> String {
    String::from_utf8(metrics::encode(exposition, format).expect("encodes")).expect("text")
}

fn families(exposition: &Exposition) -> Vec<decoder::Family> {
    decoder::protobuf(&metrics::encode(exposition, Format::Protobuf).expect("encodes"))
}

/// Checks properties of any exposition.
fn check(exposition: &Exposition) {
    let text = text(exposition);
    let openmetrics = decoder::openmetrics(&string(exposition, Format::OpenMetrics));
    assert_eq!(openmetrics, text);
    let families = families(exposition);
    assert_eq!(decoder::classic_samples(&families), text);
    let metrics = families.iter().flat_map(|family| &family.metrics);
    metrics.filter_map(|metric| metric.histogram.as_ref()).for_each(check_native);
}

/// The native buckets of a histogram agree with its count and its classic buckets.
fn check_native(histogram: &decoder::Histogram) {
    let buckets = histogram.native();
    assert!(buckets.len() <= native::MAX_BUCKETS, "{}", buckets.len());
    assert!(buckets.iter().all(|&(_, count)| count > 0));
    assert_eq!(histogram.zero_threshold, 8e-9);
    let below = |is_below: &dyn Fn(i64) -> bool| {
        let counts = buckets.iter().filter(|&&(index, _)| is_below(index));
        histogram.zero_count + counts.map(|&(_, count)| count as u64).sum::<u64>()
    };
    assert_eq!(below(&|_| true), histogram.count);
    for &(bound, count) in &histogram.classic {
        let least = below(&|index| histogram.bound(index) <= bound);
        let most = below(&|index| histogram.bound(index - 1) < bound);
        assert!((least..=most).contains(&count), "{bound}: {count}, from {least} to {most}");
    }
}

#[test]
fn all_formats_say_the_same_of_a_rich_snapshot() {
    check(&exposition_of(fake::snapshot()));
    check(&Exposition::default());
}

#[test]
fn golden() {
    let exposition = Exposition {
        options: Arc::new(Options { created_samples: true, ..Options::default() }),
        ..created_at(exposition_of(fake::snapshot()), Duration::new(1_700_000_000, 250_000_000))
    };
    let text = string(&exposition, Format::OpenMetrics);
    insta::assert_snapshot!(text.replace(env!("CARGO_PKG_VERSION"), "VERSION"));
}

fn created_at(mut exposition: Exposition, since_epoch: Duration) -> Exposition {
    exposition.service.attached = Some(SystemTime::UNIX_EPOCH + since_epoch);
    exposition
}

/// The time of creation is always in protobuf, where it costs a few bytes. In OpenMetrics, where it
/// costs series, it is there on request.
#[test]
fn counters_and_histograms_say_when_they_were_0() {
    let at = Duration::new(1_700_000_000, 123_456_789);
    let mut exposition = created_at(exposition_of(fake::snapshot()), at);
    for family in families(&exposition) {
        let all = family.metrics.iter().map(|metric| metric.created);
        let expected = match &*family.name {
            // Counters that began before the attach.
            "profiler_cpu_seconds_total"
            | "profiler_log_messages_unlogged_total"
            | "profiler_program_runs_total"
            | "profiler_program_run_seconds_total" => None,
            _ if matches!(family.kind, 0 | 4) => Some((1_700_000_000, 123_456_789)),
            _ => None,
        };
        assert!(all.clone().all(|created| created == expected), "{}", family.name);
    }
    let is_created = |(series, _): &(&String, &f64)| series.contains("_created");
    let samples = decoder::openmetrics(&string(&exposition, Format::OpenMetrics));
    assert_eq!(samples.iter().filter(is_created).count(), 0);
    exposition.options = Arc::new(Options { created_samples: true, ..Options::default() });
    let samples = decoder::openmetrics(&string(&exposition, Format::OpenMetrics));
    let created: Vec<f64> = samples.iter().filter(is_created).map(|(_, &value)| value).collect();
    assert!(created.len() > 10 && created.iter().all(|&value| value == at.as_secs_f64()));
}

#[test]
fn types_units_and_help_are_in_every_format() {
    let exposition = exposition_of(fake::snapshot());
    let openmetrics = string(&exposition, Format::OpenMetrics);
    let mut types = 0;
    for family in families(&exposition) {
        let name = family.name.strip_suffix("_total").unwrap_or(&family.name);
        let name = name.strip_suffix("_info").unwrap_or(name);
        let kind = match family.kind {
            0 => "counter",
            1 if family.name.ends_with("_info") => "info",
            1 => "gauge",
            4 => "histogram",
            kind => panic!("{name} is of type {kind}"),
        };
        types += 1;
        let help = family.help.replace('"', "\\\"");
        let unit = if family.unit.is_empty() {
            family.unit
        } else {
            format!("# UNIT {name} {}\n", family.unit)
        };
        let header = format!("# TYPE {name} {kind}\n{unit}# HELP {name} {help}\n");
        assert!(openmetrics.contains(&header), "{header}");
    }
    assert_eq!(openmetrics.lines().filter(|line| line.starts_with("# TYPE")).count(), types);
}

/// Other bounds change the classic buckets, and nothing else.
#[test]
fn classic_bounds_can_be_chosen() {
    let chosen = [1_024, 983_040, 1 << 30];
    let of = |bounds: Bounds| Exposition {
        options: Arc::new(Options { bounds, ..Options::default() }),
        ..exposition_of(fake::snapshot())
    };
    let exposition = of(Bounds::new(chosen).expect("bounds of the kernel side"));
    check(&exposition);
    let is_latency = |family: &&decoder::Family| family.name == "profiler_syscall_duration_seconds";
    let families_chosen = families(&exposition);
    let family = families_chosen.iter().find(is_latency).expect("is there");
    for metric in &family.metrics {
        let histogram = metric.histogram.as_ref().expect("a histogram");
        let bounds: Vec<f64> = histogram.classic.iter().map(|&(bound, _)| bound).collect();
        assert_eq!(bounds, chosen.map(|ns| ns as f64 / 1e9));
    }
    let others = |exposition: &Exposition| {
        let mut samples = text(exposition);
        samples.retain(|series, _| !series.starts_with("profiler_syscall_duration_seconds_bucket"));
        samples
    };
    assert_eq!(others(&exposition), others(&of(Bounds::default())));
    let none = of(Bounds::new([]).expect("no bounds"));
    check(&none);
    assert!(text(&none).keys().any(|series| series.contains("le=\"+Inf\"")));
}

prop_compose! {
    fn figures()(
        calls in 0_u64..1 << 52,
        errnos in prop::collection::btree_map(1_u16..140, 1_u64..1 << 40, 0..5),
        counts in prop::collection::vec((0..BUCKETS, 1_u64..1 << 32), 0..320),
        total_ns in 0_u64..1 << 51,
    ) -> Figures {
        Figures {
            calls,
            returned: calls,
            errors: errnos.values().sum(),
            errnos: errnos.into_iter().collect(),
            latency: counts.into_iter().collect(),
            total_ns,
            ..Figures::default()
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn all_formats_say_the_same(rows in prop::collection::btree_map(0_u32..460, figures(), 0..6)) {
        let calls = rows.iter();
        let calls = calls.map(|(&nr, total)| CallRow::new(CallKey::of(Abi::X86_64, nr), total.clone()));
        let snapshot = Snapshot { calls: calls.collect(), ..Snapshot::default() };
        let exposition = Exposition { snapshot: Arc::new(snapshot), ..Exposition::default() };
        check(&exposition);
        // Counts and sums are the same.
        let families = families(&exposition);
        let of = |name: &str| {
            let family = families.iter().find(|family| family.name == name);
            family.map_or(&[][..], |family| &family.metrics)
        };
        let histograms =
            of("profiler_syscall_duration_seconds").iter().filter_map(|m| m.histogram.as_ref());
        let stated = rows.values().map(|figures| figures.latency.count()).sum::<u64>();
        prop_assert_eq!(histograms.clone().map(|h| h.count).sum::<u64>(), stated);
        let sum_ns: u64 = histograms.map(|h| (h.sum * 1e9).round() as u64).sum();
        prop_assert_eq!(sum_ns, rows.values().map(|figures| figures.total_ns).sum::<u64>());
        let sum = |name: &str| of(name).iter().filter_map(|metric| metric.number).sum::<f64>();
        let calls: u64 = rows.values().map(|figures| figures.calls).sum();
        prop_assert!((sum("profiler_syscalls_total") - calls as f64).abs() <= calls as f64 / 1e15);
        let errors: u64 = rows.values().map(|figures| figures.errors).sum();
        prop_assert_eq!(sum("profiler_syscall_errors_total"), errors as f64);
    }

    /// A quantile of the native buckets is within the error that docs/formats.md states.
    #[test]
    fn native_quantiles_are_within_the_bound(
        values in prop::collection::vec((6_u32..45, 0.0_f64..1.0), 1..100),
        q in 0.0_f64..=1.0,
    ) {
        let mut exact: Vec<u64> = values
            .into_iter()
            .map(|(octave, fraction)| ((1_u64 << octave) as f64 * (1.0 + fraction)) as u64)
            .filter(|&ns| ns > 64 && ns <= hist::upper(BUCKETS - 2))
            .collect();
        prop_assume!(!exact.is_empty());
        exact.sort_unstable();
        let mut figures = Figures::default();
        exact.iter().for_each(|&ns| figures.latency.record(ns));
        let calls = vec![CallRow::new(CallKey::of(Abi::X86_64, 0), figures)];
        let exposition = Exposition {
            snapshot: Arc::new(Snapshot { calls, ..Snapshot::default() }),
            ..Exposition::default()
        };
        let families = families(&exposition);
        let family =
            families.iter().find(|family| family.name == "profiler_syscall_duration_seconds");
        let histogram = family.expect("is there").metrics[0].histogram.as_ref().expect("is one");
        let rank = ((q * exact.len() as f64).ceil() as i64).clamp(1, exact.len() as i64);
        let want = exact[rank as usize - 1] as f64 / 1e9;
        let mut left = rank;
        let bucket = histogram.native().into_iter().find(|&(_, count)| {
            left -= count;
            left <= 0
        });
        let (index, _) = bucket.expect("has the rank");
        for shown in [histogram.bound(index - 1), histogram.bound(index)] {
            prop_assert!((shown / want - 1.0).abs() <= 0.104, "{shown} for {want}");
        }
    }
}
