//! Metrics of losses, and of how full the tables are.

use std::time::Duration;

use super::{
    model::{Family, Label},
    one,
};
use crate::model::{Health, Pool, Snapshot};

pub(super) fn families(snapshot: &Snapshot) -> Vec<Family<'_>> {
    let mut families = losses(snapshot);
    families.extend(capacity(snapshot));
    families
}

/// Returns samples with one label each.
fn by<'a, V, const N: usize>(
    label: &'static str,
    samples: [(&'static str, V); N],
) -> [(Vec<Label<'a>>, V); N] {
    samples.map(|(value, n)| (vec![Label::new(label, value)], n))
}

/// Returns a sample for each pool.
fn by_pool(health: &Health, of: fn(&Pool) -> u64) -> impl Iterator<Item = (Vec<Label<'_>>, u64)> {
    health.pools.iter().map(move |pool| (vec![Label::new("pool", &*pool.name)], of(pool)))
}

fn losses(snapshot: &Snapshot) -> Vec<Family<'_>> {
    let health = &snapshot.health;
    let losses = &health.losses;
    let kernel = health.kernel();
    let followed = health.kernel_off_cpu();
    let misses = kernel.into_iter().flat_map(|kernel| &kernel.program_misses);
    vec![
        Family::counter(
            "profiler_lost_calls_total",
            "Events that the profiler missed, by reason; if not 0, the other figures are too low.",
            by(
                "reason",
                [
                    ("no_task_state", losses.no_task_state),
                    ("missed_entry", losses.missed_entries),
                    ("missed_exit", losses.missed_exits),
                    ("unfollowed_child", losses.unfollowed_children),
                    ("missed_life_event", losses.missed_life_events),
                    ("missed_operation", losses.missed_operations),
                ],
            ),
        ),
        Family::gauge(
            "profiler_lost_calls_unseen",
            "Upper bound of the calls that were lost without a trace, in addition to profiler_lost_calls_total.",
            one(health.unseen),
        ),
        Family::counter(
            "profiler_accounting_breaches_total",
            "Threads, processes and syscalls whose counts at entry and at exit disagree; if not 0, the profiler has a bug.",
            one(health.breaches),
        ),
        Family::counter(
            "profiler_program_misses_total",
            "Upper bound of the runs of an eBPF program that the kernel skipped, over all its copies.",
            misses
                .filter(|(_, count)| *count > 0)
                .map(|(program, count)| (vec![Label::new("program", &**program)], *count)),
        ),
        Family::counter(
            "profiler_program_takeovers_total",
            "Entries and exits that another copy of a program counted, because the kernel skipped the first copy.",
            kernel.into_iter().flat_map(|kernel| {
                by(
                    "program",
                    [
                        ("sys_enter", kernel.entries_taken_over),
                        ("sys_exit", kernel.exits_taken_over),
                    ],
                )
            }),
        ),
        Family::counter(
            "profiler_overflowed_calls_total",
            "Syscalls that are in the totals but not in any process, because the tables were full.",
            one(health.overflowed),
        ),
        Family::counter(
            "profiler_pool_exhausted_total",
            "Requests to a pool that failed because the pool was empty.",
            by_pool(health, |pool| pool.exhausted),
        ),
        Family::counter(
            "profiler_pool_withheld_total",
            "Requests to a pool that failed because the thread's user had used up its share.",
            by_pool(health, |pool| pool.withheld),
        ),
        Family::counter(
            "profiler_unmatched_exits_total",
            "Exits without a recorded entry, by reason; they do not count as calls.",
            kernel.into_iter().flat_map(|kernel| {
                by(
                    "reason",
                    [
                        ("in_flight_at_attach", kernel.in_flight_at_attach),
                        ("birth", kernel.births),
                        ("denied", kernel.denied_unrecorded),
                    ],
                )
            }),
        ),
        Family::counter(
            "profiler_denied_presumed_total",
            "Calls counted as denied that may instead have been in flight when the profiler attached, at most one per thread.",
            kernel.into_iter().flat_map(|kernel| one(kernel.denied_presumed)),
        ),
        Family::counter(
            "profiler_unreported_returns_total",
            "Returns of threads to a CPU that the kernel did not report; the time before such a return counts as on_cpu.",
            followed.into_iter().flat_map(|kernel| one(kernel.unreported_returns)),
        ),
        Family::counter(
            "profiler_unreported_off_cpu_seconds_total",
            "Upper bound of the time off the CPU that counts as on_cpu in seconds, because the kernel did not report its end.",
            followed.into_iter().flat_map(|kernel| one(Duration::from_nanos(kernel.unreported_ns))),
        ),
        Family::counter(
            "profiler_ends_noticed_total",
            "Threads whose end the kernel did not report, and which the profiler later found gone.",
            kernel.into_iter().flat_map(|kernel| one(kernel.ends_noticed)),
        ),
    ]
}

fn capacity(snapshot: &Snapshot) -> Vec<Family<'_>> {
    let health = &snapshot.health;
    let kernel = health.kernel();
    vec![
        Family::gauge(
            "profiler_pool_used",
            "Entries of a pool that are in use; an entry is a record of a thread, or an extent of 1 KiB for figures.",
            by_pool(health, |pool| pool.usage.used),
        ),
        Family::gauge(
            "profiler_pool_capacity",
            "Number of entries of a pool; an entry is a record of a thread, or an extent of 1 KiB for figures.",
            by_pool(health, |pool| pool.usage.capacity),
        ),
        Family::gauge(
            "profiler_kernel_memory_bytes",
            "Kernel memory of all eBPF maps in bytes.",
            kernel.into_iter().flat_map(|kernel| one(kernel.memory_bytes)),
        ),
        Family::gauge(
            "profiler_cpus",
            "Number of online CPUs of the host.",
            one(snapshot.cpus as u64),
        ),
    ]
}
