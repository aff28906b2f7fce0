//! Property tests of pure functions: buckets, merging, quantiles.

mod buckets;
mod merging;
mod quantiles;

use profiler::model::{Extremes, Figures, OffCpu};
use proptest::prelude::*;

/// Random latencies in nanoseconds, uniform over octaves, from 0 to beyond the last bucket.
fn latency() -> impl Strategy<Value = u64> {
    (0..50_u32, any::<u64>()).prop_map(|(bits, random)| random & ((1 << bits) - 1))
}

/// One call's outcome.
#[derive(Clone, Copy, Debug)]
enum Outcome {
    Returned(Option<u16>),
    Restarted,
    Denied,
    NeverReturned,
    InFlight,
}

/// A call: how it ended, and how long it took if it did.
type Call = (Outcome, u64);

fn call() -> impl Strategy<Value = Call> {
    let outcome = prop_oneof![
        6 => prop::option::of(1..200_u16).prop_map(Outcome::Returned),
        1 => Just(Outcome::Restarted),
        1 => Just(Outcome::Denied),
        1 => Just(Outcome::NeverReturned),
        1 => Just(Outcome::InFlight),
    ];
    (outcome, latency())
}

/// The figures of one call.
fn figures((outcome, ns): Call) -> Figures {
    let mut figures = Figures { calls: 1, ..Figures::default() };
    match outcome {
        Outcome::Returned(errno) => {
            figures.returned = 1;
            if let Some(errno) = errno {
                figures.errors = 1;
                figures.add_errno(errno, 1);
            }
        }
        Outcome::Restarted => figures.restarted = 1,
        Outcome::Denied => return Figures { denied: 1, ..Figures::default() },
        Outcome::NeverReturned => figures.never_returned = 1,
        Outcome::InFlight => {}
    }
    if figures.timed() == 1 {
        figures.total_ns = ns;
        figures.off_cpu = OffCpu { waiting_ns: ns / 2, runnable_ns: ns / 3 };
        figures.extremes = Some(Extremes { min_ns: ns, max_ns: ns });
        figures.latency.record(ns);
    }
    figures
}
