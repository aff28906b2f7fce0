//! The JSON of `profiler stat`, which is a contract: fields are added, and none is renamed or
//! removed.

use std::{collections::BTreeMap, io};

use profiler_common::call::{Abi, CallKey};
use serde::{Serialize, Serializer};

use super::{
    Report, budget, cost, operations,
    origin::exact_time,
    place::{ContainerObject, Place, PodObject, UnitObject},
    rows::{self, Row, User},
    shown::{Hidden, Shown, Sum},
};
use crate::{
    filter::{Comm, ContainerName, Filter, Places, PodName, UnitName},
    model::{self, Dimension, Kind, Scope, ThreadInFlight, Timed, nanoseconds},
    names::{classes::Category, syscalls},
    text::{self, Untrusted},
};

/// Version of the contract. It changes if a field has to change its meaning.
const SCHEMA: u32 = 1;

/// The number of calls whose number is in no syscall table.
const UNKNOWN_NR: i64 = -1;

#[derive(Serialize)]
struct Object<'a> {
    schema: u32,
    /// The name of the host; null if it cannot be read.
    host: Option<&'a Untrusted>,
    /// The profiler's version.
    version: &'a str,
    /// The command with its arguments; null without a command.
    command: Option<&'a [Untrusted]>,
    /// RFC 3339 in UTC, by the wall clock. `window_ns` is by a clock that nobody sets.
    start: String,
    end: String,
    window_ns: u64,
    lost: u64,
    /// Upper bound of calls that may be lost in addition to `lost`.
    lost_unseen: u64,
    /// Calls that are counted without their process, because the tables were full.
    overflowed: u64,
    /// Books that did not balance; if not 0, the profiler has a bug.
    breaches: u64,
    /// The last book that did not balance.
    #[serde(skip_serializing_if = "str::is_empty")]
    last_breach: &'a str,
    /// One in so many calls is timed: 1 for all, null for none.
    timed_one_in: Option<u64>,
    /// With adaptive sampling: the limit of timed calls per second of a thread and syscall.
    #[serde(skip_serializing_if = "Option::is_none")]
    timed_per_second: Option<u32>,
    /// Which processes and syscalls are counted.
    scope: InScope<'a>,
    rows: Vec<Line<'a>>,
    /// The sum of the rows that `--failed`, `--errno` and `--no-waits` hide, if any of them is set.
    #[serde(skip_serializing_if = "Option::is_none")]
    hidden: Option<LeftOut>,
    /// Calls in flight by kind, the oldest of each kind first; at most 256 of a kind.
    in_flight: Vec<InFlight<'a>>,
    /// The number of calls in flight of each kind.
    in_flight_by_kind: BTreeMap<&'static str, u64>,
    /// Calls in flight that entered before the profiler attached, and are in no row; null if the
    /// kernel cannot tell.
    in_flight_before: Option<u64>,
    /// Operations of io_uring, which are not syscalls; null if they are not counted.
    io_uring: Option<Vec<operations::Object<'a>>>,
    /// Why they are not counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    io_uring_missing: Option<&'a str>,
    /// The profiler's own cost, with `--self`.
    #[serde(rename = "self", skip_serializing_if = "Option::is_none")]
    own: Option<cost::Object<'a>>,
    /// How the run compares with its budget, with `--budget`.
    #[serde(skip_serializing_if = "Option::is_none")]
    budget: Option<budget::Object<'a>>,
}

/// The sum of rows that are hidden.
#[derive(Serialize)]
struct LeftOut {
    rows: usize,
    calls: u64,
    errors: u64,
    denied: u64,
    in_flight: u64,
    estimated_total_ns: u64,
    /// The part that waits by nature, with `--no-waits`.
    #[serde(skip_serializing_if = "Option::is_none")]
    waits: Option<Box<LeftOut>>,
}

impl LeftOut {
    fn new(sum: &Sum, rows: usize) -> Self {
        Self {
            rows,
            calls: sum.figures.calls,
            errors: sum.figures.errors,
            denied: sum.figures.denied,
            in_flight: sum.in_flight,
            estimated_total_ns: sum.total_ns,
            waits: None,
        }
    }

    fn of(shown: &Shown, hidden: &Hidden) -> Option<Self> {
        let waits = || Box::new(Self::new(&hidden.waits, hidden.waits.rows));
        shown.is_filtered().then(|| Self {
            waits: shown.no_waits.then(waits),
            ..Self::new(&hidden.left_out, hidden.rows)
        })
    }
}

/// The filters; null for a filter that is not set.
#[derive(Serialize)]
struct InScope<'a> {
    /// These processes and their children.
    pids: Option<&'a [u32]>,
    cgroups: Option<Vec<&'a Untrusted>>,
    units: Option<&'a [UnitName]>,
    containers: Option<&'a [ContainerName]>,
    pods: Option<&'a [PodName]>,
    comms: Option<&'a [Comm]>,
    syscalls: Option<Named<'a>>,
}

/// The syscalls, as the user named them.
#[derive(Serialize)]
struct Named<'a> {
    /// Empty for all syscalls except those in `except`.
    only: &'a [String],
    except: &'a [String],
}

impl<'a> InScope<'a> {
    fn new(scope: &'a Scope, filter: &'a Filter) -> Self {
        let Filter { cgroups, places, comms, calls } = filter;
        let Places { units, containers, pods } = places;
        let named = |count: usize| (count > 0).then_some(());
        Self {
            pids: match scope {
                Scope::Host => None,
                Scope::Processes(pids) => Some(pids),
            },
            cgroups: named(cgroups.len()).map(|()| cgroups.iter().map(|c| &c.path).collect()),
            units: named(units.len()).map(|()| &units[..]),
            containers: named(containers.len()).map(|()| &containers[..]),
            pods: named(pods.len()).map(|()| &pods[..]),
            comms: named(comms.len()).map(|()| &comms[..]),
            syscalls: calls
                .as_ref()
                .map(|calls| Named { only: &calls.only, except: &calls.except }),
        }
    }
}

#[derive(Serialize)]
struct InFlight<'a> {
    age_ns: u64,
    /// Whether `age_ns` is a lower bound: the call entered before the attach, or was not timed.
    at_least: bool,
    pid: Option<u32>,
    tid: u32,
    comm: &'a Untrusted,
    abi: Option<&'static str>,
    syscall: &'static str,
    nr: i64,
    kind: &'static str,
}

impl<'a> InFlight<'a> {
    fn new(thread: &'a ThreadInFlight) -> Self {
        Self {
            age_ns: nanoseconds(thread.age),
            at_least: thread.at_least,
            pid: thread.process.tgid,
            tid: thread.tid,
            comm: &thread.process.comm,
            abi: thread.key.abi().map(Abi::name),
            syscall: syscalls::name(thread.key),
            nr: number(thread.key),
            kind: thread.kind.name(),
        }
    }
}

#[derive(Serialize)]
struct Line<'a> {
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
    /// With `--where`: the parts of `total_ns`. The time on a CPU,
    #[serde(skip_serializing_if = "Option::is_none")]
    on_cpu_ns: Option<u64>,
    /// the time blocked,
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting_ns: Option<u64>,
    /// and the time for which threads waited for a CPU.
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
    /// The buckets that hold a latency, from low to high, with `--buckets`.
    #[serde(skip_serializing_if = "Option::is_none")]
    buckets: Option<Vec<Bucket>>,
}

/// A bucket of the latency histogram: latencies above `lower_ns`, and up to `upper_ns`.
#[derive(Serialize)]
pub(super) struct Bucket {
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

impl<'a> Line<'a> {
    fn new(row: &'a Row, shown: &Shown, off_cpu: bool) -> Self {
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

fn number(key: CallKey) -> i64 {
    if key.is_unknown() { UNKNOWN_NR } else { i64::from(key.nr()) }
}

/// Writes a report as one object and a newline.
///
/// # Errors
/// If `out` cannot be written.
pub fn write(out: &mut impl io::Write, report: &Report<'_>) -> io::Result<()> {
    let Report { origin, rows, hidden, shown, window, health, in_flight, .. } = *report;
    let Report { own, scope, filter, verdict, .. } = *report;
    let mut sum = rows::total(rows);
    sum.merge(&hidden.left_out.figures);
    let object = Object {
        schema: SCHEMA,
        host: origin.host.as_ref(),
        version: origin.version,
        command: Some(&origin.command[..]).filter(|command| !command.is_empty()),
        start: exact_time(origin.start),
        end: exact_time(origin.end),
        window_ns: nanoseconds(window),
        lost: health.lost(),
        lost_unseen: health.unseen,
        overflowed: health.overflowed,
        breaches: health.breaches,
        last_breach: &health.last_breach,
        timed_one_in: health.timed.one_in(&sum),
        timed_per_second: match health.timed {
            Timed::Adaptive(limit) => Some(limit.get()),
            _ => None,
        },
        scope: InScope::new(scope, filter),
        rows: rows.iter().map(|row| Line::new(row, shown, health.off_cpu)).collect(),
        hidden: LeftOut::of(shown, hidden),
        in_flight: in_flight.oldest.iter().map(InFlight::new).collect(),
        in_flight_by_kind: Kind::ALL.map(|kind| (kind.name(), in_flight.count(kind))).into(),
        in_flight_before: in_flight.sees_before.then(|| in_flight.count_before()),
        io_uring: operations::Object::of(report),
        io_uring_missing: operations::missing(report.coverage),
        own: own.map(|own| cost::Object::new(own, health)),
        budget: verdict.map(budget::Object::new),
    };
    text::json::write(out, &object)?;
    writeln!(out)
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use super::*;
    use crate::{
        budget::{Check, Doubt, Limit, Verdict},
        filter::Calls,
        model::{
            CallInFlight, Cost, Extremes, Figures, Grouping, Health, InFlight, OffCpu, Process,
            Program, Runs, Timing, Untimed,
        },
        present::{OwnCost, rows::Value, testing},
    };

    /// Asserts that `docs/json.md` has every field, at any depth.
    #[track_caller]
    fn assert_documented(json: &serde_json::Value) {
        const PAGE: &str = include_str!("../../docs/json.md");
        match json {
            serde_json::Value::Object(fields) => {
                for (name, value) in fields {
                    assert!(PAGE.contains(&format!("`{name}`")), "no field {name} in docs/json.md");
                    // The names of errors are the kernel's.
                    if name != "errnos" {
                        assert_documented(value);
                    }
                }
            }
            serde_json::Value::Array(values) => values.iter().for_each(assert_documented),
            _ => {}
        }
    }

    #[test]
    fn the_contract() {
        let mut figures = Figures {
            calls: 4,
            returned: 3,
            errors: 2,
            total_ns: 1200,
            extremes: Some(Extremes { min_ns: 100, max_ns: 900 }),
            ..Figures::default()
        };
        figures.add_errno(11, 2);
        for ns in [100, 200, 900] {
            figures.latency.record(ns);
        }
        let comm = "a\"b";
        let process = Arc::new(Process::new(42, 1, comm).into_ended());
        let rows = [
            Row {
                key: vec![
                    Value::Process(Arc::clone(&process)),
                    Value::Syscall(CallKey::of(Abi::X86_64, 0)),
                ],
                figures,
                in_flight: 1,
            },
            Row::of_syscall(
                CallKey::unknown(Abi::I386),
                Figures { calls: 1, never_returned: 1, ..Figures::default() },
            ),
        ];
        let age = Duration::from_micros(12);
        let key = CallKey::of(Abi::X86_64, 0);
        let in_flight = InFlight {
            calls: vec![CallInFlight {
                key,
                kind: crate::names::waits::kind(key),
                threads: 3,
                unrecorded: 2,
                before: 1,
                oldest: age,
            }],
            oldest: vec![ThreadInFlight {
                process,
                tid: 43,
                key,
                kind: crate::names::waits::kind(key),
                age,
                at_least: true,
            }],
            sees_before: true,
        };
        let calls = ["read", "!write", "i386:5"].map(|text| text.parse().expect("a call"));
        let filter = Filter {
            comms: vec!["n\"x".parse().expect("a name")],
            calls: Calls::new(&calls).expect("calls"),
            ..Filter::default()
        };
        let report = Report {
            rows: &rows,
            by: Grouping::PROCESS_SYSCALL,
            window: Duration::from_millis(1500),
            in_flight: &in_flight,
            scope: &Scope::Processes(vec![7, 8]),
            filter: &filter,
            ..testing::report()
        };
        let mut out = Vec::new();
        write(&mut out, &report).expect("a vector takes everything");
        assert_documented(&serde_json::from_slice(&out).expect("JSON"));
        insta::assert_snapshot!(String::from_utf8(out).expect("UTF-8"), @r#"{"schema":1,"host":"a\"host","version":"1.2.3","command":["make","-j4"],"start":"2023-11-14T22:13:19.734567890Z","end":"2023-11-14T22:13:21.234567890Z","window_ns":1500000000,"lost":0,"lost_unseen":0,"overflowed":0,"breaches":0,"timed_one_in":1,"scope":{"pids":[7,8],"cgroups":null,"units":null,"containers":null,"pods":null,"comms":["n\"x"],"syscalls":{"only":["read","i386:5"],"except":["write"]}},"rows":[{"pid":42,"comm":"a\"b","abi":"x86_64","syscall":"read","nr":0,"calls":4,"timed":3,"errors":2,"errnos":{"EAGAIN":2},"total_ns":1200,"estimated_total_ns":1200,"min_ns":100,"mean_ns":400,"p50_ns":200,"p90_ns":900,"p99_ns":900,"p999_ns":900,"max_ns":900,"returned":3,"restarted":0,"denied":0,"never_returned":0,"lost":0,"in_flight":1},{"pid":null,"comm":null,"abi":"i386","syscall":"unknown","nr":-1,"calls":1,"timed":0,"errors":0,"errnos":{},"total_ns":0,"estimated_total_ns":0,"min_ns":0,"mean_ns":0,"p50_ns":0,"p90_ns":0,"p99_ns":0,"p999_ns":0,"max_ns":0,"returned":0,"restarted":0,"denied":0,"never_returned":1,"lost":0,"in_flight":0}],"in_flight":[{"age_ns":12000,"at_least":true,"pid":42,"tid":43,"comm":"a\"b","abi":"x86_64","syscall":"read","nr":0,"kind":"may_wait"}],"in_flight_by_kind":{"may_wait":3,"waits":0,"works":0},"in_flight_before":1,"io_uring":null,"io_uring_missing":"this engine does not observe io_uring"}"#);
    }

    fn json(rows: &[Row], hidden: &Hidden, shown: &Shown) -> serde_json::Value {
        let report = Report { rows, hidden, shown, ..testing::report() };
        let mut out = Vec::new();
        write(&mut out, &report).expect("a vector takes everything");
        serde_json::from_slice(&out).expect("JSON")
    }

    fn read(figures: Figures) -> Row {
        Row { in_flight: 1, ..Row::of_syscall(CallKey::of(Abi::X86_64, 0), figures) }
    }

    #[test]
    fn buckets_that_hold_a_latency_are_listed_on_request() {
        let mut figures = Figures { calls: 6, returned: 6, ..Figures::default() };
        for ns in [0, 8, 9, 100, 100, u64::MAX] {
            figures.latency.record(ns);
        }
        let rows = [read(figures)];
        let shown = Shown { buckets: true, ..Shown::default() };
        let value = json(&rows, &Hidden::default(), &shown);
        insta::assert_snapshot!(value["rows"][0]["buckets"], @r#"[{"count":2,"lower_ns":0,"upper_ns":8},{"count":1,"lower_ns":8,"upper_ns":16},{"count":2,"lower_ns":96,"upper_ns":104},{"count":1,"lower_ns":32985348833280,"upper_ns":null}]"#);
        let without = json(&rows, &Hidden::default(), &Shown::default());
        assert!(without["rows"][0].get("buckets").is_none());
    }

    #[test]
    fn the_parts_of_the_time_are_there_on_request_and_add_up() {
        let off_cpu = OffCpu { waiting_ns: 500, runnable_ns: 30 };
        let figures =
            Figures { calls: 1, returned: 1, total_ns: 700, off_cpu, ..Figures::default() };
        let health = Health { off_cpu: true, ..Health::default() };
        let report = Report { rows: &[read(figures)], health: &health, ..testing::report() };
        let mut out = Vec::new();
        write(&mut out, &report).expect("a vector takes everything");
        let value: serde_json::Value = serde_json::from_slice(&out).expect("JSON");
        assert_documented(&value);
        let row = &value["rows"][0];
        let parts = ["on_cpu_ns", "waiting_ns", "runnable_ns"].map(|part| row[part].as_u64());
        assert_eq!(parts, [Some(170), Some(500), Some(30)]);
        assert_eq!(row["total_ns"], 700);
    }

    #[test]
    fn what_is_left_out_is_summed() {
        let figures = Figures { calls: 9, returned: 8, total_ns: 700, ..Figures::default() };
        let waits = Sum::of(&[read(figures)]);
        let hidden = Hidden { rows: 3, left_out: waits.clone(), waits, waiting_ns: 700 };
        let shown = Shown { no_waits: true, ..Shown::default() };
        insta::assert_snapshot!(json(&[], &hidden, &shown)["hidden"], @r#"{"calls":9,"denied":0,"errors":0,"estimated_total_ns":700,"in_flight":1,"rows":3,"waits":{"calls":9,"denied":0,"errors":0,"estimated_total_ns":700,"in_flight":1,"rows":1}}"#);
        let failed = Shown { failed: true, ..Shown::default() };
        assert!(json(&[], &hidden, &failed)["hidden"].get("waits").is_none());
        assert!(json(&[], &hidden, &Shown::default()).get("hidden").is_none());
    }

    #[test]
    fn the_contract_of_a_budget() {
        let enoent = "ENOENT".parse().expect("an errno");
        let verdict = Verdict {
            checks: vec![
                Check { of: None, limit: Limit::TotalTime, allowed: 2_000, found: 700 },
                Check {
                    of: Some("open".into()),
                    limit: Limit::Errno(enoent),
                    allowed: 0,
                    found: 1,
                },
            ],
            doubt: Some(Doubt::CutShort),
        };
        let report = Report { verdict: Some(&verdict), ..testing::report() };
        let mut out = Vec::new();
        write(&mut out, &report).expect("a vector takes everything");
        let json: serde_json::Value = serde_json::from_slice(&out).expect("JSON");
        assert_documented(&json);
        insta::assert_snapshot!(json["budget"], @r#"{"limits":[{"allowed":2000,"exceeded":false,"found":700,"limit":"total_time","syscall":null},{"allowed":0,"errno":"ENOENT","exceeded":true,"found":1,"limit":"errno","syscall":"open"}],"met":false,"uncounted":null}"#);
    }

    #[test]
    fn the_contract_of_self() {
        let spent = Cost {
            programs: vec![Program { name: "sys_enter".into(), copies: 1, ..Program::default() }],
            timing: Timing::Of {
                period: 1,
                time: Duration::from_secs(1),
                runs: vec![Runs { count: 4, events: 4, time: Duration::from_micros(2) }],
            },
            ..Cost::default()
        };
        let untimed = Cost { timing: Timing::No(Untimed::Privilege), ..spent.clone() };
        let text = |spent| {
            let own = Some(OwnCost { spent, cpus: 2 });
            let report = Report { own, ..testing::report() };
            let mut out = Vec::new();
            write(&mut out, &report).expect("a vector takes everything");
            let json: serde_json::Value = serde_json::from_slice(&out).expect("JSON");
            assert_documented(&json);
            json["self"].to_string()
        };
        insta::assert_snapshot!([text(&spent), text(&untimed)].join("\n"));
    }
}
