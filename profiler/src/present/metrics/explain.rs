//! Counts the series of a configuration: the maximum for each metric, and the number on an ordinary
//! host.
//!
//! The numbers are counted, not calculated. Two snapshots go through the code that makes the
//! metrics of a scrape: a snapshot in which every syscall ended in every way, and a snapshot of an
//! [ordinary] host. Only the series of groups are calculated, because a limit bounds them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::SystemTime,
};

use profiler_common::{
    call::{CallKey, OVERFLOW_SLOTS},
    limits::ERRNOS,
};
use serde::Serialize;

use super::{
    Exposition, Options, Service, call_name, collect,
    model::{Family, Value},
    ordinary,
};
use crate::{
    filter::Calls,
    model::{
        CallInFlight, CallRow, Counter, EngineDetail, Figures, GroupReading, Health, InFlight,
        IoUring, KernelDetail, OperationRow, Operations, Pool, Process, Program, Runs, Snapshot,
        Timed, Timing,
    },
    names::{operations, syscalls, waits},
};

/// The settings that decide how many series there can be.
#[derive(Clone, Debug, Default)]
pub struct Setup<'a> {
    /// The syscalls that count. `None` if all do.
    pub counted: Option<&'a Calls>,
    /// The syscalls that have series of their own. `None` if all have.
    pub named: Option<&'a Calls>,
    /// Which calls are timed.
    pub timed: Timed,
    /// Whether the time of calls is split by the state of the thread.
    pub off_cpu: bool,
    /// The bounds of buckets, and whether there are samples `_created`.
    pub options: Options,
    /// The names of the programs.
    pub programs: Vec<&'static str>,
    /// Whether the kernel times the programs.
    pub time_programs: bool,
    /// The groups, each with its maximum number of members.
    pub groups: Vec<(GroupReading, usize)>,
}

/// The maximum number of series of a metric.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Most {
    /// The name of the metric. For a group, the names of all its metrics.
    pub metric: String,
    /// The name of the group.
    pub group: Option<String>,
    /// The maximum number of series. A histogram has one series for each bucket, and two more. With
    /// [`Options::created_samples`], each series with a creation time counts one more.
    pub series: usize,
    /// How many values each label can have, by label.
    pub labels: BTreeMap<&'static str, usize>,
    /// What limits the series, if not the labels.
    pub limit: Option<String>,
}

/// Returns the maximum number of series of each metric, in descending order.
pub fn most_series(setup: &Setup<'_>) -> Vec<Most> {
    let snapshot = worst(setup);
    let mut groups: Vec<GroupReading> = Vec::new();
    let mut most = Vec::new();
    for (group, top) in &setup.groups {
        most.push(of_group(setup, group, *top));
        groups.push(group.clone());
    }
    most.extend(by_metric(setup, snapshot, groups.into()));
    most.sort_by(|a, b| b.series.cmp(&a.series).then_with(|| a.metric.cmp(&b.metric)));
    most
}

/// Returns the number of series of an [ordinary] host, without those of groups.
pub fn ordinary_series(setup: &Setup<'_>) -> usize {
    let metrics = by_metric(setup, ordinary::snapshot(setup), Arc::default());
    metrics.iter().map(|metric| metric.series).sum()
}

/// Counts the series of a scrape, by metric.
fn by_metric(setup: &Setup<'_>, snapshot: Snapshot, groups: Arc<[GroupReading]>) -> Vec<Most> {
    let named = setup.named.cloned().map(Arc::new);
    // Any time. Metrics with a creation time then have a sample `_created`.
    let attached = Some(SystemTime::UNIX_EPOCH);
    let service = Service { attached, named, groups, ..Service::default() };
    let options = Arc::new(setup.options.clone());
    let exposition = Exposition { snapshot: Arc::new(snapshot), service, options };
    let metrics = collect(&exposition);
    let families = metrics.families().iter().filter(|family| !family.series.is_empty());
    families.map(|family| of_family(family, &setup.options)).collect()
}

fn of_family(family: &Family<'_>, options: &Options) -> Most {
    let mut labels: BTreeMap<&'static str, BTreeSet<&str>> = BTreeMap::new();
    let mut buckets = 0;
    let mut count = 0;
    for series in &family.series {
        for label in &series.labels {
            labels.entry(label.name).or_default().insert(&label.value);
        }
        count += usize::from(series.created.is_some() && options.created_samples);
        count += match &series.value {
            Value::Number(_) => 1,
            Value::Histogram(histogram) => {
                // Includes the bucket of +Inf.
                buckets = histogram.cumulative().count() + 1;
                buckets + 2
            }
        };
    }
    let mut labels: BTreeMap<_, _> =
        labels.into_iter().map(|(name, values)| (name, values.len())).collect();
    if buckets > 0 {
        labels.insert("le", buckets);
    }
    Most { metric: family.name.into(), group: None, series: count, labels, limit: None }
}

/// Returns the maximum number of series of a group: the smaller of its limit, and the series of all
/// members with `other` and `folded`.
fn of_group(setup: &Setup<'_>, group: &GroupReading, top: usize) -> Most {
    let names: BTreeSet<_> = counted(setup).map(|key| call_name(key, setup.named)).collect();
    let counters = match setup.timed {
        Timed::None => Counter::ALL.len() - 1,
        _ => Counter::ALL.len(),
    };
    let of_all = (top + 2) * names.len() * counters;
    let limit = if of_all < group.max_series {
        format!("{} members, `other` and `folded`; {counters} counters for each syscall", top)
    } else {
        format!("max_series = {}", group.max_series)
    };
    // Each counter has one such sample.
    let (created, note) = match setup.options.created_samples {
        true => (2, ", and as many samples `_created`"),
        false => (1, ""),
    };
    let limit = limit + note;
    Most {
        metric: "profiler_group_syscall*".into(),
        group: Some(group.name.to_string()),
        series: of_all.min(group.max_series) * created,
        labels: BTreeMap::new(),
        limit: Some(limit),
    }
}

/// Returns the syscalls that count, with one key per ABI for all unknown numbers.
fn counted<'a>(setup: &'a Setup<'_>) -> impl Iterator<Item = CallKey> + use<'a> {
    let keys = (0..OVERFLOW_SLOTS).filter_map(CallKey::from_overflow_index);
    let keys = keys.filter(|&key| is_counted(setup, key));
    let keys: BTreeSet<_> = keys.map(syscalls::fold_unknown).collect();
    keys.into_iter()
}

/// Whether a syscall counts.
pub(super) fn is_counted(setup: &Setup<'_>, key: CallKey) -> bool {
    setup.counted.is_none_or(|calls| calls.counts()[key.overflow_index() as usize])
}

/// Returns the health of a kernel engine. The kernel skipped each program `misses` times.
pub(super) fn health(setup: &Setup<'_>, misses: u64) -> Health {
    let pool = |name: &'static str| Pool { name: name.into(), ..Pool::default() };
    let program = |&name: &&'static str| Program {
        name: name.into(),
        copies: 1,
        jited_bytes: 0,
        verified_instructions: Some(0),
    };
    let program_misses = setup.programs.iter().map(|&name| (name.into(), misses)).collect();
    let mut health = Health {
        pools: vec![pool("records"), pool("extents")],
        timed: setup.timed,
        off_cpu: setup.off_cpu,
        engine: EngineDetail::Kernel(KernelDetail { program_misses, ..KernelDetail::default() }),
        ..Health::default()
    };
    health.cost.programs = setup.programs.iter().map(program).collect();
    if setup.time_programs {
        let runs = setup.programs.iter().map(|_| Runs::default()).collect();
        health.cost.timing = Timing::Of { period: 0, time: Default::default(), runs };
    }
    health
}

/// Returns a snapshot in which every syscall and every operation ended in every way.
fn worst(setup: &Setup<'_>) -> Snapshot {
    let errnos: Vec<(u16, u64)> = (1..ERRNOS as u16).map(|errno| (errno, 1)).collect();
    let mut figures = Figures {
        calls: 1,
        restarted: 1,
        denied: 1,
        never_returned: 1,
        lost: 1,
        errnos: errnos.clone(),
        errors_unlisted: 1,
        ..Figures::default()
    };
    figures.latency.record(1);
    let mut operations = Operations {
        submitted: 2,
        completed: 1,
        posted: 1,
        overflowed: 1,
        errnos,
        errors_unlisted: 1,
        ..Operations::default()
    };
    operations.latency.record(1);
    let nobody = Arc::new(Process::default());
    let opcodes = operations::opcodes().map(Some).chain([None]);
    // Any other process can make the kernel time programs.
    let health = health(&Setup { time_programs: true, ..setup.clone() }, 1);
    Snapshot {
        calls: counted(setup).map(|key| CallRow::new(key, figures.clone())).collect(),
        in_flight: InFlight {
            calls: counted(setup)
                .map(|key| CallInFlight {
                    key,
                    kind: waits::kind(key),
                    threads: 1,
                    unrecorded: 0,
                    before: 1,
                    oldest: Default::default(),
                })
                .collect(),
            ..InFlight::default()
        },
        io_uring: IoUring {
            rows: opcodes
                .map(|opcode| OperationRow::new(Arc::clone(&nobody), opcode, operations.clone()))
                .collect(),
            ..IoUring::default()
        },
        health,
        ..Snapshot::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calls(patterns: &[&str]) -> Calls {
        let patterns: Vec<_> = patterns.iter().map(|p| p.parse().expect("a call")).collect();
        Calls::new(&patterns).expect("calls").expect("some")
    }

    fn of(most: &[Most], metric: &str) -> usize {
        most.iter().find(|most| most.metric == metric).map_or(0, |most| most.series)
    }

    #[test]
    fn the_most_is_counted() {
        let counted = calls(&["read", "x86_64:openat"]);
        let setup = Setup { counted: Some(&counted), ..Setup::default() };
        let most = most_series(&setup);
        // `read` has three ABIs.
        assert_eq!(of(&most, "profiler_syscalls_total"), 4);
        assert_eq!(of(&most, "profiler_syscall_errors_total"), 4 * ERRNOS);
        assert_eq!(of(&most, "profiler_syscall_duration_seconds"), 4 * 8);
        assert_eq!(of(&most, "profiler_syscall_state_seconds_total"), 0);
        let errors = most.iter().find(|m| m.metric == "profiler_syscall_errors_total");
        let labels = &errors.expect("there").labels;
        assert_eq!((labels["abi"], labels["syscall"], labels["errno"]), (3, 2, ERRNOS));
    }

    #[test]
    fn settings_change_it() {
        let named = calls(&["x86_64:read"]);
        let setup =
            Setup { named: Some(&named), timed: Timed::None, off_cpu: true, ..Setup::default() };
        let most = most_series(&setup);
        // One named syscall, and the other syscalls of each ABI.
        assert_eq!(of(&most, "profiler_syscalls_total"), 4);
        assert_eq!(of(&most, "profiler_syscall_duration_seconds"), 0);
        assert_eq!(of(&most, "profiler_syscall_state_seconds_total"), 12);
    }

    #[test]
    fn buckets_and_samples_of_creation_count() {
        let counted = calls(&["x86_64:read"]);
        let options = Options { created_samples: true, ..Options::default() };
        let setup = Setup { counted: Some(&counted), options, ..Setup::default() };
        let most = most_series(&setup);
        assert_eq!(of(&most, "profiler_syscalls_total"), 2);
        assert_eq!(of(&most, "profiler_syscall_duration_seconds"), 9);
        assert_eq!(of(&most, "profiler_cpus"), 1);
    }

    #[test]
    fn groups_are_bounded_by_their_limit_or_by_their_members() {
        let group = |max_series| GroupReading {
            name: "g".into(),
            dimensions: [crate::model::Dimension::Comm].into(),
            since: Default::default(),
            members: Vec::new(),
            other: Arc::default(),
            folded: Arc::default(),
            folded_members: 0,
            max_series,
        };
        let counted = calls(&["x86_64:read", "x86_64:openat"]);
        let setup = |max_series| Setup {
            counted: Some(&counted),
            groups: vec![(group(max_series), 10)],
            ..Setup::default()
        };
        let most = |setup: &Setup<'_>| of(&most_series(setup), "profiler_group_syscall*");
        assert_eq!(most(&setup(150)), 150);
        assert_eq!(most(&setup(1_000)), 12 * 2 * 7);
        assert_eq!(of(&most_series(&setup(100)), "profiler_group_members"), 1);
    }
}
