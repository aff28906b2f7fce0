//! Counters and histograms of syscalls.

use std::{borrow::Cow, collections::BTreeMap, time::Duration};

use profiler_common::call::{Abi, CallKey};

use super::{
    super::errors,
    bounds::Bounds,
    model::{Family, Histogram, Label, Labels, Number},
};
use crate::{
    filter::Calls,
    model::{CallName, Figures, Snapshot, Timed},
    names::syscalls,
};

/// The name under which all syscalls without series of their own are added up.
const OTHER: &str = "other";

/// Returns the ABI and the name of a syscall, which identify a series. `named` are the syscalls
/// that have series of their own. If it is `None`, all syscalls have.
pub fn call_name(key: CallKey, named: Option<&Calls>) -> CallName {
    let abi = key.abi().map_or(syscalls::UNKNOWN, Abi::name);
    let is_named = named.is_none_or(|named| named.counts()[key.overflow_index() as usize]);
    (abi, if is_named { syscalls::name(key) } else { OTHER })
}

pub(super) fn labels<'a>(&(abi, syscall): &CallName) -> Labels<'a> {
    vec![Label::new("abi", abi), Label::new("syscall", syscall)]
}

/// Adds up the figures of a snapshot by the labels of a series.
///
/// Syscall numbers with the same name share a series, because Prometheus rejects a scrape that has
/// two series with the same labels. These numbers share a name:
///
/// - all unknown numbers
/// - all syscalls that are not in `named`
/// - syscalls that x32 has both under its own number and under the number of x86_64
fn by_name<'a>(
    snapshot: &'a Snapshot,
    named: Option<&Calls>,
) -> BTreeMap<CallName, Cow<'a, Figures>> {
    let mut by_name: BTreeMap<CallName, Cow<'_, Figures>> = BTreeMap::new();
    for row in &snapshot.calls {
        by_name
            .entry(call_name(row.key, named))
            .and_modify(|figures| figures.to_mut().merge(&row.total))
            .or_insert(Cow::Borrowed(&row.total));
    }
    by_name
}

pub(super) fn families<'a>(
    snapshot: &'a Snapshot,
    named: Option<&Calls>,
    bounds: &'a Bounds,
) -> Vec<Family<'a>> {
    let named = by_name(snapshot, named);
    let each = |value: fn(&Figures) -> u64| {
        named.iter().map(move |(name, figures)| (labels(name), value(figures)))
    };
    // Most syscalls never have these outcomes. So a series appears with its first event, instead of
    // a hundred series that are 0. Series of errors appear the same way, because their errnos
    // cannot be listed beforehand.
    let rare = |value| each(value).filter(|&(_, count)| count > 0);
    let mut families = vec![
        Family::counter("profiler_syscalls_total", "Syscalls that entered.", each(|f| f.calls)),
        Family::counter(
            "profiler_syscall_errors_total",
            "Syscalls that returned an errno; the errno \"other\" stands for all errnos that are not counted separately.",
            named.iter().flat_map(|(name, figures)| errors_of(name, figures)),
        ),
        Family::counter(
            "profiler_syscall_restarts_total",
            "Syscalls that a signal interrupted and the kernel restarted; they do not count as errors.",
            rare(|f| f.restarted),
        ),
        Family::counter(
            "profiler_syscall_denials_total",
            "Syscalls that seccomp or ptrace refused before they entered.",
            rare(|f| f.denied),
        ),
        Family::counter(
            "profiler_syscall_never_returned_total",
            "Syscalls that ended their thread, or during which their thread was killed.",
            rare(|f| f.never_returned),
        ),
        Family::counter(
            "profiler_syscall_missed_exits_total",
            "Syscalls whose exit the profiler missed, so that their outcome and latency are unknown.",
            rare(|f| f.lost),
        ),
    ];
    // A family of empty histograms would look as if no syscall ever took any time.
    if snapshot.health.timed != Timed::None {
        let timed = named.iter().filter(|(_, f)| f.latency.count() > 0 || f.weighted_ns() > 0);
        families.push(Family::histogram(
            "profiler_syscall_duration_seconds",
            "Latency of the timed syscalls in seconds of wall time, from entry to exit, with any outcome.",
            timed.map(|(name, figures)| (labels(name), histogram(figures, bounds))),
        ));
    }
    if snapshot.health.off_cpu {
        families.push(Family::counter(
            "profiler_syscall_state_seconds_total",
            "Time in the timed syscalls in seconds, by the state of the thread: on_cpu, waiting (blocked) or runnable (waiting for a CPU).",
            named.iter().flat_map(|(name, figures)| states(name, figures)),
        ));
    }
    families
}

fn states<'a, 'b>(
    name: &'b CallName,
    figures: &'b Figures,
) -> impl Iterator<Item = (Labels<'a>, Duration)> + use<'a, 'b> {
    let states = [
        ("on_cpu", figures.on_cpu_ns()),
        ("waiting", figures.off_cpu.waiting_ns),
        ("runnable", figures.off_cpu.runnable_ns),
    ];
    states.into_iter().map(|(state, ns)| {
        let mut labels = labels(name);
        labels.push(Label::new("state", state));
        (labels, Duration::from_nanos(ns))
    })
}

fn histogram<'a>(figures: &Cow<'a, Figures>, bounds: &'a Bounds) -> Histogram<'a> {
    let latency = match figures {
        Cow::Borrowed(figures) => Cow::Borrowed(&figures.latency),
        Cow::Owned(figures) => Cow::Owned(figures.latency.clone()),
    };
    Histogram::new(latency, figures.weighted_ns(), bounds.as_slice())
}

fn errors_of<'a, 'b>(
    name: &'b CallName,
    figures: &'b Figures,
) -> impl Iterator<Item = (Labels<'a>, Number)> + use<'a, 'b> {
    errors::named(&figures.errnos, figures.errors_unlisted).map(|(errno, count)| {
        let mut labels = labels(name);
        labels.push(Label::new("errno", errno));
        (labels, count.into())
    })
}
