//! What the profiler itself costs, and how it fares as a service.

use prometheus::proto::{LabelPair, Metric, MetricFamily, MetricType};

use super::{Service, counter, counter_metric, family, gauge, histogram, label, one};
use crate::model::{Cost, Program, Runs, Snapshot, Times, Timing};

/// The octaves whose upper ends are the bounds for drains and scrapes: from 65 us to 1.1 s.
const BOUND_OCTAVES: std::ops::RangeInclusive<u32> = 16..=30;

pub(super) fn families(snapshot: &Snapshot, service: &Service) -> Vec<MetricFamily> {
    let cost = &snapshot.health.cost;
    let mut families = process(cost, service);
    families.extend(programs(cost));
    families.extend(itself(snapshot, service));
    families
}

fn process(cost: &Cost, service: &Service) -> Vec<MetricFamily> {
    let cpu = [("user", cost.cpu.user), ("system", cost.cpu.system)];
    vec![
        times(
            "profiler_drain_duration_seconds",
            "Time that reading the kernel's maps took.",
            &cost.drains,
        ),
        gauge(
            "profiler_last_drain_duration_seconds",
            "Time that the last reading of the kernel's maps took.",
            one(cost.drains.last.as_secs_f64()),
        ),
        gauge(
            "profiler_last_drain_late_seconds",
            "How long after its time the last drain began, the host's CPUs being busy.",
            one(service.last_drain_late.as_secs_f64()),
        ),
        counter(
            "profiler_missed_drains_total",
            "Drains that did not take place, as the next one came an interval or more too late.",
            one(service.missed_drains),
        ),
        times(
            "profiler_scrape_duration_seconds",
            "Time from a request for these metrics to its answer, with the drain that it asked for.",
            &service.scrapes,
        ),
        family(
            "profiler_cpu_seconds_total",
            "CPU time of the profiler's process; that of its eBPF programs is the callers'.",
            MetricType::COUNTER,
            cpu.map(|(mode, time)| counter_metric(vec![label("mode", mode)], time.as_secs_f64()))
                .into(),
        ),
        gauge(
            "profiler_resident_memory_bytes",
            "Resident memory of the profiler's process.",
            one(cost.resident_bytes as f64),
        ),
        gauge(
            "profiler_peak_resident_memory_bytes",
            "The most memory of the profiler's process that was ever resident.",
            one(cost.peak_resident_bytes as f64),
        ),
    ]
}

fn programs(cost: &Cost) -> Vec<MetricFamily> {
    let timed = matches!(cost.timing, Timing::Of { .. });
    let each = || cost.programs.iter().map(|program| (of(program), program));
    // Without statistics there are no such series: 0 would be a figure.
    let runs = || cost.by_program().filter_map(|(program, runs)| Some((of(program), runs?)));
    let seconds = |runs: Runs| runs.time.as_secs_f64();
    vec![
        gauge(
            "profiler_program_statistics_enabled",
            "Whether the kernel counts and times the runs of eBPF programs, which makes them dearer.",
            one(f64::from(u8::from(timed))),
        ),
        counter(
            "profiler_program_runs_total",
            "Runs of an eBPF program, all its copies together, since the kernel counts them.",
            runs().map(|(labels, runs)| (labels, runs.count)),
        ),
        family(
            "profiler_program_run_seconds_total",
            "CPU time of an eBPF program, spent by those who make calls, since the kernel times it.",
            MetricType::COUNTER,
            runs().map(|(labels, runs)| counter_metric(labels, seconds(runs))).collect(),
        ),
        gauge(
            "profiler_program_jited_bytes",
            "Machine code of an eBPF program, all its copies together.",
            each().map(|(labels, program)| (labels, program.jited_bytes as f64)),
        ),
        gauge(
            "profiler_program_verified_instructions",
            "Instructions that the verifier went through to accept an eBPF program.",
            each().filter_map(|(labels, program)| {
                Some((labels, f64::from(program.verified_instructions?)))
            }),
        ),
    ]
}

fn of(program: &Program) -> Vec<LabelPair> {
    vec![label("program", program.name.clone())]
}

fn itself(snapshot: &Snapshot, service: &Service) -> Vec<MetricFamily> {
    vec![
        gauge(
            "profiler_uptime_seconds",
            "Time for which system calls have been counted.",
            one(snapshot.window.as_secs_f64()),
        ),
        gauge(
            "profiler_config_last_reload_successful",
            "Whether the configuration is what the file said at the last reload.",
            one(f64::from(u8::from(!service.reload_failed))),
        ),
        counter(
            "profiler_log_messages_unlogged_total",
            "Log messages that were not written: \"dropped\" if standard error was not read, \"repeated\" if they repeated others too often.",
            [("dropped", service.unlogged.dropped), ("repeated", service.unlogged.repeated)]
                .map(|(reason, count)| (vec![label("reason", reason)], count)),
        ),
        gauge(
            "profiler_attach_info",
            "How the eBPF programs are attached; always 1.",
            [(vec![label("mode", snapshot.health.mode)], 1.0)],
        ),
        gauge(
            "profiler_build_info",
            "What this profiler was built from and for; always 1.",
            [(
                vec![
                    label("version", env!("CARGO_PKG_VERSION")),
                    label("arch", std::env::consts::ARCH),
                ],
                1.0,
            )],
        ),
    ]
}

fn times(name: &str, help: &str, times: &Times) -> MetricFamily {
    let total_ns = u64::try_from(times.total.as_nanos()).unwrap_or(u64::MAX);
    let mut metric = Metric::from_label(Vec::new());
    metric.set_histogram(histogram(&times.spread, total_ns, BOUND_OCTAVES));
    family(name, help, MetricType::HISTOGRAM, vec![metric])
}
