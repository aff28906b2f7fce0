//! Metrics of io_uring operations.

use std::{borrow::Cow, collections::BTreeMap};

use super::{
    super::errors,
    bounds::Bounds,
    model::{Family, Histogram, Label, Labels},
    one,
};
use crate::{
    model::{Operations, Snapshot, Timed},
    names::operations,
};

/// The number of series is bounded: the kernel has about 65 opcodes, and the profiler distinguishes
/// 160 errnos.
pub(super) fn families<'a>(snapshot: &'a Snapshot, bounds: &'a Bounds) -> Vec<Family<'a>> {
    let io_uring = &snapshot.io_uring;
    let mut by_name: BTreeMap<String, Operations> = BTreeMap::new();
    for row in &io_uring.rows {
        let name = operations::name(row.opcode).into_owned();
        by_name.entry(name).or_default().merge(&row.total);
    }
    let labels = |name: &str| -> Labels<'a> { vec![Label::new("operation", name.to_owned())] };
    let each = |value: fn(&Operations) -> u64| {
        let samples = by_name.iter().map(|(name, o)| (labels(name), value(o)));
        samples.filter(|&(_, count)| count > 0).collect::<Vec<_>>()
    };
    let of_errno = by_name.iter().flat_map(|(name, o)| {
        errors::named(&o.errnos, o.errors_unlisted).map(move |(errno, count)| {
            let mut labels = labels(name);
            labels.push(Label::new("errno", errno));
            (labels, count)
        })
    });
    let mut families = vec![
        Family::gauge(
            "profiler_io_uring_observed",
            "1 if operations of io_uring are counted, 0 if the kernel lacks the tracepoints.",
            one(u64::from(io_uring.coverage.is_counted())),
        ),
        Family::counter(
            "profiler_io_uring_submissions_total",
            "Requests that were submitted to io_uring; they do not count as syscalls.",
            each(|o| o.submitted),
        ),
        Family::counter(
            "profiler_io_uring_completions_total",
            "Requests of io_uring that completed with any result; each request counts once.",
            each(|o| o.completed),
        ),
        Family::counter(
            "profiler_io_uring_errors_total",
            "Completions of io_uring with an errno; the errno \"other\" stands for all errnos that are not counted separately.",
            of_errno.collect::<Vec<_>>(),
        ),
        Family::counter(
            "profiler_io_uring_posted_total",
            "Further completions of io_uring: all but the last of a multishot request, and messages from other rings.",
            each(|o| o.posted),
        ),
        Family::counter(
            "profiler_io_uring_overflows_total",
            "Completions of io_uring that found the completion queue full.",
            each(|o| o.overflowed),
        ),
        Family::gauge(
            "profiler_io_uring_in_flight",
            "Requests of io_uring that were submitted and have not completed.",
            each(Operations::in_flight),
        ),
    ];
    if snapshot.health.timed != Timed::None {
        let timed = by_name.iter().filter(|(_, o)| o.timed() > 0);
        families.push(Family::histogram(
            "profiler_io_uring_duration_seconds",
            "Latency of the requests of io_uring in seconds of wall time, from submission to completion, with any result.",
            timed
                .map(|(name, o)| {
                    let latency = Cow::Owned(o.latency.clone());
                    (labels(name), Histogram::new(latency, o.total_ns, bounds.as_slice()))
                })
                .collect::<Vec<_>>(),
        ));
    }
    families
}
