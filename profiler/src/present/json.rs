//! The JSON of `profiler stat`, which is a contract: fields are added, and none is renamed or
//! removed.

mod hidden;
mod in_flight;
mod row;
mod scope;
#[cfg(test)]
mod testing;

use std::{collections::BTreeMap, io};

use profiler_common::call::CallKey;
use serde::Serialize;

use self::{hidden::HiddenObject, in_flight::InFlightObject, row::RowObject, scope::ScopeObject};
use super::{Report, budget, cost, failures, operations, origin::exact_time, rows};
use crate::{
    model::{FailureCoverage, Kind, Timed, nanoseconds},
    text::{self, Untrusted},
};

pub(super) use row::Bucket;

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
    /// With `--where`: returns to a CPU that the kernel did not report.
    #[serde(skip_serializing_if = "Option::is_none")]
    unreported_returns: Option<u64>,
    /// Upper bound of the time off the CPU that therefore counts as time on a CPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    unreported_ns: Option<u64>,
    /// Accounting equations that do not hold; if not 0, the profiler has a bug.
    breaches: u64,
    /// The last accounting equation that does not hold.
    #[serde(skip_serializing_if = "str::is_empty")]
    last_breach: &'a str,
    /// One call in this many is timed: 1 if all calls are timed, null if none is.
    timed_one_in: Option<u64>,
    /// With adaptive sampling: the limit of timed calls per second of a thread and syscall.
    #[serde(skip_serializing_if = "Option::is_none")]
    timed_per_second: Option<u32>,
    /// Which processes and syscalls are counted.
    scope: ScopeObject<'a>,
    rows: Vec<RowObject<'a>>,
    /// The sum of the rows that `--failed`, `--errno` and `--no-waits` hide, if any of them is set.
    #[serde(skip_serializing_if = "Option::is_none")]
    hidden: Option<HiddenObject>,
    /// Calls in flight by kind, the oldest of each kind first; at most 256 of a kind.
    in_flight: Vec<InFlightObject<'a>>,
    /// The number of calls in flight of each kind.
    in_flight_by_kind: BTreeMap<&'static str, u64>,
    /// Calls in flight that entered before the profiler attached, and are in no row; null if the
    /// kernel cannot tell.
    in_flight_before: Option<u64>,
    /// Operations of io_uring, which are not syscalls; null if they are not counted.
    io_uring: Option<Vec<operations::Object<'a>>>,
    /// Why operations of io_uring are not counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    io_uring_missing: Option<&'a str>,
    /// On what calls failed, and why they were refused, with `--show-paths`.
    #[serde(skip_serializing_if = "Option::is_none")]
    failing: Option<Vec<failures::Object<'a>>>,
    /// Why it is not known which capability was missing, if it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    reasons_missing: Option<&'a str>,
    /// With `--show-paths`: the security modules in force; null if the kernel does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    security_modules: Option<Option<&'a [Untrusted]>>,
    /// The profiler's own cost, with `--self`.
    #[serde(rename = "self", skip_serializing_if = "Option::is_none")]
    own: Option<cost::Object<'a>>,
    /// How the run compares with its budget, with `--budget`.
    #[serde(skip_serializing_if = "Option::is_none")]
    budget: Option<budget::Object<'a>>,
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
    let followed = health.kernel_off_cpu();
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
        unreported_returns: followed.map(|kernel| kernel.unreported_returns),
        unreported_ns: followed.map(|kernel| kernel.unreported_ns),
        breaches: health.breaches,
        last_breach: &health.last_breach,
        timed_one_in: health.timed.one_in(&sum),
        timed_per_second: match health.timed {
            Timed::Adaptive(limit) => Some(limit.get()),
            _ => None,
        },
        scope: ScopeObject::new(scope, filter),
        rows: rows.iter().map(|row| RowObject::new(row, shown, health.off_cpu)).collect(),
        hidden: HiddenObject::of(shown, hidden),
        in_flight: in_flight.oldest.iter().map(InFlightObject::new).collect(),
        in_flight_by_kind: Kind::ALL.map(|kind| (kind.name(), in_flight.count(kind))).into(),
        in_flight_before: in_flight.sees_before.then(|| in_flight.count_before()),
        io_uring: operations::Object::of(report),
        io_uring_missing: operations::missing(report.coverage),
        failing: failures::Object::of(report),
        reasons_missing: failures::missing(report.failure_coverage),
        security_modules: (report.failure_coverage != FailureCoverage::NotNoted)
            .then_some(report.security_modules),
        own: own.map(|own| cost::Object::new(own, health)),
        budget: verdict.map(budget::Object::new),
    };
    text::json::write(out, &object)?;
    writeln!(out)
}

/// The number of a syscall.
pub(super) fn number(key: CallKey) -> i64 {
    if key.is_unknown() { UNKNOWN_NR } else { i64::from(key.nr()) }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use profiler_common::call::Abi;

    use super::{
        testing::{json, text},
        *,
    };
    use crate::{
        budget::{Check, Doubt, Limit, Verdict},
        filter::{Calls, Filter},
        model::{
            CallInFlight, Cost, Extremes, Figures, Grouping, InFlight, Process, Program, Runs,
            Scope, ThreadInFlight, Timing, Untimed,
        },
        present::{
            OwnCost,
            rows::{Row, Value},
            testing,
        },
    };

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
        insta::assert_snapshot!(text(&report), @r#"{"schema":1,"host":"a\"host","version":"1.2.3","command":["make","-j4"],"start":"2023-11-14T22:13:19.734567890Z","end":"2023-11-14T22:13:21.234567890Z","window_ns":1500000000,"lost":0,"lost_unseen":0,"overflowed":0,"breaches":0,"timed_one_in":1,"scope":{"pids":[7,8],"cgroups":null,"units":null,"containers":null,"pods":null,"comms":["n\"x"],"syscalls":{"only":["read","i386:5"],"except":["write"]}},"rows":[{"pid":42,"comm":"a\"b","abi":"x86_64","syscall":"read","nr":0,"calls":4,"timed":3,"errors":2,"errnos":{"EAGAIN":2},"total_ns":1200,"estimated_total_ns":1200,"min_ns":100,"mean_ns":400,"p50_ns":200,"p90_ns":900,"p99_ns":900,"p999_ns":900,"max_ns":900,"returned":3,"restarted":0,"denied":0,"never_returned":0,"lost":0,"in_flight":1},{"pid":null,"comm":null,"abi":"i386","syscall":"unknown","nr":-1,"calls":1,"timed":0,"errors":0,"errnos":{},"total_ns":0,"estimated_total_ns":0,"min_ns":0,"mean_ns":0,"p50_ns":0,"p90_ns":0,"p99_ns":0,"p999_ns":0,"max_ns":0,"returned":0,"restarted":0,"denied":0,"never_returned":1,"lost":0,"in_flight":0}],"in_flight":[{"age_ns":12000,"at_least":true,"pid":42,"tid":43,"comm":"a\"b","abi":"x86_64","syscall":"read","nr":0,"kind":"may_wait"}],"in_flight_by_kind":{"may_wait":3,"waits":0,"works":0},"in_flight_before":1,"io_uring":null,"io_uring_missing":"this engine does not observe io_uring"}"#);
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
        insta::assert_snapshot!(json(&report)["budget"], @r#"{"limits":[{"allowed":2000,"exceeded":false,"found":700,"limit":"total_time","syscall":null},{"allowed":0,"errno":"ENOENT","exceeded":true,"found":1,"limit":"errno","syscall":"open"}],"met":false,"uncounted":null}"#);
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
        let own = |spent| {
            let own = Some(OwnCost { spent, cpus: 2 });
            let report = Report { own, ..testing::report() };
            json(&report)["self"].to_string()
        };
        insta::assert_snapshot!([own(&spent), own(&untimed)].join("\n"));
    }
}
