//! The list of threads: what `H` shows, and how threads come and go in it.

use std::{sync::Arc, time::Duration};

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use insta::assert_snapshot;

use super::{
    columns::Column,
    fixtures::{self, call, process, row},
    groups::{Groups, Wanted},
    owner::{Owner, Part},
    rows::Row,
    screens::{self, FULL},
    state::{Action, App},
    view::{SinceStart, Tab, View},
};
use crate::{
    engine::Intervals,
    model::{CallRow, Detail, Process, Snapshot, SortKey, Span, ThreadRow},
};

fn press(app: &mut App, keys: &str) {
    for c in keys.chars() {
        let code = if c == '\n' { KeyCode::Enter } else { KeyCode::Char(c) };
        app.on_key(KeyEvent::new(code, KeyModifiers::NONE));
    }
}

/// The live view with threads, and with calls that wait by nature.
fn app() -> App {
    let mut app = App::new(Duration::from_secs(1), SortKey::Total, "");
    app.fit(20);
    app.update(fixtures::threaded_host());
    press(&mut app, "wH");
    app
}

/// The titles of the rows, in order.
fn listed(app: &App) -> Vec<String> {
    let shown = app.shown().unwrap();
    let title = |&item: &_| Row::of(shown, item, app.selection()).owner.unwrap().title();
    app.items().iter().map(title).collect()
}

fn screen(app: &mut App, width: u16, height: u16) -> String {
    screens::draw(app, width, height, FULL).to_string()
}

/// The titles of the rows of threads, and how many threads each stands for.
fn titles(groups: &Groups) -> Vec<(String, usize)> {
    let mut titles: Vec<_> =
        groups.threads(None).map(|(_, group)| (group.owner.title(), group.members)).collect();
    titles.sort();
    titles
}

fn sum<'a>(rows: impl Iterator<Item = &'a Arc<Vec<CallRow>>>, span: Span) -> (u64, u64) {
    rows.flat_map(|calls| calls.iter()).fold((0, 0), |(calls, ns), row| {
        let figures = span.of(row);
        (calls + figures.calls, ns + figures.total_ns)
    })
}

fn assert_sums_are_equal(snapshot: &Snapshot) {
    for span in [Span::Recent, Span::Total] {
        let groups = Groups::new(snapshot, span, &Wanted::default(), &Groups::default());
        let of_threads = sum(groups.threads(None).map(|(_, group)| &group.calls), span);
        let of_processes = sum(groups.listed().iter().map(|group| &group.calls), span);
        assert_eq!(of_threads, of_processes, "{span:?}");
    }
}

/// A process with threads that live, that ended in the interval, and that ended before.
fn pool() -> Snapshot {
    let mut old = row(call("read"), 5, 100);
    old.recent = Default::default();
    let names = ["read", "write", "openat", "fsync", "execve"];
    let calls = names.map(|name| row(call(name), 10, 100)).to_vec();
    let mut snapshot = fixtures::snapshot(9, vec![(process(10, "pool"), calls)]);
    let pool = &mut snapshot.processes[0];
    fixtures::add_threads(
        pool,
        &[
            (10, "pool", false),
            (11, "job", true),
            (12, "job", true),
            (13, "once", true),
            (14, "idle", false),
        ],
    );
    // All calls of the interval are of the other threads.
    pool.threads.push(ThreadRow::new(None, Arc::new(vec![old.clone()])));
    let calls = Arc::make_mut(&mut pool.calls);
    calls[0].total.merge(&old.total);
    snapshot
}

#[test]
fn rows_by_thread_sum_up_to_the_rows_by_process() {
    assert_sums_are_equal(&fixtures::threaded_host());
    assert_sums_are_equal(&pool());
    assert_sums_are_equal(&fixtures::busy_host());
}

#[test]
fn ended_threads_share_a_row_by_name_and_fade() {
    let groups = Groups::new(&pool(), Span::Recent, &Wanted::default(), &Groups::default());
    let of = |title: &str, members| (title.to_owned(), members);
    assert_eq!(
        titles(&groups),
        [
            of("ended threads job of pool (10)", 2),
            of("thread idle (14) of pool (10)", 1),
            of("thread once (13) of pool (10)", 1),
            of("thread pool (10) of pool (10)", 1),
        ]
    );
    let groups = Groups::new(&pool(), Span::Total, &Wanted::default(), &Groups::default());
    assert_eq!(
        titles(&groups),
        [
            of("ended threads of pool (10)", 0),
            of("thread idle (14) of pool (10)", 1),
            of("thread pool (10) of pool (10)", 1),
        ]
    );
    // In the next interval, the threads that have ended are idle.
    let mut later = pool();
    for thread in &mut later.processes[0].threads {
        Arc::make_mut(&mut thread.calls).iter_mut().for_each(|row| row.recent = Default::default());
    }
    let calls = Arc::make_mut(&mut later.processes[0].calls);
    calls.iter_mut().for_each(|row| row.recent = Default::default());
    let groups = Groups::new(&later, Span::Recent, &Wanted::default(), &Groups::default());
    assert_eq!(groups.threads(None).count(), 2);
}

/// The snapshot in which threads are requested does not know which thread made the calls of its
/// interval.
#[test]
fn a_process_whose_threads_are_not_known_yet_has_one_row() {
    let mut snapshot = fixtures::threaded_host();
    for thread in snapshot.processes.iter_mut().flat_map(|row| &mut row.threads) {
        Arc::make_mut(&mut thread.calls).iter_mut().for_each(|row| row.recent = Default::default());
    }
    let groups = Groups::new(&snapshot, Span::Recent, &Wanted::default(), &Groups::default());
    assert!(groups.threads(None).all(|(_, group)| group.owner.part == Part::Whole));
    assert_sums_are_equal(&snapshot);
}

#[test]
fn capital_h_shows_threads_and_processes_again() {
    let mut app = app();
    assert_eq!((&app.place().view, app.detail()), (&View::Threads(None), Detail::Threads));
    assert_eq!(
        listed(&app),
        [
            "thread nginx (1234) of nginx (1234)",
            "bash (3050)",
            "thread postgres (2001) of postgres (2001)",
            "thread cache (1236) of nginx (1234)",
            "cc1plus (40001)",
            "thread worker (1235) of nginx (1234)",
            "(overflow)",
            "wine-preloader (31337)",
            "thread checkpointer (2003) of postgres (2001)",
            "cron (612)",
        ]
    );
    press(&mut app, "H");
    assert_eq!((&app.place().view, app.detail()), (&View::Processes(None), Detail::Processes));
    // Elsewhere it does nothing.
    for keys in ["2", "i", "1\n"] {
        press(&mut app, keys);
        let key = KeyEvent::new(KeyCode::Char('H'), KeyModifiers::NONE);
        assert_eq!(app.on_key(key), Action::Nothing, "{keys:?}");
    }
}

#[test]
fn the_filter_finds_threads_by_name_and_id_and_by_process() {
    for (filter, rows) in [("worker", 1), ("1236", 1), ("1234", 3), ("NGINX", 3), ("2003", 1)] {
        let mut app = app();
        press(&mut app, &format!("/{filter}\n"));
        assert_eq!(app.items().len(), rows, "{filter}");
        press(&mut app, "H");
        assert_eq!(app.place().filter, filter, "kept in the other list");
    }
}

#[test]
fn the_sort_by_name_is_that_of_the_thread() {
    let mut app = app();
    while app.place().sort.column != Column::Thread {
        press(&mut app, "<");
    }
    let first = listed(&app).into_iter().find(|title| title.starts_with("thread"));
    assert_eq!(first.as_deref(), Some("thread cache (1236) of nginx (1234)"));
    press(&mut app, "H");
    assert_eq!(app.place().sort.column, Column::Comm);
}

#[test]
fn an_opened_thread_has_its_own_calls_and_is_found_after_it_ended() {
    let mut app = app();
    press(&mut app, "/worker\n\n");
    let View::CallsOf(owner) = app.place().view.clone() else { panic!("calls of a thread") };
    assert_eq!(owner.title(), "thread worker (1235) of nginx (1234)");
    let calls = |app: &App| {
        let shown = app.shown().unwrap();
        let rows = app.items().iter().map(|&item| Row::of(shown, item, app.selection()).key);
        let mut keys: Vec<_> = rows.map(Option::unwrap).collect();
        keys.sort();
        keys
    };
    // Every third call of nginx, from the second on.
    assert_eq!(calls(&app), [call("read"), call("accept4")]);
    assert_eq!(app.since_start(), None);
    let mut later = fixtures::threaded_host();
    let nginx = later.processes.iter_mut().find(|row| row.process.tgid == Some(1234)).unwrap();
    let worker = nginx.threads.remove(1);
    nginx.threads.push(ThreadRow { thread: None, ..worker });
    app.update(later);
    assert_eq!(calls(&app), [call("read"), call("accept4")]);
    assert_eq!(app.since_start(), Some(SinceStart::Ended));
    // Its latencies.
    press(&mut app, "\n");
    let View::Latency(subject) = &app.place().view else { panic!("latencies") };
    assert_eq!(subject.owner.as_ref().map(Owner::id), Some(owner.id()));
}

#[test]
fn the_mark_follows_a_thread_whose_id_is_that_of_an_ended_one() {
    let mut app = app();
    press(&mut app, "jjjjjF");
    let title = "thread worker (1235) of nginx (1234)";
    assert_eq!(listed(&app)[app.place().cursor()], title);
    press(&mut app, "r");
    assert_eq!(listed(&app)[app.place().cursor()], title);
    let ids = |owner: &Owner, serial| {
        let mut other = owner.clone();
        let Part::Thread(thread) = &mut other.part else { panic!("a thread") };
        Arc::make_mut(thread).serial = serial;
        other.id()
    };
    let item = app.items()[app.place().cursor()];
    let owner = Row::of(app.shown().unwrap(), item, app.selection()).owner.unwrap();
    assert_eq!(owner.id(), ids(owner, 1235));
    assert_ne!(owner.id(), ids(owner, 9_999));
}

#[test]
fn the_screen_lists_threads() {
    let mut app = app();
    assert_eq!(app.tab(), Tab::Processes);
    assert_snapshot!("threads", screen(&mut app, 110, 20));
    assert_snapshot!("threads_narrow", screen(&mut app, 80, 20));
    press(&mut app, "/worker\n\n");
    assert_snapshot!("calls_of_a_thread", screen(&mut app, 110, 12));
    let mut pooled = App::new(Duration::from_secs(1), SortKey::Total, "");
    pooled.begin_with_threads(true);
    pooled.update(pool());
    assert_snapshot!("ended_threads", screen(&mut pooled, 110, 14));
}

#[test]
fn a_row_without_a_process_is_in_the_list_of_threads_too() {
    let overflow = Owner::from(Arc::new(Process::nobody("(overflow)")));
    let groups = Groups::new(
        &fixtures::threaded_host(),
        Span::Recent,
        &Wanted::default(),
        &Groups::default(),
    );
    assert!(groups.threads(None).any(|(_, group)| group.owner.id() == overflow.id()));
}

/// Off and on between two refreshes: the engine numbers the threads anew, maybe in another order.
#[test]
fn threads_that_are_listed_again_are_not_compared_with_others() {
    // As an engine has them.
    let by_key = |mut host: Snapshot| {
        let sort = |calls: &mut Vec<CallRow>| calls.sort_by_key(|row| row.key);
        sort(&mut host.calls);
        for row in &mut host.processes {
            sort(Arc::make_mut(&mut row.calls));
            row.threads.iter_mut().for_each(|thread| sort(Arc::make_mut(&mut thread.calls)));
        }
        host
    };
    let mut intervals = Intervals::default();
    intervals.end_with(by_key(fixtures::threaded_host()));
    intervals.forget_threads();
    let mut again = by_key(fixtures::threaded_host());
    let nginx = again.processes.iter_mut().find(|row| row.process.tgid == Some(1234)).unwrap();
    for (row, serial) in nginx.threads.iter_mut().zip([1235, 1234, 1236]) {
        Arc::make_mut(row.thread.as_mut().unwrap()).serial = serial;
    }
    let again = intervals.end_with(again);
    let recent =
        sum(again.processes.iter().flat_map(|row| &row.threads).map(|t| &t.calls), Span::Recent);
    assert_eq!(recent, (0, 0));
    assert_sums_are_equal(&again);
}
