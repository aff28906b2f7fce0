//! The JSON of a row of `profiler stat`.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use super::number;
use crate::{
    model::{self, Dimension},
    names::classes::Category,
    present::{
        place::{ContainerObject, Place, PodObject, UnitObject},
        rows::{self, Row, User},
        shown::Shown,
    },
    text::Untrusted,
};

/// A row: the values of its dimensions, and its figures.
#[derive(Serialize)]
pub(super) struct RowObject<'a> {
    pid: Option<u32>,
    /// With `--by thread`; null for calls that are of no single thread.
    #[serde(skip_serializing_if = "Option::is_none")]
    thread: Option<Option<u32>>,
    /// With `--by thread` the thread's own name.
    comm: Option<&'a Untrusted>,
    /// The name of the process, with `--by thread`.
    #[serde(skip_serializing_if = "Option::is_none")]
    process_comm: Option<&'a Untrusted>,
    /// With `--by user`; null for calls that are of no single user.
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<Option<UserName<'a>>>,
    /// With `--by cgroup`: the path; null if it is unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    cgroup: Option<Option<&'a Untrusted>>,
    /// With `--by unit`; null for calls in no unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    unit: Option<Option<UnitObject<'a>>>,
    /// With `--by container`; null for calls in no container.
    #[serde(skip_serializing_if = "Option::is_none")]
    container: Option<Option<ContainerObject<'a>>>,
    /// With `--by pod`; null for calls in no pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pod: Option<Option<PodObject<'a>>>,
    /// With `--by category`; null for numbers without a name.
    #[serde(skip_serializing_if = "Option::is_none")]
    category: Option<Option<&'static str>>,
    /// With `--by class`: all classes of the syscalls.
    #[serde(skip_serializing_if = "Option::is_none")]
    class: Option<Vec<&'static str>>,
    abi: Option<&'static str>,
    syscall: Option<&'static str>,
    nr: Option<i64>,
    calls: u64,
    /// Calls that left and were timed.
    timed: u64,
    errors: u64,
    errnos: BTreeMap<String, u64>,
    /// Sum of the latencies of the timed calls.
    total_ns: u64,
    /// Estimated sum of the latencies of all calls that left; `total_ns` if all are timed.
    estimated_total_ns: u64,
    /// With `--where`: the part of `total_ns` on a CPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    on_cpu_ns: Option<u64>,
    /// With `--where`: the part of `total_ns` blocked.
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting_ns: Option<u64>,
    /// With `--where`: the part of `total_ns` for which threads waited for a CPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    runnable_ns: Option<u64>,
    min_ns: u64,
    mean_ns: u64,
    p50_ns: u64,
    p90_ns: u64,
    p99_ns: u64,
    p999_ns: u64,
    max_ns: u64,
    /// How far the ranks of the quantiles can be off, as a share of all calls; only if some of
    /// the calls were timed and not all.
    #[serde(skip_serializing_if = "Option::is_none")]
    rank_error: Option<f64>,
    returned: u64,
    restarted: u64,
    denied: u64,
    never_returned: u64,
    lost: u64,
    in_flight: u64,
    /// The buckets that are not empty, from low to high, with `--buckets`.
    #[serde(skip_serializing_if = "Option::is_none")]
    buckets: Option<Vec<Bucket>>,
}

impl<'a> RowObject<'a> {
    pub(super) fn new(row: &'a Row, shown: &Shown, off_cpu: bool) -> Self {
        let f = &row.figures;
        let [p50_ns, p90_ns, p99_ns, p999_ns] = f.quantiles([0.5, 0.9, 0.99, 0.999]);
        let comm = match (row.is_by_thread(), row.thread()) {
            (true, Some(thread)) => Some(&thread.comm),
            (true, None) => None,
            (false, _) => row.comm(),
        };
        Self {
            pid: row.process().and_then(|process| process.tgid),
            thread: row.is_by_thread().then(|| row.thread().map(|thread| thread.tid)),
            comm,
            process_comm: row.comm().filter(|_| row.is_by_thread()),
            user: row.is_by_user().then(|| row.user().map(UserName)),
            cgroup: row.place(Dimension::Cgroup).map(Place::path),
            unit: row.place(Dimension::Unit).map(Place::unit_object),
            container: row.place(Dimension::Container).map(Place::container_object),
            pod: row.place(Dimension::Pod).map(Place::pod_object),
            category: row.category().map(|category| category.map(Category::name)),
            class: row.classes().map(|classes| classes.names().collect()),
            abi: row.abi().map(|abi| abi.name()),
            syscall: row.syscall(),
            nr: row.call().map(number),
            calls: f.calls,
            timed: f.timed(),
            errors: f.errors,
            errnos: rows::errnos(f),
            total_ns: f.total_ns,
            estimated_total_ns: f.estimated_total_ns(),
            on_cpu_ns: off_cpu.then(|| f.on_cpu_ns()),
            waiting_ns: off_cpu.then_some(f.off_cpu.waiting_ns),
            runnable_ns: off_cpu.then_some(f.off_cpu.runnable_ns),
            min_ns: f.min_ns(),
            mean_ns: f.mean_ns(),
            p50_ns,
            p90_ns,
            p99_ns,
            p999_ns,
            max_ns: f.max_ns(),
            rank_error: f.rank_error(),
            returned: f.returned,
            restarted: f.restarted,
            denied: f.denied,
            never_returned: f.never_returned,
            lost: f.lost,
            in_flight: row.in_flight,
            buckets: shown.buckets.then(|| f.latency.buckets().map(Bucket::from).collect()),
        }
    }
}

/// A user by name, or by id without a name.
struct UserName<'a>(&'a User);

impl Serialize for UserName<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.0.name {
            Some(name) => name.serialize(serializer),
            None => serializer.collect_str(&self.0.uid),
        }
    }
}

/// A bucket of the latency histogram: latencies above `lower_ns`, and up to `upper_ns`.
#[derive(Serialize)]
pub(in crate::present) struct Bucket {
    /// Exclusive, except that the first bucket includes 0.
    lower_ns: u64,
    /// Inclusive; null for the last bucket, which has no upper bound.
    upper_ns: Option<u64>,
    count: u64,
}

impl From<model::Bucket> for Bucket {
    fn from(model::Bucket { lower_ns, upper_ns, count }: model::Bucket) -> Self {
        Self { lower_ns, upper_ns, count }
    }
}

#[cfg(test)]
mod tests {
    use profiler_common::call::{Abi, CallKey};

    use super::*;
    use crate::{
        model::{Figures, Health, OffCpu},
        present::{Report, json::testing::json, testing},
    };

    fn read(figures: Figures) -> Row {
        Row::of_syscall(CallKey::of(Abi::X86_64, 0), figures)
    }

    #[test]
    fn buckets_that_hold_a_latency_are_listed_on_request() {
        let mut figures = Figures { calls: 6, returned: 6, ..Figures::default() };
        for ns in [0, 8, 9, 100, 100, u64::MAX] {
            figures.latency.record(ns);
        }
        let rows = [read(figures)];
        let shown = Shown { buckets: true, ..Shown::default() };
        let report = Report { rows: &rows, ..testing::report() };
        let value = json(&Report { shown: &shown, ..report });
        insta::assert_snapshot!(value["rows"][0]["buckets"], @r#"[{"count":2,"lower_ns":0,"upper_ns":8},{"count":1,"lower_ns":8,"upper_ns":16},{"count":2,"lower_ns":96,"upper_ns":104},{"count":1,"lower_ns":32985348833280,"upper_ns":null}]"#);
        assert!(json(&report)["rows"][0].get("buckets").is_none());
    }

    #[test]
    fn the_parts_of_the_time_are_there_on_request_and_add_up() {
        let off_cpu = OffCpu { waiting_ns: 500, runnable_ns: 30 };
        let figures =
            Figures { calls: 1, returned: 1, total_ns: 700, off_cpu, ..Figures::default() };
        let health = Health { off_cpu: true, ..Health::default() };
        let value = json(&Report { rows: &[read(figures)], health: &health, ..testing::report() });
        let row = &value["rows"][0];
        let parts = ["on_cpu_ns", "waiting_ns", "runnable_ns"].map(|part| row[part].as_u64());
        assert_eq!(parts, [Some(170), Some(500), Some(30)]);
        assert_eq!(row["total_ns"], 700);
    }
}
