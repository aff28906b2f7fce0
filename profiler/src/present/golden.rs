//! Compares the JSON, tables and metrics of a fixed snapshot with committed files.
//!
//! `UPDATE_GOLDEN=1` writes the files. Adding a JSON field or a metric changes them. Any other
//! change breaks a user's scripts.

mod fixture;

use std::{env, fmt::Write as _, fs, path::PathBuf, sync::Arc};

use super::{
    OwnCost, Report, json,
    metrics::{self, Exposition},
    shown::Shown,
    table::{self, Style},
    testing,
};
use crate::model::{Dimension, Grouping, Scope, Snapshot, SortKey, Span, Timed};

/// Compares `bytes` with a committed file.
#[track_caller]
fn assert_same(name: &str, bytes: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/present/golden").join(name);
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, bytes).expect("writes the file");
    }
    let expected = fs::read_to_string(&path).expect("the committed file");
    let first = expected.lines().zip(bytes.lines()).find(|(expected, is)| expected != is);
    assert!(expected == bytes, "{name} differs, first in (committed, now): {first:#?}");
}

/// The inputs of a report, in addition to the snapshot.
struct Of<'a> {
    by: &'a [Dimension],
    span: Span,
    shown: Shown,
    own: bool,
    pids: &'a [u32],
    more_follow: bool,
}

impl Default for Of<'_> {
    fn default() -> Self {
        Self {
            by: &[Dimension::Syscall],
            span: Span::Total,
            shown: Shown::default(),
            own: false,
            pids: &[],
            more_follow: false,
        }
    }
}

fn report<T>(snapshot: &Snapshot, of: &Of<'_>, write: impl FnOnce(&Report<'_>) -> T) -> T {
    let by: Grouping = of.by.iter().copied().collect();
    let (rows, hidden) = of.shown.rows(snapshot, by, of.span);
    let operations = super::operations::rows(&snapshot.io_uring.rows, by, of.span);
    let spent = snapshot.health.cost.since_attached();
    let scope = if of.pids.is_empty() { Scope::Host } else { Scope::Processes(of.pids.to_vec()) };
    write(&Report {
        origin: &super::origin::fixed(),
        rows: &rows,
        hidden: &hidden,
        shown: &of.shown,
        by,
        window: of.span.length(snapshot),
        health: &snapshot.health,
        in_flight: &snapshot.in_flight,
        operations: &operations,
        coverage: &snapshot.io_uring.coverage,
        failures: &[],
        failure_coverage: snapshot.failures.coverage,
        security_modules: None,
        own: of.own.then_some(OwnCost { spent: &spent, cpus: snapshot.cpus }),
        scope: &scope,
        filter: &fixture::filter(),
        verdict: None,
        more_follow: of.more_follow,
    })
}

fn json(snapshot: &Snapshot, of: &Of<'_>) -> String {
    let mut out = Vec::new();
    report(snapshot, of, |report| json::write(&mut out, report)).expect("a vector");
    String::from_utf8(out).expect("UTF-8")
}

fn table(title: &str, snapshot: &Snapshot, of: &Of<'_>, style: Style) -> String {
    let mut out = format!("==== {title}\n").into_bytes();
    report(snapshot, of, |report| table::write(&mut out, report, style)).expect("a vector");
    // Styles are for a terminal.
    if style.unicode { String::from_utf8(out).expect("UTF-8") } else { testing::unstyled(out) }
}

const ALL: &[Dimension] = &[Dimension::Process, Dimension::Syscall];

/// Lists of dimensions that group rows differently.
const LISTS: [&[Dimension]; 8] = {
    use Dimension::{Abi, Comm, Process, Syscall};
    [&[Syscall], &[Process], ALL, &[Abi], &[Comm], &[Comm, Syscall], &[Abi, Comm], &[Process, Abi]]
};

fn names(by: &[Dimension]) -> String {
    by.iter().map(|dimension| dimension.name()).collect::<Vec<_>>().join(",")
}

fn timed(timed: Timed) -> Snapshot {
    let mut snapshot = fixture::snapshot();
    snapshot.health.timed = timed;
    if timed == Timed::None {
        let figures = snapshot.calls.iter_mut().flat_map(|row| [&mut row.total, &mut row.recent]);
        figures.for_each(fixture::untime);
    }
    snapshot
}

fn one_in(calls: u32) -> Timed {
    Timed::OneIn(calls.try_into().expect("not 0"))
}

/// One row is a sample with weights.
fn adaptive() -> Snapshot {
    let limit = 10_000.try_into().expect("not 0");
    let mut snapshot = timed(Timed::Adaptive(limit));
    fixture::weigh(&mut snapshot);
    snapshot
}

fn filtered() -> Shown {
    let errnos = ["ENOENT", "EAGAIN"].map(|name| name.parse().expect("an errno")).into();
    Shown { failed: true, errnos, no_waits: true, ..Shown::default() }
}

fn with_everything() -> Shown {
    Shown { show_errno: true, buckets: true, ..Shown::default() }
}

#[test]
fn the_json_of_a_snapshot_is_the_same() {
    let snapshot = fixture::snapshot();
    let mut lines = String::new();
    for span in [Span::Total, Span::Recent] {
        for by in LISTS {
            lines += &json(&snapshot, &Of { by, span, ..Of::default() });
        }
    }
    lines +=
        &json(&snapshot, &Of { by: ALL, shown: with_everything(), own: true, ..Of::default() });
    lines += &json(&snapshot, &Of { by: ALL, shown: filtered(), ..Of::default() });
    lines += &json(&snapshot, &Of { shown: filtered(), pids: &[7, 8], ..Of::default() });
    lines += &json(&timed(one_in(100)), &Of { own: true, ..Of::default() });
    lines += &json(&adaptive(), &Of::default());
    lines += &json(&timed(Timed::None), &Of::default());
    lines += &json(&Snapshot::default(), &Of::default());
    assert_same("stat.jsonl", &lines);
}

#[test]
fn the_table_of_a_snapshot_is_the_same() {
    let snapshot = fixture::snapshot();
    let mut text = String::new();
    for by in LISTS {
        text += &table(&names(by), &snapshot, &Of { by, ..Of::default() }, Style::PLAIN);
    }
    let terminal = |width, unicode| Style { width: Some(width), sparkline: true, unicode };
    for width in [40, 80, 120, 200] {
        let title = format!("{width} columns");
        text += &table(&title, &snapshot, &Of::default(), terminal(width, true));
    }
    text += &table("ascii", &snapshot, &Of::default(), terminal(200, false));
    let all = Of { by: ALL, shown: with_everything(), own: true, ..Of::default() };
    text += &table("all of it", &snapshot, &all, Style::PLAIN);
    text += &table("all of it, on a terminal", &snapshot, &all, terminal(100, true));
    let interval = Of { span: Span::Recent, more_follow: true, own: true, ..Of::default() };
    text += &table("an interval", &snapshot, &interval, Style::PLAIN);
    let filtered = Of { shown: filtered(), ..Of::default() };
    text += &table("filtered", &snapshot, &filtered, Style::PLAIN);
    let hint = Of { by: &[Dimension::Process], ..Of::default() };
    text += &table("sampled", &timed(one_in(100)), &hint, Style::PLAIN);
    text += &table("adaptive", &adaptive(), &Of::default(), Style::PLAIN);
    text += &table("not timed", &timed(Timed::None), &Of::default(), Style::PLAIN);
    text += &table("nothing", &Snapshot::default(), &Of::default(), Style::PLAIN);
    for sort in [
        SortKey::Total,
        SortKey::Calls,
        SortKey::Errors,
        SortKey::Mean,
        SortKey::P50,
        SortKey::P99,
        SortKey::Max,
        SortKey::Name,
    ] {
        let shown = Shown { sort: Some(sort), ..Shown::default() };
        let sorted = Of { by: ALL, shown, ..Of::default() };
        let title = format!("sorted by {sort:?}");
        text += &table(&title, &snapshot, &sorted, Style { width: Some(60), ..Style::PLAIN });
    }
    assert_same("stat.txt", &text);
}

/// The metrics of a snapshot without HELP lines, and the HELP lines alone.
fn metrics(snapshot: Snapshot) -> (String, String) {
    let exposition = Exposition {
        snapshot: Arc::new(snapshot),
        service: fixture::service(),
        ..Exposition::default()
    };
    let text = metrics::text(&exposition).expect("encodes");
    let (help, rest): (Vec<&str>, Vec<&str>) =
        text.split_inclusive('\n').partition(|line| line.starts_with("# HELP "));
    (rest.concat(), help.concat())
}

#[test]
fn the_metrics_of_a_snapshot_are_the_same() {
    let (rest, help) = metrics(fixture::snapshot());
    assert_same("metrics.prom", &rest);
    assert_same("metrics.help", &help);
    let mut others = String::new();
    for (title, snapshot) in [
        ("sampled", timed(one_in(100))),
        ("adaptive", adaptive()),
        ("not timed", timed(Timed::None)),
        ("programs not timed", fixture::without_statistics()),
        ("nothing", fixture::nothing()),
    ] {
        let _ = writeln!(others, "# ==== {title}");
        others += &metrics(snapshot).0;
    }
    assert_same("metrics_of_others.prom", &others);
}
