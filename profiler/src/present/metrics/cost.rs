//! Metrics of the profiler itself: its cost, and its state as a service.

use std::borrow::Cow;

use super::{
    Service,
    bounds::octaves,
    model::{Family, Histogram, Label, Labels},
    one,
};
use crate::model::{Cost, Program, Runs, Snapshot, Times, Timing, nanoseconds};

/// The bounds for drains and scrapes in classic buckets: every second octave from 1 ms to 1.1 s.
static BOUNDS: [u64; 6] = octaves(20, 2);

pub(super) fn families<'a>(snapshot: &'a Snapshot, service: &'a Service) -> Vec<Family<'a>> {
    let cost = &snapshot.health.cost;
    let mut families = process(cost, service);
    families.extend(programs(cost));
    families.extend(itself(snapshot, service));
    families
}

fn process<'a>(cost: &'a Cost, service: &'a Service) -> Vec<Family<'a>> {
    let cpu = [("user", cost.cpu.user), ("system", cost.cpu.system)];
    vec![
        times(
            "profiler_drain_duration_seconds",
            "Duration of the drains in seconds; a drain reads the kernel's maps.",
            &cost.drains,
        )
        .created(service.attached),
        Family::gauge(
            "profiler_last_drain_duration_seconds",
            "Duration of the last drain in seconds.",
            one(cost.drains.last),
        ),
        Family::gauge(
            "profiler_drain_interval_seconds",
            "Maximum time between two drains in seconds: the configured interval, or longer if drains would otherwise use more than 4 % of a CPU.",
            one(service.interval),
        ),
        Family::gauge(
            "profiler_last_drain_late_seconds",
            "Delay of the last drain in seconds; a drain is late if the host's CPUs are busy.",
            one(service.last_drain_late),
        ),
        Family::counter(
            "profiler_missed_drains_total",
            "Drains that were skipped because the drain before them was late by an interval or more.",
            one(service.missed_drains),
        )
        .created(service.attached),
        times(
            "profiler_scrape_duration_seconds",
            "Time from a request for these metrics to its response in seconds, including the drain that the request triggers.",
            &service.scrapes,
        )
        .created(service.attached),
        Family::counter(
            "profiler_cpu_seconds_total",
            "CPU time of the profiler's process in seconds, without its eBPF programs, which run on the CPU time of their callers.",
            cpu.map(|(mode, time)| (vec![Label::new("mode", mode)], time)),
        ),
        Family::gauge(
            "profiler_resident_memory_bytes",
            "Resident memory of the profiler's process in bytes.",
            one(cost.resident_bytes),
        ),
        Family::gauge(
            "profiler_peak_resident_memory_bytes",
            "Peak of the resident memory of the profiler's process in bytes.",
            one(cost.peak_resident_bytes),
        ),
    ]
}

fn programs(cost: &Cost) -> Vec<Family<'_>> {
    let timed = matches!(cost.timing, Timing::Of { .. });
    let each = || cost.programs.iter().map(|program| (of(program), program));
    // Facts about programs are constant. They are of interest only together with the cost of the
    // programs.
    let whenever_timed = || each().filter(|_| timed);
    // Without statistics, there are no such series, because 0 would look like a measurement.
    let runs = || cost.by_program().filter_map(|(program, runs)| Some((of(program), runs?)));
    vec![
        Family::gauge(
            "profiler_program_statistics_enabled",
            "1 if the kernel counts and times the runs of eBPF programs, otherwise 0; the statistics make every run slower.",
            one(timed),
        ),
        Family::counter(
            "profiler_program_runs_total",
            "Runs of an eBPF program over all its copies, while the kernel's BPF statistics are enabled.",
            runs().map(|(labels, Runs { count, .. })| (labels, count)),
        ),
        Family::counter(
            "profiler_program_run_seconds_total",
            "CPU time of an eBPF program in seconds, spent by its callers, while the kernel's BPF statistics are enabled.",
            runs().map(|(labels, Runs { time, .. })| (labels, time)),
        ),
        Family::gauge(
            "profiler_program_jited_bytes",
            "Machine code of an eBPF program in bytes, over all its copies.",
            whenever_timed().map(|(labels, program)| (labels, program.jited_bytes)),
        ),
        Family::gauge(
            "profiler_program_verified_instructions",
            "Instructions that the kernel's verifier processed when it loaded an eBPF program.",
            whenever_timed()
                .filter_map(|(labels, program)| Some((labels, program.verified_instructions?))),
        ),
    ]
}

fn of(program: &Program) -> Labels<'_> {
    vec![Label::new("program", program.name.as_str())]
}

fn itself<'a>(snapshot: &'a Snapshot, service: &'a Service) -> Vec<Family<'a>> {
    let version = Label::new("version", env!("CARGO_PKG_VERSION"));
    vec![
        Family::gauge(
            "profiler_uptime_seconds",
            "Time since the profiler started counting syscalls, in seconds.",
            one(snapshot.window),
        ),
        Family::gauge(
            "profiler_config_last_reload_successful",
            "0 if the last reload of the configuration failed, or if the changed web configuration file cannot be applied, otherwise 1.",
            one(!service.reload_failed),
        ),
        Family::counter(
            "profiler_log_messages_unlogged_total",
            "Log messages that were not written, by reason: \"dropped\" because standard error was not read in time, \"repeated\" because the same message was logged too often.",
            [("dropped", service.unlogged.dropped), ("repeated", service.unlogged.repeated)]
                .map(|(reason, count)| (vec![Label::new("reason", reason)], count)),
        ),
        Family::info(
            "profiler_attach_info",
            "How the eBPF programs are attached; always 1.",
            vec![Label::new("mode", snapshot.health.kernel().map_or("", |kernel| &kernel.mode))],
        ),
        Family::info(
            "profiler_build_info",
            "Version and architecture of this profiler; always 1.",
            vec![version, Label::new("arch", std::env::consts::ARCH)],
        ),
    ]
}

fn times<'a>(name: &'static str, help: &'static str, times: &'a Times) -> Family<'a> {
    let total_ns = nanoseconds(times.total);
    let histogram = Histogram::new(Cow::Borrowed(&times.spread), total_ns, &BOUNDS);
    Family::histogram(name, help, one(histogram))
}
