//! Reports for tests. A test names the fields that it is about, and takes the rest from here.

use std::{sync::LazyLock, time::Duration};

use super::{
    Report,
    origin::{self, Origin},
    shown::{Hidden, Shown},
};
use crate::{
    filter::Filter,
    model::{Coverage, FailureCoverage, Figures, Grouping, Health, InFlight, Scope},
};

/// `figures`, with as many errors of each errno, and `unlisted` errors of other errnos.
pub(super) fn with_errors(mut figures: Figures, errnos: &[(u16, u64)], unlisted: u64) -> Figures {
    for &(errno, count) in errnos {
        figures.errors += count;
        figures.add_errno(errno, count);
    }
    figures.errors += unlisted;
    figures.errors_unlisted = unlisted;
    figures
}

/// A report of two seconds in which nothing happened.
pub(super) fn report() -> Report<'static> {
    static ORIGIN: LazyLock<Origin> = LazyLock::new(origin::fixed);
    static HIDDEN: LazyLock<Hidden> = LazyLock::new(Hidden::default);
    static SHOWN: LazyLock<Shown> = LazyLock::new(Shown::default);
    static HEALTH: LazyLock<Health> = LazyLock::new(Health::default);
    static IN_FLIGHT: LazyLock<InFlight> = LazyLock::new(InFlight::default);
    static FILTER: LazyLock<Filter> = LazyLock::new(Filter::default);
    Report {
        origin: &ORIGIN,
        rows: &[],
        hidden: &HIDDEN,
        shown: &SHOWN,
        by: Grouping::SYSCALL,
        window: Duration::from_secs(2),
        health: &HEALTH,
        in_flight: &IN_FLIGHT,
        operations: &[],
        coverage: &Coverage::NotObserved,
        failures: &[],
        failure_coverage: FailureCoverage::NotNoted,
        security_modules: None,
        own: None,
        scope: &Scope::Host,
        filter: &FILTER,
        verdict: None,
        more_follow: false,
    }
}

/// Converts the output of a writer to text without styles.
pub(super) fn unstyled(out: Vec<u8>) -> String {
    let text = String::from_utf8(out).expect("UTF-8");
    anstream::adapter::strip_str(&text).to_string()
}
