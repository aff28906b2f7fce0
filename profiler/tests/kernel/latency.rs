//! Compares latencies with the workload's own clock readings around each call.
//!
//! The profiler reads the same clock, CLOCK_MONOTONIC, between the workload's two readings. So the
//! latency is never longer than the workload's time, and never shorter than the requested sleep.
//! This gives exact bounds for the sum and for every quantile: if each of some numbers is at most
//! its partner, then the r-th smallest is at most the r-th smallest partner.
//!
//! For one call, the difference of the two times has no sharp bound, because the scheduler can
//! preempt the thread between the two clock readings. For all calls together it has, because both
//! sums are exact: see [`Bounds`].

use crate::{
    quiet,
    report::{Report, Row},
    run::{Mode, Stat},
    workload::{Preempted, Timing},
};

/// The minimum difference that the tests allow between the two times. It covers the way into and
/// out of the kernel with a tracepoint at each, for a thread that did the same just before. That
/// takes about 1 us with mitigations; 5 us leave a margin for a slow host. The errors that the
/// tests look for (a wrong unit or clock, a missed tick) are larger. This applies to calls that do
/// not sleep. After a sleep, the CPU was idle and its caches are cold, so the way out has no bound
/// on a virtual CPU.
const LEAST_DIFFERENCE_NS: u64 = 5_000;

/// The minimum number of calls, so that at least one is not interrupted.
const LEAST_CALLS: usize = 1_000;

/// The error bound of a quantile in docs/latency.md: a sixteenth from 64 ns up, and four
/// nanoseconds below.
fn promised_error(ns: u64) -> u64 {
    if ns < 64 { 4 } else { ns / 16 }
}

pub(crate) fn is_what_the_workload_measured(mode: Mode) {
    let (report, statement) = Stat::new(mode).by_process_and_call().workload(&["sleeps"]);
    assert_eq!(statement.timings.len(), 8);
    for timing in &statement.timings {
        compare(&report, timing);
    }
    report.nothing_overflowed();
    report.nothing_is_in_flight();
}

/// Of a thousand calls the 999th is the 99.9th percentile.
///
/// # Errors
/// If the host was never quiet, because the bounds are then too wide.
pub(crate) fn quantiles_are_within_the_bound(mode: Mode) -> Result<(), String> {
    quiet::wait_for(|| quantiles_of_a_spread(mode))
}

/// Compares quantiles once.
///
/// # Errors
/// Which bounds were too wide.
fn quantiles_of_a_spread(mode: Mode) -> Result<(), String> {
    let (report, statement) =
        Stat::new(mode).by_process_and_call().workload(&["spread", "calls=1000"]);
    let [sleeps, work, nothing] = &statement.timings[..] else { panic!("{statement:?}") };
    for timing in [sleeps, work, nothing] {
        compare(&report, timing);
    }
    // Check that the bounds are useful: those of a sleep are not wider than the promised error.
    for (quantile, bounds, _) in quantiles(row(&report, sleeps), sleeps) {
        let Bounds { least_ns, most_ns } = bounds;
        if most_ns - least_ns > promised_error(least_ns) {
            return Err(format!("p{quantile} is known no better than {bounds:?}"));
        }
    }
    Ok(())
}

#[track_caller]
fn row<'a>(report: &'a Report, timing: &Timing) -> &'a Row {
    let is_of = |row: &&Row| {
        row.pid == Some(timing.pid) && row.syscall.as_deref() == Some(&*timing.syscall)
    };
    let row = report.rows.iter().find(is_of);
    row.unwrap_or_else(|| panic!("no row of {} by {}", timing.syscall, timing.pid))
}

#[track_caller]
fn compare(report: &Report, timing: &Timing) {
    let row = row(report, timing);
    let Timing { asked_ns, took_ns, syscall, .. } = timing;
    let (least, most) = (took_ns.first(), took_ns.last());
    let context = format!("{syscall}, which took {least:?} to {most:?}\n{row:#?}");
    let calls = took_ns.len() as u64;
    assert_eq!((row.calls, row.returned, row.errors), (calls, calls, 0), "{context}");
    // Never longer than the workload's time.
    assert!(row.total_ns <= took_ns.iter().sum(), "{context}");
    assert!(row.min_ns <= took_ns[0] && Some(&row.max_ns) <= took_ns.last(), "{context}");
    // Never shorter than the requested time.
    assert!(row.total_ns >= asked_ns.iter().sum(), "{context}");
    assert!(row.min_ns >= asked_ns[0] && Some(&row.max_ns) >= asked_ns.last(), "{context}");
    for (quantile, bounds, shown) in quantiles(row, timing) {
        let Bounds { least_ns, most_ns } = bounds;
        let (least, most) =
            (least_ns.saturating_sub(promised_error(least_ns)), most_ns + promised_error(most_ns));
        assert!((least..=most).contains(&shown), "p{quantile} in {least}..={most}: {context}");
        // Bounds of buckets, within the extremes.
        assert!((row.min_ns..=row.max_ns).contains(&shown), "p{quantile}: {context}");
    }
    if asked_ns.last() == Some(&0) && took_ns.len() >= LEAST_CALLS {
        assert!(took_ns[0] - row.min_ns <= LEAST_DIFFERENCE_NS, "{context}");
    }
}

/// The shown quantiles, with bounds of the exact quantiles.
fn quantiles(row: &Row, timing: &Timing) -> [(f64, Bounds, u64); 4] {
    [(0.5, row.p50_ns), (0.9, row.p90_ns), (0.99, row.p99_ns), (0.999, row.p999_ns)]
        .map(|(quantile, shown)| (quantile, Bounds::of(quantile, timing, row.total_ns), shown))
}

/// Bounds of the true quantile of the latencies.
#[derive(Debug)]
struct Bounds {
    least_ns: u64,
    most_ns: u64,
}

impl Bounds {
    /// Let `gap` be by what a call took longer around it than within the profiler's
    /// clocks. None is negative, and all together are the difference of the two sums, so
    /// fewer than `all / (g + 1) + 1` calls have one above `g`. The others are shorter
    /// within by `g` at most: the r-th least of all is not less than the (r - m)-th least
    /// around, less `g`, `m` being that number. Any `g` gives a bound, and the best of
    /// them is taken.
    fn of(quantile: f64, timing: &Timing, total_ns: u64) -> Self {
        let Timing { asked_ns, took_ns, .. } = timing;
        // The least value that this share of all does not exceed.
        let rank = ((quantile * took_ns.len() as f64).ceil() as usize).max(1);
        let all = took_ns.iter().sum::<u64>() - total_ns;
        let by_gap = (0..40).filter_map(|octave| {
            let gap = 1_u64 << octave;
            let above = usize::try_from(all / (gap + 1)).ok()?;
            took_ns.get(rank.checked_sub(above + 1)?)?.checked_sub(gap)
        });
        let asked = asked_ns[rank - 1];
        Self { least_ns: by_gap.fold(asked, u64::max), most_ns: took_ns[rank - 1] }
    }
}

/// The minimum number of preemptions of a call.
const LEAST_SWITCHES: u64 = 8;

/// The latency of a preempted call includes the time off the CPU.
pub(crate) fn time_preempted_is_time_in_the_call(mode: Mode) {
    let (report, statement) =
        Stat::new(mode).by_process_and_call().workload(&["preempted", "calls=2"]);
    let [preempted] = &statement.preempted[..] else { panic!("{statement:?}") };
    let Preempted { pid, calls, took_ns, cpu_ns, switches, .. } = *preempted;
    let mut rows = report
        .rows
        .iter()
        .filter(|row| row.pid == Some(pid) && row.syscall.as_deref() == Some(&*preempted.syscall));
    let row = rows.next().expect("a row of the calls");
    let context = format!("{preempted:?}\n{row:#?}");
    assert_eq!((row.calls, row.returned, row.errors), (calls, calls, 0), "{context}");
    assert!(row.total_ns <= took_ns, "{context}");
    assert!(switches >= LEAST_SWITCHES * calls, "it lost the CPU too seldom: {context}");
    // A call can be preempted once on its way in and once on its way out, outside of the profiler's
    // clock readings. With eight preemptions or more, that is at most a quarter. The bound of one
    // half leaves a margin for unequal times.
    let (away_ns, shown_ns) = (took_ns - cpu_ns, row.total_ns.saturating_sub(cpu_ns));
    assert!(away_ns >= cpu_ns / 4, "the other threads had their share: {context}");
    assert!(shown_ns >= away_ns / 2, "{context}");
}
