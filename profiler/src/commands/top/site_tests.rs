//! Lists of containers, pods, units and cgroups: what `B` shows, and what can be opened from there.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use insta::assert_snapshot;
use ratatui_core::style::Color;

use super::{
    call_sets::SetsBy,
    columns::Column,
    fixtures::{self, call, process, row},
    rows::{self, Row},
    screens::{FULL, PLAIN, draw},
    sites::DIMENSIONS,
    state::App,
    view::{Selection, SinceStart, Tab, View},
};
use crate::{
    engine::Intervals,
    model::{
        CallRow, Cgroup, CgroupRow, Detail, Dimension, ENDED_COMM, NO_CGROUP, Process, ProcessRow,
        Snapshot, SortKey, Span,
    },
    present::columns::Source as _,
};

const WEB: u64 = 10;
const WEB_INNER: u64 = 11;
const DATABASE: u64 = 12;
const GONE: u64 = 13;
const SSH: u64 = 14;
/// A cgroup whose path is unknown.
const UNKNOWN: u64 = 15;

fn docker(digit: char) -> String {
    format!("/system.slice/docker-{}.scope", String::from(digit).repeat(64))
}

fn cgroups() -> BTreeMap<u64, Arc<Cgroup>> {
    let named = |path: &str, name: &str| {
        let mut cgroup = Cgroup::at(path);
        cgroup.named.container = Some(name.into());
        cgroup
    };
    let pod = "/kubepods.slice/kubepods-burstable.slice/\
               kubepods-burstable-pod1234abcd_0000_1111_2222_333344445555.slice/\
               cri-containerd-bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb.scope";
    BTreeMap::from([
        (WEB, Arc::new(Cgroup::at(&docker('a')))),
        (WEB_INNER, Arc::new(named(&format!("{}/inner", docker('a')), "web"))),
        (DATABASE, Arc::new(named(pod, "database"))),
        (GONE, Arc::new(Cgroup { removed: true, ..named(&docker('c'), "job") })),
        (SSH, Arc::new(Cgroup::at("/system.slice/ssh.service"))),
    ])
}

fn of(process: Arc<Process>, by_cgroup: &[(u64, Vec<CallRow>)]) -> ProcessRow {
    let parts: Vec<CgroupRow> = (by_cgroup.iter())
        .map(|(cgroup, calls)| CgroupRow { cgroup: *cgroup, calls: Arc::new(calls.clone()) })
        .collect();
    let calls = super::groups::sum(parts.iter().map(|part| &part.calls[..]));
    let cgroup = by_cgroup.last().expect("a cgroup").0;
    let cgroups = if parts.len() > 1 { parts } else { Vec::new() };
    ProcessRow { cgroup, cgroups, ..ProcessRow::new(process, calls) }
}

fn denied(mut row: CallRow, denied: u64) -> CallRow {
    row.recent.denied = denied;
    row.total.denied = 10 * denied;
    row
}

/// A web server in a container, and in a cgroup of its own below that; a database in a pod; a job
/// whose container was removed; a shell that came from a unit into the web server's container.
pub(super) fn host() -> Snapshot {
    let ended = |pid, comm| Arc::new((*process(pid, comm)).clone().into_ended());
    let rows = vec![
        of(
            process(1234, "nginx"),
            &[
                (WEB, vec![row(call("read"), 7_000, 900), row(call("write"), 6_000, 3_100)]),
                (WEB_INNER, vec![row(call("read"), 100, 900)]),
            ],
        ),
        of(process(2001, "postgres"), &[(DATABASE, vec![row(call("fsync"), 42, 4_100_000)])]),
        of(
            process(3050, "bash"),
            &[
                (SSH, vec![row(call("read"), 4, 20_000)]),
                (WEB, vec![denied(row(call("clone"), 30, 90_000), 5)]),
            ],
        ),
        of(ended(40_001, "job"), &[(GONE, vec![row(call("openat"), 950, 3_300)])]),
        of(process(612, "cron"), &[(UNKNOWN, vec![row(call("poll"), 1, 1)])]),
        of(
            Arc::new(Process::nobody(ENDED_COMM)),
            &[
                (GONE, vec![row(call("openat"), 50, 3_300)]),
                (NO_CGROUP, vec![row(call("execve"), 2, 5_000)]),
            ],
        ),
    ];
    let all = |row: &ProcessRow| (Arc::clone(&row.process), row.calls.to_vec());
    let mut snapshot = fixtures::snapshot(9, rows.iter().map(all).collect());
    snapshot.processes = rows;
    snapshot.cgroups = Arc::new(cgroups());
    snapshot
}

/// The live view with calls that wait by nature.
fn app() -> App {
    let mut app = App::new(Duration::from_secs(1), SortKey::Total, "");
    app.fit(20);
    app.update(host());
    press(&mut app, "w");
    app
}

/// `<` is Esc.
fn press(app: &mut App, keys: &str) {
    for c in keys.chars() {
        let code = match c {
            '\n' => KeyCode::Enter,
            '<' => KeyCode::Esc,
            c => KeyCode::Char(c),
        };
        app.on_key(KeyEvent::new(code, KeyModifiers::NONE));
    }
}

fn titles(app: &App) -> Vec<String> {
    let titles = app.trail().titles();
    titles.collect()
}

/// The titles of the rows and their calls, in order.
fn listed(app: &App) -> Vec<(String, u64)> {
    let row = |&item: &_| Row::of(app.shown().unwrap(), item, app.selection());
    let title = |row: &Row<'_>| match (row.key, row.owner) {
        (Some(key), _) => crate::names::syscalls::name(key).to_owned(),
        (None, owner) => owner.unwrap().title(),
    };
    app.items().iter().map(row).map(|row| (title(&row), row.sum(|f| f.calls))).collect()
}

fn strings(rows: &[(&str, u64)]) -> Vec<(String, u64)> {
    rows.iter().map(|&(name, calls)| (name.to_owned(), calls)).collect()
}

fn screen(app: &mut App, width: u16, height: u16) -> String {
    draw(app, width, height, FULL).to_string()
}

#[test]
fn the_key_goes_through_all_sites_and_back() {
    let mut app = app();
    for dimension in DIMENSIONS {
        press(&mut app, "B");
        assert_eq!(app.place().view, View::Sites(dimension));
    }
    press(&mut app, "B");
    assert_eq!(app.place().view, View::Processes(None));
    press(&mut app, "HBBBBB");
    assert_eq!(app.place().view, View::Threads(None), "as before");
    // In a list of syscalls, the key means nothing.
    press(&mut app, "2B");
    assert_eq!(app.place().view, View::Calls);
}

#[test]
fn each_call_is_in_the_site_where_it_entered() {
    let mut app = app();
    press(&mut app, "B");
    let expected = [("database", 42), ("web", 13_130), ("job", 1_000), ("no container", 1 + 4 + 2)];
    assert_eq!(listed(&app), strings(&expected));
    press(&mut app, "B");
    assert_eq!(listed(&app).len(), 2, "{:?}", listed(&app));
    press(&mut app, "B");
    let units: Vec<_> = listed(&app).into_iter().map(|(name, _)| name).collect();
    assert!(units.contains(&"ssh.service".into()) && units.contains(&"no unit".into()));
    press(&mut app, "B");
    let cgroups = listed(&app);
    assert!(cgroups.contains(&(format!("{}/inner", docker('a')), 100)), "{cgroups:?}");
    assert!(cgroups.contains(&(format!("(cgroup {UNKNOWN})"), 1)), "{cgroups:?}");
}

/// No call is in two rows, and none is missing, whatever is opened.
#[test]
fn every_list_of_sites_has_the_same_sum() {
    let snapshot = host();
    for span in [Span::Recent, Span::Total] {
        let selection = Selection { span, waits: true };
        let total: u64 = snapshot.calls.iter().map(|row| span.of(row).calls).sum();
        for keys in ["B", "BB", "BBB", "BBBB"] {
            let mut app = app();
            press(&mut app, if span == Span::Total { "t" } else { "" });
            press(&mut app, keys);
            let sum = |app: &App| -> u64 {
                let all = rows::all(app.shown().unwrap(), &app.place().view, selection);
                let row = |item| Row::of(app.shown().unwrap(), item, selection);
                all.into_iter().map(|item| row(item).sum(|f| f.calls)).sum()
            };
            assert_eq!(sum(&app), total, "{keys} {span:?}");
            let sites = listed(&app);
            let mut of_processes = 0;
            for (at, (site, calls)) in sites.iter().enumerate() {
                press(&mut app, "g");
                press(&mut app, &"j".repeat(at));
                for (key, view) in [("\n", "processes"), ("\nH", "threads"), ("y", "calls")] {
                    press(&mut app, key);
                    assert_eq!(sum(&app), *calls, "{view} of {site} {span:?}");
                    if view == "processes" {
                        of_processes += sum(&app);
                    }
                    press(&mut app, if view == "threads" { "H<" } else { "<" });
                }
            }
            assert_eq!(of_processes, total, "{keys} {span:?}");
        }
    }
}

#[test]
fn a_container_opens_to_processes_calls_and_latencies_of_its_own() {
    let mut app = app();
    press(&mut app, "Bj");
    press(&mut app, "\n");
    assert_eq!(titles(&app), ["Containers", "web"]);
    assert_eq!(listed(&app), strings(&[("nginx (1234)", 13_100), ("bash (3050)", 30)]));
    press(&mut app, "\n");
    assert_eq!(titles(&app), ["Containers", "web", "nginx (1234)"]);
    assert_eq!(listed(&app), strings(&[("write", 6_000), ("read", 7_100)]));
    press(&mut app, "<j\n");
    // Not the calls that the shell made before it came.
    assert_eq!(listed(&app), strings(&[("clone", 30)]));
    press(&mut app, "\n");
    let View::Latency(subject) = app.place().view.clone() else { panic!("latencies") };
    assert_eq!(subject.title(), "clone by bash (3050) in web");
    let figures = subject.figures(app.shown().unwrap(), app.selection());
    assert_eq!((figures.calls, figures.denied), (30, 5));
    press(&mut app, "<C");
    assert!(matches!(app.place().view, View::Sets(SetsBy::Category, Some(_))));
    press(&mut app, "<h");
    let View::Latency(subject) = app.place().view.clone() else { panic!("latencies") };
    assert_eq!(subject.title(), "all syscalls of bash (3050) in web");
    press(&mut app, "<<");
    assert_eq!(app.place().view, View::Sites(Dimension::Container));
    assert_eq!(app.place().cursor(), 1, "on the row that was opened");
}

#[test]
fn all_calls_of_a_container_have_a_list_and_latencies() {
    let mut app = app();
    press(&mut app, "Bjy");
    assert_eq!(titles(&app), ["Containers", "web"]);
    assert_eq!(listed(&app), strings(&[("write", 6_000), ("read", 7_100), ("clone", 30)]));
    press(&mut app, "\n");
    let View::Latency(subject) = app.place().view.clone() else { panic!("latencies") };
    assert_eq!(subject.title(), "write by container web");
    press(&mut app, "<<h");
    let View::Latency(subject) = app.place().view.clone() else { panic!("latencies") };
    assert_eq!(subject.title(), "all syscalls of container web");
    assert_eq!(subject.figures(app.shown().unwrap(), app.selection()).calls, 13_130);
}

/// A snapshot a second later, in which only a database makes calls.
fn later(intervals: &mut Intervals) -> Snapshot {
    let mut next = host();
    next.window += Duration::from_secs(1);
    next.processes.retain(|row| row.process.tgid != Some(40_001));
    let ended = next.processes.last_mut().expect("the ended");
    let first = |rows: &mut Arc<Vec<CallRow>>, more: u64| {
        Arc::make_mut(rows)[0].total.calls += more;
        Arc::make_mut(rows)[0].total.returned += more;
    };
    // The job has left the list.
    first(&mut ended.cgroups[0].calls, 9_500);
    first(&mut ended.calls, 0);
    let calls = super::groups::sum(ended.cgroups.iter().map(|part| &part.calls[..]));
    ended.calls = Arc::new(calls);
    let database = (next.processes.iter_mut())
        .find(|row| row.process.tgid == Some(2001))
        .expect("the database");
    first(&mut database.calls, 7);
    intervals.end_with(next)
}

#[test]
fn a_removed_container_is_shown_while_it_has_calls_and_since_the_start() {
    let mut intervals = Intervals::default();
    let mut app = App::new(Duration::from_secs(1), SortKey::Calls, "");
    app.update(intervals.end_with(host()));
    press(&mut app, "wB");
    assert!(listed(&app).contains(&("job".into(), 10_000)), "{:?}", listed(&app));
    assert!(screen(&mut app, 100, 16).contains("job (removed)"));
    // It is opened, and stays open.
    press(&mut app, "/job\n\n");
    app.update(later(&mut intervals));
    assert_eq!((titles(&app), listed(&app).len()), (vec!["Containers".into(), "job".into()], 0));
    press(&mut app, "<");
    assert_eq!(listed(&app), []);
    press(&mut app, "<");
    let names: Vec<_> = listed(&app).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names[..1], ["database"]);
    assert!(!names.contains(&"job".into()) && names.contains(&"web".into()), "{names:?}");
    press(&mut app, "t");
    assert!(listed(&app).contains(&("job".into(), 10_000)), "{:?}", listed(&app));
    // Its calls, although no process of it is left.
    press(&mut app, "/job\n");
    press(&mut app, "y");
    assert_eq!(listed(&app), strings(&[("openat", 10_000)]));
    press(&mut app, "t");
    assert_eq!(app.since_start(), Some(SinceStart::Removed));
    assert_eq!(listed(&app), strings(&[("openat", 10_000)]));
}

#[test]
fn a_filter_finds_ids_and_paths() {
    let mut app = app();
    press(&mut app, "B/aaaa");
    assert_eq!(listed(&app), strings(&[("web", 13_130)]));
}

#[test]
fn a_sort_and_a_filter_are_kept() {
    let mut app = app();
    press(&mut app, "B");
    let left = KeyEvent::new(KeyCode::Left, KeyModifiers::NONE);
    (0..9).for_each(|_| _ = app.on_key(left));
    assert_eq!(app.place().sort.column, Column::Container);
    let names: Vec<_> = listed(&app).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["no container", "database", "job", "web"]);
    press(&mut app, "BB");
    assert_eq!(app.place().sort.column, Column::Unit);
    press(&mut app, "BB");
    assert_eq!(app.place().sort.column, Column::Comm);
}

#[test]
fn it_can_begin_with_containers_and_their_threads() {
    let mut app = App::new(Duration::from_secs(1), SortKey::Errors, "");
    app.begin_with_threads(true);
    app.begin_with_sites(Some(Dimension::Container));
    app.update(host());
    assert_eq!(
        (app.tab(), &app.place().view),
        (Tab::Processes, &View::Sites(Dimension::Container))
    );
    assert_eq!((app.place().sort.column, app.detail()), (Column::Errors, Detail::Processes));
    press(&mut app, "w\n");
    assert!(matches!(app.place().view, View::Threads(Some(_))));
    assert_eq!(app.detail(), Detail::Threads);
}

#[test]
fn without_cgroups_the_lists_say_why() {
    let mut app = App::new(Duration::from_secs(1), SortKey::Total, "");
    let why = "this kernel has no cgroups; the profiler requires CONFIG_CGROUPS=y";
    app.set_no_sites(Some(why.into()));
    app.update(Snapshot { cgroups: Arc::default(), ..host() });
    press(&mut app, "BBB");
    assert_eq!(listed(&app), []);
    let text = screen(&mut app, 40, 12);
    assert!(text.contains("Calls are not told apart by cgroup: this"), "{text}");
    assert!(text.contains("CONFIG_CGROUPS=y"), "{text}");
    press(&mut app, "BB");
    assert!(!listed(&app).is_empty());
}

#[test]
fn containers_80x16() {
    let mut app = app();
    press(&mut app, "B");
    assert_snapshot!(screen(&mut app, 80, 16));
}

#[test]
fn containers_200x20() {
    let mut app = app();
    press(&mut app, "Bt");
    assert_snapshot!(screen(&mut app, 200, 20));
}

#[test]
fn containers_40x10_ascii() {
    let mut app = app();
    press(&mut app, "B");
    let drawn = draw(&mut app, 40, 10, PLAIN);
    assert!(drawn.to_string().is_ascii());
    let cells = drawn.buffer().content();
    assert!(cells.iter().all(|cell| cell.fg == Color::Reset && cell.bg == Color::Reset));
    assert_snapshot!(drawn);
}

#[test]
fn calls_of_a_process_in_a_container_100x12() {
    let mut app = app();
    press(&mut app, "Bj\nj\n");
    assert_snapshot!(screen(&mut app, 100, 12));
}
