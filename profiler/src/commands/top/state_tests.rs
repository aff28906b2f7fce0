//! Keys and snapshots, and exactly what they change.

use std::{sync::Arc, time::Duration};

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::{
    columns::Column,
    fixtures::{self, call, process, row},
    rows::Row,
    state::{Action, App},
    view::{Selection, Subject, Tab, View},
};
use crate::model::{Snapshot, SortKey, Span};

/// What the third tab begins with.
const IN_FLIGHT: View = View::InFlight;

/// The live view with calls that wait by nature.
pub(super) fn app() -> App {
    let mut app = app_without_waits();
    type_keys(&mut app, "w");
    app
}

/// The live view as it begins.
pub(super) fn app_without_waits() -> App {
    let mut app = App::new(Duration::from_secs(1), SortKey::Total, "");
    app.fit(20);
    app.update(fixtures::busy_host());
    app
}

pub(super) fn press(app: &mut App, code: KeyCode) -> Action {
    app.on_key(KeyEvent::new(code, KeyModifiers::NONE))
}

fn with_ctrl(app: &mut App, c: char) -> Action {
    app.on_key(KeyEvent::new(KeyCode::Char(c), KeyModifiers::CONTROL))
}

pub(super) fn type_keys(app: &mut App, text: &str) {
    for c in text.chars() {
        press(app, KeyCode::Char(c));
    }
}

/// The rows by name, in order.
pub(super) fn listed(app: &App) -> Vec<String> {
    let shown = app.shown().unwrap();
    let name = |&item: &_| {
        let row = Row::of(shown, item, app.selection());
        match (&app.place().view, row.key) {
            (View::Processes(_) | View::CallersOf(_), _) => row.process.unwrap().comm.to_string(),
            (_, Some(key)) => crate::names::syscalls::name_with_abi(key),
            (_, None) => unreachable!("a list of calls"),
        }
    };
    app.items().iter().map(name).collect()
}

pub(super) fn selected(app: &App) -> String {
    listed(app)[app.place().cursor()].clone()
}

const BY_TIME: [&str; 7] =
    ["nginx", "bash", "postgres", "cc1plus", "(overflow)", "wine-preloader", "cron"];

#[test]
fn processes_come_first_by_time() {
    let app = app();
    assert_eq!((app.tab(), app.place().sort.column), (Tab::Processes, Column::Time));
    assert_eq!(listed(&app), BY_TIME);
    assert_eq!(app.span(), Span::Recent);
}

#[test]
fn tab_and_digits_switch_views() {
    let mut app = app();
    let views = [View::Calls, IN_FLIGHT, View::Operations, View::Processes(None)].map(|view| {
        press(&mut app, KeyCode::Tab);
        (app.place().view == view, view)
    });
    assert!(views.iter().all(|(there, _)| *there), "{views:?}");
    press(&mut app, KeyCode::BackTab);
    assert_eq!(app.place().view, View::Operations);
    press(&mut app, KeyCode::BackTab);
    assert_eq!(app.place().view, IN_FLIGHT);
    press(&mut app, KeyCode::Char('2'));
    assert_eq!(app.place().view, View::Calls);
    assert_eq!(listed(&app)[..3], ["epoll_wait", "read", "fsync"]);
}

#[test]
fn calls_in_flight_come_by_concern_and_those_that_wait_when_asked_for() {
    let mut app = app_without_waits();
    app.update(fixtures::stuck_host());
    press(&mut app, KeyCode::Char('i'));
    assert_eq!((app.tab(), app.place().sort.column), (Tab::InFlight, Column::Kind));
    let concern = ["fsync", "sendfile", "openat", "read", "ioctl"];
    assert_eq!(listed(&app), concern);
    press(&mut app, KeyCode::Char('w'));
    let waiting = ["futex", "epoll_wait", "epoll_wait", "epoll_wait"];
    assert_eq!(listed(&app), [&concern[..], &waiting[..]].concat());
    // By age alone where one wants that.
    for _ in 0..5 {
        press(&mut app, KeyCode::Left);
    }
    assert_eq!(app.place().sort.column, Column::Age);
    assert_eq!(listed(&app)[..4], ["read", "futex", "fsync", "epoll_wait"]);
    press(&mut app, KeyCode::Char('w'));
    assert_eq!(listed(&app)[..3], ["read", "fsync", "sendfile"]);
}

#[test]
fn a_tab_remembers_where_one_was_and_its_digit_goes_to_its_root() {
    let mut app = app();
    press(&mut app, KeyCode::Enter);
    let nginx = app.place().view.clone();
    press(&mut app, KeyCode::Char('2'));
    press(&mut app, KeyCode::Char('1'));
    assert_eq!(app.place().view, nginx);
    press(&mut app, KeyCode::Char('1'));
    assert_eq!(app.place().view, View::Processes(None));
}

#[test]
fn sorting_moves_over_the_columns_and_stops_at_the_ends() {
    let mut app = app();
    press(&mut app, KeyCode::Char('<'));
    assert_eq!(app.place().sort.column, Column::Errors);
    assert_eq!(listed(&app)[..2], ["nginx", "bash"]);
    press(&mut app, KeyCode::Left);
    assert_eq!(app.place().sort.column, Column::Calls);
    assert_eq!(listed(&app)[..3], ["nginx", "cc1plus", "postgres"]);
    press(&mut app, KeyCode::Left);
    assert_eq!(app.place().sort.column, Column::Comm);
    let by_name = ["(overflow)", "bash", "cc1plus", "cron", "nginx", "postgres", "wine-preloader"];
    assert_eq!(listed(&app), by_name);
    press(&mut app, KeyCode::Left);
    assert_eq!(app.place().sort.column, Column::Pid);
    assert_eq!(listed(&app)[0], "(overflow)");
    assert_eq!(press(&mut app, KeyCode::Left), Action::Nothing);
    assert_eq!(app.place().sort.column, Column::Pid);
    for _ in 0..20 {
        press(&mut app, KeyCode::Right);
    }
    assert_eq!(app.place().sort.column, Column::TopCall);
}

#[test]
fn sorting_by_a_quantile_goes_by_the_quantile() {
    let mut app = App::new(Duration::from_secs(1), SortKey::P99, "");
    app.begin_with_waits(true);
    app.update(fixtures::busy_host());
    assert_eq!(app.place().sort.column, Column::P99);
    let snapshot = fixtures::busy_host();
    let p99 = |comm: &str| {
        let row = snapshot.processes.iter().find(|row| row.process.comm.raw() == comm).unwrap();
        let [p99] = row.recent().quantiles([0.99]);
        p99
    };
    let values: Vec<u64> = listed(&app).iter().map(|comm| p99(comm)).collect();
    assert!(values.is_sorted_by(|a, b| a >= b), "{values:?}");
    assert!(values[0] > values[1]);
}

#[test]
fn r_reverses_the_order_and_only_that() {
    let mut app = app();
    press(&mut app, KeyCode::Char('r'));
    let mut reversed = BY_TIME;
    reversed.reverse();
    assert_eq!(listed(&app), reversed);
    press(&mut app, KeyCode::Char('r'));
    assert_eq!(listed(&app), BY_TIME);
}

#[test]
fn the_filter_works_while_it_is_typed() {
    let mut app = app();
    press(&mut app, KeyCode::Char('/'));
    type_keys(&mut app, "R");
    assert_eq!(listed(&app), ["postgres", "(overflow)", "wine-preloader", "cron"]);
    // Keys are text now, not commands.
    type_keys(&mut app, "e");
    assert_eq!(listed(&app), ["postgres", "wine-preloader"]);
    press(&mut app, KeyCode::Backspace);
    assert_eq!(app.place().filter, "R");
    with_ctrl(&mut app, 'u');
    assert_eq!((app.place().filter.as_str(), listed(&app).len()), ("", 7));
    type_keys(&mut app, "q2");
    assert!(app.editing_filter());
    assert!(listed(&app).is_empty());
}

#[test]
fn a_filter_is_kept_by_enter_and_cleared_by_esc() {
    let mut app = app();
    type_keys(&mut app, "/2001");
    press(&mut app, KeyCode::Enter);
    assert_eq!((app.editing_filter(), listed(&app)), (false, vec!["postgres".to_owned()]));
    // The other tab has its own filter.
    press(&mut app, KeyCode::Tab);
    assert_eq!(app.place().filter, "");
    press(&mut app, KeyCode::BackTab);
    press(&mut app, KeyCode::Esc);
    assert_eq!(listed(&app), BY_TIME);
    type_keys(&mut app, "/x");
    press(&mut app, KeyCode::Esc);
    assert_eq!((app.editing_filter(), app.place().filter.as_str()), (false, ""));
}

#[test]
fn the_first_filter_applies_to_every_tab() {
    let mut app = App::new(Duration::from_secs(1), SortKey::Calls, "re");
    app.update(fixtures::busy_host());
    assert_eq!(listed(&app), ["postgres", "wine-preloader"]);
    press(&mut app, KeyCode::Tab);
    assert_eq!(listed(&app), ["read"]);
}

#[test]
fn from_a_process_to_its_calls_to_their_latencies_and_back() {
    let mut app = app();
    press(&mut app, KeyCode::Enter);
    assert_eq!(listed(&app), ["epoll_wait", "sendfile", "write", "read", "accept4"]);
    press(&mut app, KeyCode::Down);
    press(&mut app, KeyCode::Enter);
    let nginx = process(1234, "nginx");
    let subject =
        Subject { owner: Some(nginx.clone().into()), call: Some(call("sendfile")), set: None };
    assert_eq!(app.place().view, View::Latency(subject));
    assert_eq!(press(&mut app, KeyCode::Enter), Action::Nothing);
    press(&mut app, KeyCode::Esc);
    assert_eq!(app.place().view, View::CallsOf(nginx.into()));
    assert_eq!(selected(&app), "sendfile");
    press(&mut app, KeyCode::Esc);
    assert_eq!(app.place().view, View::Processes(None));
    assert_eq!(press(&mut app, KeyCode::Esc), Action::Nothing);
}

#[test]
fn from_a_call_to_its_callers_to_their_latencies() {
    let mut app = app();
    press(&mut app, KeyCode::Char('2'));
    press(&mut app, KeyCode::Down);
    assert_eq!(selected(&app), "read");
    press(&mut app, KeyCode::Enter);
    assert_eq!(listed(&app), ["bash", "nginx", "postgres"]);
    press(&mut app, KeyCode::End);
    press(&mut app, KeyCode::Enter);
    let owner = Some(process(2001, "postgres").into());
    let subject = Subject { owner, call: Some(call("read")), set: None };
    assert_eq!(app.place().view, View::Latency(subject));
}

#[test]
fn h_shows_the_latencies_of_a_whole_row() {
    let mut app = app();
    press(&mut app, KeyCode::Char('h'));
    let all_of_nginx =
        Subject { owner: Some(process(1234, "nginx").into()), call: None, set: None };
    assert_eq!(app.place().view, View::Latency(all_of_nginx.clone()));
    let snapshot = fixtures::busy_host();
    let figures = |subject: &Subject, app: &App, span| {
        subject.figures(app.shown().unwrap(), Selection { span, waits: true })
    };
    assert_eq!(figures(&all_of_nginx, &app, Span::Recent), snapshot.processes[0].recent());
    press(&mut app, KeyCode::Char('2'));
    press(&mut app, KeyCode::Char('h'));
    let by_all = Subject { owner: None, call: Some(call("epoll_wait")), set: None };
    assert_eq!(app.place().view, View::Latency(by_all.clone()));
    assert_eq!(figures(&by_all, &app, Span::Total), snapshot.calls[0].total);
}

/// `busy_host` with other calls at the top.
pub(super) fn later() -> Snapshot {
    let mut snapshot = fixtures::busy_host();
    snapshot.sequence += 1;
    let cron = &mut Arc::make_mut(&mut snapshot.processes[4].calls)[0];
    *cron = row(call("poll"), 500_000, 1_000_000);
    snapshot
}

#[test]
fn keys_move_the_selection_within_the_list() {
    let mut app = app();
    app.fit(3);
    let cursor = |app: &mut App, code| {
        press(app, code);
        (app.place().cursor(), app.place().first())
    };
    assert_eq!(cursor(&mut app, KeyCode::Up), (0, 0));
    assert_eq!(cursor(&mut app, KeyCode::PageDown), (3, 1));
    assert_eq!(cursor(&mut app, KeyCode::PageDown), (6, 4));
    assert_eq!(cursor(&mut app, KeyCode::PageDown), (6, 4));
    assert_eq!(cursor(&mut app, KeyCode::Char('k')), (5, 4));
    assert_eq!(cursor(&mut app, KeyCode::PageUp), (2, 2));
    assert_eq!(cursor(&mut app, KeyCode::Home), (0, 0));
    assert_eq!(cursor(&mut app, KeyCode::End), (6, 4));
    // More room: no empty rows at the end while there are others above.
    app.fit(5);
    assert_eq!(app.place().first(), 2);
}

#[test]
fn a_pause_freezes_the_screen_and_its_end_shows_the_latest() {
    let mut app = app();
    press(&mut app, KeyCode::Char('p'));
    app.update(later());
    assert!(app.paused());
    assert_eq!(listed(&app), BY_TIME);
    assert_eq!(app.shown().unwrap().snapshot.sequence, 125);
    press(&mut app, KeyCode::Char(' '));
    assert!(!app.paused());
    assert_eq!((listed(&app)[0].as_str(), app.shown().unwrap().snapshot.sequence), ("cron", 126));
}

#[test]
fn t_changes_over_which_time_figures_are() {
    let mut app = app();
    let mut snapshot = fixtures::busy_host();
    Arc::make_mut(&mut snapshot.processes[4].calls)[0].total =
        fixtures::figures(1_000_000, 50_000_000);
    app.update(snapshot);
    assert_eq!(listed(&app)[6], "cron");
    press(&mut app, KeyCode::Char('t'));
    assert_eq!((app.span(), listed(&app)[0].as_str()), (Span::Total, "cron"));
    press(&mut app, KeyCode::Char('t'));
    assert_eq!((app.span(), listed(&app)[6].as_str()), (Span::Recent, "cron"));
}

#[test]
fn the_interval_goes_by_steps() {
    let mut app = app();
    press(&mut app, KeyCode::Char('+'));
    assert_eq!(app.interval(), Duration::from_secs(2));
    for _ in 0..10 {
        press(&mut app, KeyCode::Char('-'));
    }
    assert_eq!(app.interval(), Duration::from_millis(200));
    assert_eq!(press(&mut app, KeyCode::Char('-')), Action::Nothing);
}

#[test]
fn keys_that_move_scroll_the_help() {
    let mut app = app();
    press(&mut app, KeyCode::Char('?'));
    let first = |app: &mut App, code| {
        assert_eq!(press(app, code), Action::Redraw);
        assert!(app.help());
        app.fit_help(10, 25)
    };
    assert_eq!(app.fit_help(10, 25), 0);
    assert_eq!(first(&mut app, KeyCode::Down), 1);
    assert_eq!(first(&mut app, KeyCode::PageDown), 11);
    assert_eq!(first(&mut app, KeyCode::PageDown), 15);
    assert_eq!(first(&mut app, KeyCode::Char('k')), 14);
    assert_eq!(first(&mut app, KeyCode::PageUp), 4);
    assert_eq!(first(&mut app, KeyCode::End), 15);
    assert_eq!(first(&mut app, KeyCode::Home), 0);
    // A screen with room for all.
    assert_eq!(app.fit_help(40, 25), 0);
    press(&mut app, KeyCode::End);
    assert_eq!(app.fit_help(40, 25), 0);
    press(&mut app, KeyCode::Esc);
    press(&mut app, KeyCode::F(1));
    assert_eq!(app.fit_help(10, 25), 0, "opened anew, the help begins at its first line");
}

#[test]
fn any_other_key_closes_the_help_and_does_nothing_else() {
    let mut app = app();
    press(&mut app, KeyCode::Char('?'));
    assert!(app.help());
    assert_eq!(press(&mut app, KeyCode::Char('q')), Action::Redraw);
    assert!(!app.help());
    assert_eq!(press(&mut app, KeyCode::Char('q')), Action::Quit);
}

#[test]
fn control_keys_work_everywhere() {
    let mut app = app();
    type_keys(&mut app, "/ngi");
    assert_eq!(with_ctrl(&mut app, 'l'), Action::Repaint);
    assert_eq!(with_ctrl(&mut app, 'z'), Action::Suspend);
    assert_eq!(with_ctrl(&mut app, 'c'), Action::Quit);
    assert_eq!(app.place().filter, "ngi");
}

#[test]
fn own_cost_is_the_time_between_two_snapshots() {
    let mut app = app();
    // Of the first all since it attached: 1.41 s of CPU time in 125 s.
    assert_eq!(app.shown().unwrap().spent.own_cpus(), Some(0.01128));
    let mut next = fixtures::busy_host();
    next.health.cost.elapsed += Duration::from_secs(2);
    next.health.cost.cpu.user += Duration::from_millis(50);
    app.update(next);
    assert_eq!(app.shown().unwrap().spent.own_cpus(), Some(0.025));
}

#[test]
fn keys_before_the_first_drain_find_nothing() {
    let mut app = App::new(Duration::from_secs(1), SortKey::Total, "");
    app.begin_with_waits(true);
    assert_eq!(press(&mut app, KeyCode::Enter), Action::Nothing);
    press(&mut app, KeyCode::Down);
    app.update(fixtures::busy_host());
    assert_eq!(listed(&app), BY_TIME);
}

#[test]
fn the_cost_of_the_programs_is_asked_for_and_no_longer() {
    let mut app = app();
    assert!(!app.times_programs());
    assert_eq!(press(&mut app, KeyCode::Char('c')), Action::TimePrograms(true));
    assert!(app.times_programs());
    assert_eq!(press(&mut app, KeyCode::Char('c')), Action::TimePrograms(false));
    // In a filter it is a letter.
    type_keys(&mut app, "/c");
    assert!(!app.times_programs());
}
