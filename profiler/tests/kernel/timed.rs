//! With sampling and without latencies, counts stay exact.

use profiler_common::sampling;

use crate::{
    in_flight,
    report::{Report, Row},
    run::{Held, Mode, Stat},
    workload::Timing,
};

const WORKLOADS: [&[&str]; 2] =
    [&["counts", "threads=4", "calls=2000"], &["counts", "processes=50", "calls=20"]];

/// The sampling rates: one call in this many.
const ONE_IN: [u32; 3] = [2, 16, 1_000];

/// With `--no-latency`, counts and outcomes are exact.
pub(crate) fn none(mode: Mode) {
    for workload in WORKLOADS {
        let stat = Stat::new(mode).args(["--no-latency"]).by_process_and_call();
        let (report, statement) = stat.workload(workload);
        report.has_exactly_by_process(&statement);
        report.has_exactly(&statement);
        report.nothing_overflowed();
        assert_eq!(report.timed_one_in, None);
    }
}

/// With `--sample`, counts and outcomes are exact, and the sample has the requested size.
pub(crate) fn sample(mode: Mode) {
    for one_in in ONE_IN {
        for workload in WORKLOADS {
            let (report, statement) = sampled(mode, one_in).workload(workload);
            report.has_exactly_by_process(&statement);
            report.has_exactly(&statement);
            report.nothing_overflowed();
        }
        let (report, statement) = sampled(mode, one_in).workload(&["sleeps"]);
        for timing in &statement.timings {
            let of_timing = |pid| pid == Some(timing.pid);
            let row = report
                .rows
                .iter()
                .find(|row| of_timing(row.pid) && row.syscall.as_ref() == Some(&timing.syscall))
                .expect("a row of the calls");
            let calls = timing.took_ns.len() as u64;
            assert_eq!((row.calls, row.returned), (calls, calls), "{row:#?}");
            // One thread made the calls in succession, starting at any position of the sampling.
            let share = calls as f64 / f64::from(one_in);
            let off = (row.timed as f64 - share).abs();
            assert!(off <= sampling::DEVIATION as f64, "{off} off {share}: {row:#?}");
            // The timed latencies are between the requested time and the longest measured time.
            let (asked, took) = (timing.asked_ns[0], timing.took_ns[timing.took_ns.len() - 1]);
            if row.timed > 0 {
                assert!(asked <= row.min_ns && row.max_ns <= took, "{row:#?}");
            }
        }
    }
}

/// The sample includes a program's slow calls for any period, so the estimated total is right. Unit
/// tests in `sampling/mod.rs` of profiler-common try every period and every N.
pub(crate) fn no_period_resonates(mode: Mode) {
    for (period, one_in) in [(144, 16), (1_597, 16)] {
        // 40 of them are timed, with a standard deviation of 6: the bounds are six of these.
        let slow = 40 * one_in;
        let args = [format!("period={period}"), format!("calls={slow}")];
        let args = ["periodic", &args[0], &args[1]];
        let (report, statement) = sampled(mode, one_in).workload(&args);
        let timing = &statement.timings[0];
        let of_timing = |pid| pid == Some(timing.pid);
        let row = report
            .rows
            .iter()
            .find(|row| of_timing(row.pid) && row.syscall.as_ref() == Some(&timing.syscall));
        let row = row.expect("a row of the calls");
        let took_ns: u64 = timing.took_ns.iter().sum();
        let of_all = row.estimated_total_ns as f64 / took_ns as f64;
        assert!((0.1..2.0).contains(&of_all), "{of_all} of {took_ns} ns: {row:#?}");
    }
}

/// Every call is timed, and every latency is as exact as without sampling.
pub(crate) fn adaptive_sampling_times_all_below_its_limit(mode: Mode) {
    for workload in WORKLOADS {
        let (report, statement) = adaptive(mode, "auto").workload(workload);
        report.has_exactly_by_process(&statement);
        report.has_exactly(&statement);
        report.nothing_overflowed();
        assert_eq!((report.timed_one_in, report.timed_per_second), (Some(1), Some(10_000)));
    }
    let (report, statement) = adaptive(mode, "auto:50000").workload(&["sleeps"]);
    for timing in &statement.timings {
        let row = row_of(&report, timing);
        let calls = timing.took_ns.len() as u64;
        assert_eq!((row.calls, row.timed, row.rank_error), (calls, calls, None), "{row:#?}");
        let took_ns: u64 = timing.took_ns.iter().sum();
        assert!(row.total_ns <= took_ns && row.estimated_total_ns == row.total_ns, "{row:#?}");
        let (asked, took) = (timing.asked_ns[0], timing.took_ns[timing.took_ns.len() - 1]);
        assert!(asked <= row.min_ns && row.max_ns <= took, "{row:#?}");
    }
}

/// A latency that the slow calls of [`periodic`](crate::workload) exceed, and the others do not
/// unless they are preempted, nanoseconds.
const SLOW_NS: u64 = 16_384;

/// How much further than `Row::rank_error` a share can be off, except with a probability of 10^-9
/// instead of 5 %: by Hoeffding's inequality, which the error comes from.
fn certainly() -> f64 {
    (2e9_f64.ln() / 40_f64.ln()).sqrt()
}

/// In a busy loop, counts are exact and the limit is kept. The estimated number of slow calls
/// agrees with the program, for any period of slow calls.
pub(crate) fn adaptive_sampling_keeps_to_its_limit(mode: Mode) {
    for (period, rounds) in [(64, 2_000), (100, 2_000), (1_597, 150)] {
        let args = [format!("period={period}"), format!("calls={rounds}")];
        let stat = adaptive(mode, "auto:1000").args(["--buckets"]);
        let (report, statement) = stat.workload(&["periodic", &args[0], &args[1]]);
        let timing = &statement.timings[0];
        let row = row_of(&report, timing);
        let calls = timing.took_ns.len() as u64;
        assert_eq!((row.calls, row.returned), (calls, calls), "{row:#?}");
        // 1 % because ticks are whole, and 1.5 times the limit once (`sampling/adaptive.rs` of
        // profiler-common).
        let seconds = report.window_ns as f64 / 1e9;
        let most = 1_000.0 * (1.01 * seconds + 1.5) + 1.0;
        assert!(row.timed as f64 <= most, "{} of {most} timed in {seconds} s", row.timed);
        assert!(row.timed < calls && report.timed_one_in > Some(1), "{row:#?}");
        let buckets = row.buckets.as_ref().expect("the buckets");
        let weight: u64 = buckets.iter().map(|bucket| bucket.count).sum();
        let slow = buckets.iter().filter(|bucket| bucket.lower_ns >= SLOW_NS);
        let slow = slow.map(|bucket| bucket.count).sum::<u64>() as f64;
        // The latency in the kernel can be shorter than the time that the program measured.
        let took_long = timing.took_ns.iter().filter(|&&ns| ns > SLOW_NS).count() as f64;
        let off = row.rank_error.expect("a sample") * weight as f64 * certainly();
        // The block that the program ended in counts for up to 4,096 calls.
        assert!((weight as f64 - calls as f64).abs() <= off + 4_096.0, "{weight} of {calls}");
        let bounds = rounds as f64 - off..=took_long + off;
        assert!(bounds.contains(&slow), "{slow} is not in {bounds:?}, period {period}");
    }
}

/// If a program is busy, then slow, then busy, every call of the slow part is timed.
pub(crate) fn adaptive_sampling_follows_the_pace(mode: Mode) {
    let held = Held::start(&["paces"]);
    let running = adaptive(mode, "auto:1000")
        .args(["--interval", "500ms", "--pid", &held.pid().to_string()])
        .start()
        .attached();
    let statement = held.go();
    let reports = running.end().reports();
    let rows: Vec<_> = reports
        .iter()
        .filter_map(|report| report.rows.iter().find(|row| row.name() == Some(LOOP.to_owned())))
        .collect();
    let calls: u64 = rows.iter().map(|row| row.calls).sum();
    assert_eq!(Some(calls), statement.total().get(LOOP).map(|made| made.calls));
    // Busy intervals have thousands of calls, and slow ones 50.
    let slow = rows.iter().position(|row| row.calls < 100).expect("a slow interval");
    let (before, after) = rows.split_at(slow);
    assert!(before.iter().any(|row| row.rank_error.is_some()), "sampled: {before:#?}");
    assert!(after.iter().any(|row| row.rank_error.is_some()), "sampled again: {after:#?}");
    // The first slow interval can include the end of the busy part, or its last block.
    let all = |row: &&&Row| row.calls < 100 && row.rank_error.is_none();
    let in_full = after.iter().skip(1).filter(all).count();
    assert!(in_full >= 2, "timed in full: {after:#?}");
}

/// The loop of the workload `paces`.
const LOOP: &str = "x86_64/getppid";

fn adaptive(mode: Mode, sample: &str) -> Stat {
    Stat::new(mode).args(["--sample", sample]).by_process_and_call()
}

/// The row of the calls that a program timed itself.
#[track_caller]
fn row_of<'a>(report: &'a Report, timing: &Timing) -> &'a Row {
    let is_of =
        |row: &&Row| row.pid == Some(timing.pid) && row.syscall.as_ref() == Some(&timing.syscall);
    report.rows.iter().find(is_of).expect("a row of the calls")
}

/// The same with full tables.
pub(crate) fn without_room(mode: Mode) {
    for flags in [&["--no-latency"][..], &["--sample", "16"], &["--sample", "auto"]] {
        let stat = Stat::new(mode).args(flags).args(["--max-threads", "2"]);
        let (report, statement) = stat.workload(&["counts", "threads=16", "calls=200"]);
        // Does not check that no call is in flight: if the kernel skipped an exit, its call stays
        // open in a shared slot.
        report.totals_are(&statement);
        assert!(report.overflowed > 0, "there was room: {report:#?}");
    }
    // More calls than the limit, and figures that agree with each other.
    let stat = Stat::new(mode).args(["--sample", "auto:1000", "--max-threads", "2", "--buckets"]);
    let (report, statement) = stat.workload(&["counts", "threads=16", "calls=5000"]);
    report.totals_are(&statement);
    let (mut timed, mut left) = (0, 0);
    for row in &report.rows {
        let buckets = row.buckets.iter().flatten().map(|bucket| bucket.count);
        let weight: u64 = buckets.sum();
        assert!(row.timed <= weight, "{row:#?}");
        (timed, left) = (timed + row.timed, left + row.returned + row.restarted);
    }
    assert!(timed < left, "{timed} of {left} timed");
}

/// A call in flight whose entry was not timed is listed, with the time since it was first seen.
pub(crate) fn in_flight_is_seen(mode: Mode) {
    in_flight::untimed_is_seen(mode);
}

fn sampled(mode: Mode, one_in: u32) -> Stat {
    Stat::new(mode).args(["--sample", &one_in.to_string()]).by_process_and_call()
}
