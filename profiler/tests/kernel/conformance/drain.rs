//! Reading while others write.

use crate::{
    run::{Held, Mode},
    service::{Daemon, Series, assert_added},
};

/// Two threads that do nothing but make calls, and a reader that looks every 10 ms.
pub(super) fn drained_under_saturation(mode: Mode) {
    let daemon = Daemon::start_with(mode, "10ms", &[]);
    let before = daemon.metrics();
    let statement = Held::start(&["saturate", "threads=2", "calls=500000"]).go();
    let after = daemon.metrics();
    assert_added(&before, &after, &statement, &["personality", "ioprio_get", "timer_getoverrun"]);
    let drains = |series: &Series| series["profiler_drain_duration_seconds_count"];
    assert!(drains(&after) - drains(&before) > 10.0, "the workload is too short for this case");
    daemon.end();
}
