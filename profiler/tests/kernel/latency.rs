//! Latencies, held against the workload's own clock readings around each call.
//!
//! The profiler reads the same clock, CLOCK_MONOTONIC, inside of the workload's two
//! readings, so its time can never be the longer one. What a call was asked to sleep
//! it can never be shorter than. So the sum is caught from both sides without any
//! tolerance.
//!
//! How far the two may differ has no sharp bound: a thread that loses its CPU between
//! the two clocks stays away for as long as the scheduler likes. The least difference
//! has: among many calls some lose nothing.

use crate::{
    report::Report,
    run::{Mode, Stat},
    workload::Timing,
};

/// What the two clocks may differ by at the least: twice the way into and out of the
/// kernel with a tracepoint at each, on a cold cache after a sleep. It is about 1 us
/// where a mitigation flushes on each way, and 5 us leave a slow host room; the error
/// looked for, a unit or a clock mistaken or a missed tick, is larger.
const LEAST_DIFFERENCE_NS: u64 = 5_000;

/// The share of calls of which one has to be among those that lost nothing.
const LEAST_CALLS: u64 = 50;

pub(crate) fn is_what_the_workload_measured(mode: Mode) {
    let (report, statement) = Stat::new(mode).by_process_and_call().workload(&["sleeps"]);
    assert_eq!(statement.timings.len(), 8);
    for timing in &statement.timings {
        compare(&report, timing);
    }
    report.nothing_overflowed();
    report.nothing_is_in_flight();
}

fn compare(report: &Report, timing: &Timing) {
    let row = report
        .rows
        .iter()
        .find(|row| row.pid == Some(timing.pid) && row.syscall.as_deref() == Some(&*timing.syscall))
        .unwrap_or_else(|| panic!("no row of {timing:?}"));
    let context = format!("{timing:?}\n{row:#?}");
    assert_eq!((row.calls, row.returned, row.errors), (timing.calls, timing.calls, 0), "{context}");
    // Never longer than around it.
    assert!(row.total_ns <= timing.total_ns, "{context}");
    assert!(row.min_ns <= timing.min_ns && row.max_ns <= timing.max_ns, "{context}");
    // Never shorter than asked.
    assert!(row.total_ns >= timing.asked_ns * timing.calls, "{context}");
    assert!(row.min_ns >= timing.asked_ns, "{context}");
    // Quantiles are bounds of buckets within the extremes, so these hold for them.
    assert!(row.p50_ns >= row.min_ns && row.p999_ns <= row.max_ns, "{context}");
    if timing.calls >= LEAST_CALLS {
        assert!(timing.min_ns - row.min_ns <= LEAST_DIFFERENCE_NS, "{context}");
    }
}
