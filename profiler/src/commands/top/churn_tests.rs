//! What the screen does while processes come and go: the mark, the sort, the ended, and the calls
//! that wait by nature.

use crossterm::event::KeyCode;

use super::{
    columns::Column,
    fixtures::{self, call, process, row},
    people::People,
    rows::{Row, Sort},
    state::{Action, App},
    state_tests::{app, app_without_waits, later, listed, press, selected, type_keys},
    style::Look,
    table::List,
    view::{SinceStart, Subject, View},
};
use crate::model::{Figures, Process, ProcessRow, Span};

#[test]
fn w_shows_or_hides_calls_that_wait_in_every_view() {
    let waiting = ["futex", "epoll_wait", "poll"];
    let nginx = process(1234, "nginx");
    let count = |app: &App| {
        let names = listed(app);
        waiting.iter().filter(|name| names.iter().any(|listed| listed == *name)).count()
    };
    // Syscalls, those of a process, and calls in flight.
    for (keys, shown) in [("2", 3), ("\n", 1), ("i", 2)] {
        let mut app = app_without_waits();
        app.update(fixtures::stuck_host());
        type_keys(&mut app, &keys.replace('\n', "/nginx"));
        if keys == "\n" {
            press(&mut app, KeyCode::Enter);
            press(&mut app, KeyCode::Enter);
            assert_eq!(app.place().view, View::CallsOf(nginx.clone().into()));
        }
        assert_eq!((app.waits(), count(&app)), (false, 0), "{keys:?}");
        assert_eq!(press(&mut app, KeyCode::Char('w')), Action::Redraw);
        assert_eq!((app.waits(), count(&app)), (true, shown), "{keys:?}");
        press(&mut app, KeyCode::Char('w'));
        assert_eq!((app.waits(), count(&app)), (false, 0), "{keys:?}");
    }
    // Processes: a row stays, without the time that its calls waited.
    let mut app = app_without_waits();
    let time = |app: &App| {
        let at = listed(app).iter().position(|name| name == "nginx").unwrap();
        Row::of(app.shown().unwrap(), app.items()[at], app.selection()).total_ns()
    };
    let without = time(&app);
    press(&mut app, KeyCode::Char('w'));
    assert!(time(&app) > without);
    // The latencies of a process.
    let subject = Subject { owner: Some(nginx.into()), call: None, set: None };
    let figures = |app: &App| subject.figures(app.shown().unwrap(), app.selection()).calls;
    let with = figures(&app);
    press(&mut app, KeyCode::Char('w'));
    assert_eq!(with - figures(&app), 5_200 + 900);
}

/// A slow fsync is not below calls that are slow by nature.
#[test]
fn a_slow_fsync_is_the_first_row_unless_waits_are_shown() {
    let mut app = app_without_waits();
    let mut host = fixtures::busy_host();
    let mut add = |name, calls, ns| match host.calls.iter_mut().find(|c| c.key == call(name)) {
        Some(found) => *found = row(call(name), calls, ns),
        None => host.calls.push(row(call(name), calls, ns)),
    };
    for name in ["futex", "poll", "epoll_wait", "accept4"] {
        add(name, 50, 900_000_000);
    }
    add("fsync", 40, 30_000_000);
    app.update(host);
    press(&mut app, KeyCode::Char('2'));
    assert_eq!(listed(&app)[0], "fsync");
    press(&mut app, KeyCode::Char('w'));
    assert_eq!(listed(&app)[4], "fsync");
}

#[test]
fn f_follows_the_marked_row_until_one_moves() {
    let mut app = app();
    press(&mut app, KeyCode::Down);
    let name = selected(&app);
    press(&mut app, KeyCode::Char('F'));
    assert!(app.place().follows());
    app.update(later());
    assert_eq!((app.place().cursor(), selected(&app)), (2, name.clone()));
    press(&mut app, KeyCode::Char('r'));
    assert_eq!((app.place().cursor(), selected(&app)), (4, name.clone()));
    press(&mut app, KeyCode::Up);
    assert!(!app.place().follows(), "a move ends it");
    press(&mut app, KeyCode::Char('F'));
    press(&mut app, KeyCode::Char('F'));
    assert!(!app.place().follows(), "and so does the key");
}

#[test]
fn what_is_followed_and_goes_is_followed_no_longer() {
    let mut app = app();
    type_keys(&mut app, "jjF");
    let name = selected(&app);
    let mut without = fixtures::busy_host();
    without.processes.retain(|row| row.process.comm.raw() != name);
    app.update(without);
    assert_eq!((app.place().cursor(), app.place().follows()), (2, false));
}

#[test]
fn only_processes_in_sight_are_looked_up_each_once() {
    let mut app = app();
    app.fit(2);
    let asked = |app: &mut App| -> Vec<String> {
        app.ask().iter().map(|process| process.comm.to_string()).collect()
    };
    assert_eq!(asked(&mut app), listed(&app)[..2]);
    assert!(asked(&mut app).is_empty());
    press(&mut app, KeyCode::End);
    // The last two: one is idle, and both are alive.
    assert_eq!(asked(&mut app), listed(&app)[5..]);
    app.fit(20);
    let rest = asked(&mut app);
    assert!(!rest.iter().any(|name| name == "cc1plus" || name == "(overflow)"), "{rest:?}");
}

#[test]
fn the_sort_chosen_is_kept_on_the_way_in_and_out() {
    let mut app = app();
    press(&mut app, KeyCode::Char('<'));
    press(&mut app, KeyCode::Char('r'));
    let errors = Sort { column: Column::Errors, reversed: true };
    press(&mut app, KeyCode::Enter);
    assert_eq!(app.place().sort, errors);
    press(&mut app, KeyCode::Char('<'));
    let calls = Sort { column: Column::Calls, reversed: false };
    assert_eq!(app.place().sort, calls);
    // Through the latencies, which have no sort.
    press(&mut app, KeyCode::Enter);
    press(&mut app, KeyCode::Esc);
    assert_eq!(app.place().sort, calls);
    press(&mut app, KeyCode::Esc);
    assert_eq!((&app.place().view, app.place().sort), (&View::Processes(None), calls));
    // By name stays by name.
    press(&mut app, KeyCode::Char('<'));
    press(&mut app, KeyCode::Enter);
    assert_eq!(app.place().sort.column, Column::Call);
    // A column that the other list lacks leads to the sort of the start.
    press(&mut app, KeyCode::Char('1'));
    for _ in 0..20 {
        press(&mut app, KeyCode::Right);
    }
    press(&mut app, KeyCode::Enter);
    assert_eq!(app.place().sort.column, Column::Time);
}

/// A fork storm: a thousand processes of one name end in each interval.
#[test]
fn a_fork_storm_leaves_the_screen_to_the_living() {
    let storm = |round: u32| {
        let mut host = fixtures::busy_host();
        let ended = (0..1_000).map(|n| {
            let one = Process::new(50_000 + round * 1_000 + n, 0, "true").into_ended();
            ProcessRow::new(one, vec![row(call("execve"), 1, 300_000)])
        });
        host.processes.extend(ended);
        // Those of the interval before are still listed, and do nothing any more.
        let idle = (0..1_000).map(|n| {
            let one = Process::new(49_000 + round * 1_000 + n, 0, "true").into_ended();
            let mut calls = vec![row(call("execve"), 1, 300_000)];
            calls[0].recent = Figures::default();
            ProcessRow::new(one, calls)
        });
        host.processes.extend(idle);
        host
    };
    let mut app = app();
    for round in 0..3 {
        app.update(storm(round));
        let names = listed(&app);
        assert_eq!(names.len(), 8, "{names:?}");
        assert_eq!(names.iter().filter(|name| *name == "true").count(), 1);
    }
    press(&mut app, KeyCode::Char('t'));
    assert_eq!(listed(&app).iter().filter(|name| *name == "(ended)").count(), 1);
    assert_eq!(listed(&app).len(), 7);
}

#[test]
fn an_idle_or_ended_process_shows_its_figures_since_the_start() {
    let mut app = app();
    press(&mut app, KeyCode::End);
    assert_eq!(selected(&app), "cron");
    press(&mut app, KeyCode::Enter);
    assert_eq!(app.since_start(), Some(SinceStart::Idle));
    assert_eq!((app.span(), app.selection().span), (Span::Recent, Span::Total));
    // Ended, in this interval and after it has left the list.
    let mut app = super::state_tests::app();
    type_keys(&mut app, "/cc1plus");
    press(&mut app, KeyCode::Enter);
    press(&mut app, KeyCode::Enter);
    let calls = |app: &App| {
        let subject = Subject { owner: app.place().view.owner().cloned(), call: None, set: None };
        subject.figures(app.shown().unwrap(), app.selection()).calls
    };
    assert_eq!((app.since_start(), calls(&app)), (Some(SinceStart::Ended), 29_500));
    let mut without = fixtures::busy_host();
    without.processes.retain(|row| row.process.comm.raw() != "cc1plus");
    app.update(without.clone());
    app.update(without);
    assert_eq!((app.since_start(), calls(&app)), (Some(SinceStart::Ended), 29_500));
    assert_eq!(listed(&app), ["openat"]);
    // The same of its latencies.
    press(&mut app, KeyCode::Enter);
    assert_eq!(app.since_start(), Some(SinceStart::Ended));
    // Where the user has chosen that, nothing is to be said.
    press(&mut app, KeyCode::Char('t'));
    assert_eq!((app.since_start(), app.selection().span), (None, Span::Total));
    // A process that is busy shows its interval.
    let mut app = super::state_tests::app();
    press(&mut app, KeyCode::Enter);
    assert_eq!((app.since_start(), app.selection().span), (None, Span::Recent));
}

#[test]
fn the_top_call_is_by_what_the_list_is_sorted_by() {
    let app = app();
    let top = |app: &App, column| {
        let people = People::default();
        let place = app.place();
        let list = List {
            shown: app.shown().unwrap(),
            view: &place.view,
            selection: app.selection(),
            sort: Sort { column, reversed: false },
            look: Look { colour: true, unicode: true },
            people: &people,
            commands: false,
        };
        let at = listed(app).iter().position(|name| name == "nginx").unwrap();
        list.lines(&app.items()[at..=at], &[Column::TopCall])[0].cells[0].clone()
    };
    assert_eq!(top(&app, Column::Time), "epoll_wait");
    assert_eq!(top(&app, Column::Calls), "read");
    assert_eq!(top(&app, Column::Errors), "accept4");
    assert_eq!(top(&app, Column::P99), "epoll_wait");
}

#[test]
fn the_mark_keeps_its_position() {
    let mut app = app();
    press(&mut app, KeyCode::Down);
    app.update(later());
    assert_eq!(listed(&app)[0], "cron");
    assert_eq!((app.place().cursor(), app.place().first()), (1, 0));
    press(&mut app, KeyCode::Char('r'));
    assert_eq!((app.place().cursor(), app.place().first()), (1, 0));
}

#[test]
fn on_return_the_mark_is_on_what_was_opened() {
    let mut app = app();
    press(&mut app, KeyCode::Down);
    let name = selected(&app);
    press(&mut app, KeyCode::Enter);
    app.update(later());
    press(&mut app, KeyCode::Esc);
    assert_eq!((app.place().cursor(), selected(&app)), (2, name));
    // Once: then the mark keeps its position again.
    app.update(fixtures::busy_host());
    assert_eq!(app.place().cursor(), 2);
}

#[test]
fn the_mark_stays_at_the_top_until_one_moves() {
    let mut app = app();
    app.update(later());
    assert_eq!((app.place().cursor(), selected(&app)), (0, "cron".into()));
    press(&mut app, KeyCode::Down);
    press(&mut app, KeyCode::Home);
    app.update(fixtures::busy_host());
    assert_eq!((app.place().cursor(), selected(&app)), (0, "nginx".into()));
}

#[test]
fn when_the_selected_item_goes_its_row_is_kept() {
    let mut app = app();
    press(&mut app, KeyCode::Char('j'));
    press(&mut app, KeyCode::Char('j'));
    let mut without = fixtures::busy_host();
    without.processes.retain(|row| row.process.comm.raw() != "postgres");
    app.update(without);
    assert_eq!((app.place().cursor(), selected(&app)), (2, "cc1plus".into()));
}

#[test]
fn n_shows_command_lines_and_names() {
    let mut app = app();
    assert!(!app.commands());
    assert_eq!(press(&mut app, KeyCode::Char('n')), Action::Redraw);
    assert!(app.commands());
    press(&mut app, KeyCode::Char('n'));
    assert!(!app.commands());
}

#[test]
fn a_reused_pid_is_another_item() {
    let mut app = app();
    press(&mut app, KeyCode::Down);
    let mut reused = fixtures::busy_host();
    let mut other = (*process(3050, "zsh")).clone();
    other.start_ns += 1;
    reused.processes[2].process = other.into();
    press(&mut app, KeyCode::Enter);
    app.update(reused);
    // What was opened is the process that has gone, not the other.
    assert_eq!(
        (listed(&app), app.since_start()),
        (vec!["read".into(), "openat".into()], Some(SinceStart::Ended))
    );
}
