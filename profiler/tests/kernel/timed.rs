//! Where not all calls are timed, all are counted all the same.

use profiler_common::sampling;

use crate::{
    in_flight,
    run::{Mode, Stat},
};

const WORKLOADS: [&[&str]; 2] =
    [&["counts", "threads=4", "calls=2000"], &["counts", "processes=50", "calls=20"]];

/// One in these of the calls below.
const ONE_IN: [u32; 3] = [2, 16, 1_000];

/// Without any latency counts and outcomes are exact.
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

/// Of a sample too, and the sample is as large as asked for.
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
            // One thread made them one by one, beginning anywhere.
            let share = calls as f64 / f64::from(one_in);
            let off = (row.timed as f64 - share).abs();
            assert!(off <= sampling::DEVIATION as f64, "{off} off {share}: {row:#?}");
            // And these are no longer than any was, nor shorter than was asked for.
            let (asked, took) = (timing.asked_ns[0], timing.took_ns[timing.took_ns.len() - 1]);
            if row.timed > 0 {
                assert!(asked <= row.min_ns && row.max_ns <= took, "{row:#?}");
            }
        }
    }
}

/// A program's slow calls are in the sample, whatever the period in which it makes them, and
/// the estimated total is right for it. Every period and every N is tried where the choice is made
/// (`sampling.rs` of profiler-common).
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

/// Where tables are full, too.
pub(crate) fn without_room(mode: Mode) {
    for flags in [&["--no-latency"][..], &["--sample", "16"]] {
        let stat = Stat::new(mode).args(flags).args(["--max-threads", "2"]);
        let (report, statement) = stat.workload(&["counts", "threads=16", "calls=200"]);
        // Not that none is in flight: a call whose exit the kernel skipped stays open in a
        // slot that many share.
        report.totals_are(&statement);
        assert!(report.overflowed > 0, "there was room: {report:#?}");
    }
}

/// A call in flight whose entry was not timed is seen, and is as old as it was seen to be.
pub(crate) fn in_flight_is_seen(mode: Mode) {
    in_flight::untimed_is_seen(mode);
}

fn sampled(mode: Mode, one_in: u32) -> Stat {
    Stat::new(mode).args(["--sample", &one_in.to_string()]).by_process_and_call()
}
