//! Sums of failures, the table and the JSON.

use super::*;
use crate::{
    model::{CallRow, FailureCoverage, Failures, PathName, ProcessRow, Target},
    present::{Report, json, table::Style, testing},
};

const OPENAT: CallKey = CallKey(257);
const KILL: CallKey = CallKey(62);
const FUTEX: CallKey = CallKey(202);
const ENOENT: u16 = 2;
const EPERM: u16 = 1;

fn target(path: &str, calls: u64, missed: u64) -> FailureTarget {
    let path = PathName { bytes: Some(path.as_bytes().to_vec()), is_cut: false, directory: None };
    FailureTarget {
        target: Arc::new(Target { paths: vec![path], ..Target::default() }),
        directories: [None, None],
        capability: None,
        calls,
        recent: calls,
        missed,
    }
}

fn without_target(capability: Option<u32>, calls: u64) -> FailureTarget {
    FailureTarget { target: Arc::default(), capability, ..target("", calls, 0) }
}

fn process(tgid: u32) -> Arc<Process> {
    Arc::new(Process::new(tgid, 1, "nginx"))
}

fn call(key: CallKey, errnos: &[(u16, u64)], denied: u64) -> CallRow {
    let figures = Figures { denied, ..Figures::default() };
    let figures = testing::with_errors(figures, errnos, 0);
    CallRow { recent: figures.clone(), ..CallRow::new(key, figures) }
}

fn group(tgid: u32, key: CallKey, errno: u16, targets: Vec<FailureTarget>) -> FailureGroup {
    let noted = targets.iter().map(|target| target.calls).sum();
    FailureGroup {
        process: process(tgid),
        key,
        errno: Some(errno),
        denied: false,
        noted,
        recent: noted,
        dropped: 0,
        targets,
    }
}

fn snapshot() -> Snapshot {
    let calls = |openat: u64| {
        vec![
            call(KILL, &[(EPERM, 3)], 0),
            call(FUTEX, &[(11, 9)], 2),
            call(OPENAT, &[(ENOENT, openat)], 0),
        ]
    };
    let processes = [(7, 100), (8, 50)]
        .map(|(tgid, openat)| ProcessRow { ..ProcessRow::new(process(tgid), calls(openat)) });
    let mut denied = group(7, FUTEX, EPERM, vec![without_target(None, 2)]);
    denied.denied = true;
    // Ten calls were not noted, and at most four were dropped.
    let mut in_7 = group(7, OPENAT, ENOENT, vec![target("/a", 60, 0), target("/b", 20, 4)]);
    (in_7.noted, in_7.dropped) = (90, 4);
    let groups = vec![
        in_7,
        group(8, OPENAT, ENOENT, vec![target("/a", 50, 0)]),
        group(7, KILL, EPERM, vec![without_target(Some(5), 2), without_target(None, 1)]),
        group(7, FUTEX, 11, vec![without_target(None, 9)]),
        denied,
        // Of a process that is no longer listed.
        group(99, OPENAT, ENOENT, vec![target("/a", 1_000, 0)]),
    ];
    let failures = Failures { coverage: FailureCoverage::Noted, modules: None, groups };
    Snapshot { processes: processes.into(), failures, ..Snapshot::default() }
}

fn found(by: Grouping, shown: &Shown) -> Vec<FailureSum> {
    sums(&snapshot(), by, shown, Span::Total)
}

/// Everything that failed is in some sum.
#[test]
fn sums_add_up_to_the_figures() {
    for by in [Grouping::SYSCALL, Grouping::PROCESS, Grouping::PROCESS_SYSCALL] {
        let sums = found(by, &Shown::default());
        let all: u64 = sums.iter().map(|sum| sum.calls).sum();
        assert_eq!(all, 2 * (3 + 9 + 2) + 150);
        for sum in &sums {
            let listed: u64 = sum.targets.iter().map(|target| target.calls).sum();
            assert_eq!(listed + sum.not_listed, sum.calls, "{sum:?}");
        }
    }
}

#[test]
fn bounds_have_what_may_be_missing() {
    let of = |by: Grouping| {
        let sums = found(by, &Shown::default());
        let sum = sums.into_iter().find(|sum| sum.key == OPENAT).expect("a sum");
        let targets = sum.targets.iter();
        targets.map(|target| (target.calls, target.at_most_more)).collect::<Vec<_>>()
    };
    // Ten calls were not noted. Before /b was listed, it had at most four.
    assert_eq!(of(Grouping::PROCESS), [(60, 10), (20, 14)]);
    // The other process never failed on /b.
    assert_eq!(of(Grouping::SYSCALL), [(110, 10), (20, 14)]);
}

#[test]
fn errnos_and_waits_are_chosen() {
    let errnos = vec!["ENOENT".parse().expect("an errno")];
    let shown = Shown { errnos, ..Shown::default() };
    assert!(found(Grouping::SYSCALL, &shown).iter().all(|sum| sum.errno == Some(ENOENT)));
    let shown = Shown { no_waits: true, ..Shown::default() };
    assert!(found(Grouping::SYSCALL, &shown).iter().all(|sum| sum.key != FUTEX));
}

#[test]
fn the_table_says_on_what_and_why() {
    let sums = found(Grouping::PROCESS, &Shown::default());
    let modules = ["yama".into(), "apparmor".into()];
    let report = Report {
        failures: &sums,
        failure_coverage: FailureCoverage::Noted,
        security_modules: Some(&modules),
        ..testing::report()
    };
    let mut out = Vec::new();
    write(&mut out, &report, Style::PLAIN).expect("a vector");
    insta::assert_snapshot!(testing::unstyled(out), @r"

    On what 155 calls failed, and why calls were refused:
    pid  process  syscall  error   calls  up to  path, address or descriptor  why
      7  nginx    openat   ENOENT     60     70  /a
      7  nginx    openat   ENOENT     20     34  /b
      7  nginx    openat   ENOENT     20         (others)
      8  nginx    openat   ENOENT     50         /a
      7  nginx    kill     EPERM       2                                      CAP_KILL missing
      7  nginx    kill     EPERM       1                                      unknown
      7  nginx    futex    EPERM       2                                      seccomp or a tracer
    23 more calls failed that have no path, address or descriptor
    unknown: the kernel found no capability missing before it refused the call. Security modules in force, which may have refused it: yama, apparmor.
    ");
    let mut out = Vec::new();
    json::write(&mut out, &report).expect("a vector");
    let json: serde_json::Value = serde_json::from_slice(&out).expect("JSON");
    let kill = json["failing"].as_array().expect("a list").iter().find(|f| f["syscall"] == "kill");
    insta::assert_snapshot!(
        kill.expect("a sum"),
        @r#"{"abi":"x86_64","calls":3,"comm":"nginx","denied":false,"errno":"EPERM","not_listed":0,"nr":62,"pid":7,"syscall":"kill","targets":[{"at_most_more":0,"calls":2,"capability":"CAP_KILL","kind":null,"reason":"capability","target":null},{"at_most_more":0,"calls":1,"capability":null,"kind":null,"reason":"unknown","target":null}]}"#
    );
}

#[test]
fn nothing_is_said_without_the_flag() {
    let mut out = Vec::new();
    write(&mut out, &testing::report(), Style::PLAIN).expect("a vector");
    assert!(out.is_empty());
    assert!(Object::of(&testing::report()).is_none());
}
