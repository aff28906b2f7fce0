//! The provenance of the snapshots of a session.

use std::{
    fs,
    time::{Duration, SystemTime},
};

use super::options::Options;
use crate::{model::Provenance, text::Untrusted};

/// The host, its clocks and the query. `now_ns` is the host's `CLOCK_MONOTONIC`.
pub(super) fn of(options: &Options, now_ns: u64) -> Provenance {
    let line = |path: &str| {
        let bytes = fs::read(path).ok()?;
        Some(Untrusted::from_bytes(bytes.trim_ascii_end()))
    };
    Provenance {
        host: line("/proc/sys/kernel/hostname"),
        kernel: line("/proc/sys/kernel/osrelease"),
        boot: line("/proc/sys/kernel/random/boot_id"),
        started: SystemTime::now(),
        started_monotonic: Duration::from_nanos(now_ns),
        scope: options.scope.clone(),
        filter: options.filter.to_string().into(),
        timed: options.timed,
    }
}
