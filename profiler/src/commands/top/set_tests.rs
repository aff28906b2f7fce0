//! Lists of syscalls by category and by class: what `C` shows, and what can be opened from there.

use std::{collections::BTreeSet, time::Duration};

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use insta::assert_snapshot;

use super::{
    call_sets::{CallSet, SetsBy},
    columns::Column,
    fixtures::{self, call},
    rows::{self, Item, Row},
    screens::{self, FULL},
    state::App,
    state_tests::{self, press, type_keys},
    view::{Selection, Tab, View},
};
use crate::{
    model::{Figures, SortKey, Span},
    present::columns::Source as _,
};

fn app() -> App {
    state_tests::app()
}

fn set_of(app: &App, at: usize) -> CallSet {
    Row::of(app.shown().unwrap(), app.items()[at], app.selection()).set.unwrap()
}

/// The titles of the rows, in order.
fn listed(app: &App) -> Vec<String> {
    (0..app.items().len()).map(|at| set_of(app, at).title()).collect()
}

fn screen(app: &mut App, width: u16, height: u16) -> String {
    screens::draw(app, width, height, FULL).to_string()
}

fn by(sets: SetsBy) -> View {
    View::Sets(sets, None)
}

#[test]
fn the_key_goes_from_syscalls_to_categories_to_classes_and_back() {
    let mut app = app();
    type_keys(&mut app, "2");
    let calls = app.items().len();
    type_keys(&mut app, "C");
    assert_eq!(app.place().view, by(SetsBy::Category));
    assert!(listed(&app).contains(&"file-management".to_owned()), "{:?}", listed(&app));
    type_keys(&mut app, "C");
    assert_eq!(app.place().view, by(SetsBy::Class));
    assert!(listed(&app).contains(&"%file %desc".to_owned()), "{:?}", listed(&app));
    type_keys(&mut app, "C");
    assert_eq!((&app.place().view, app.items().len()), (&View::Calls, calls));
    // In a list of processes, the key means nothing.
    type_keys(&mut app, "1C");
    assert_eq!(app.place().view, View::Processes(None));
}

#[test]
fn a_sort_by_name_and_a_filter_are_kept() {
    let mut app = app();
    type_keys(&mut app, "2<<<<<<<<<<<<");
    assert_eq!(app.place().sort.column, Column::Call);
    type_keys(&mut app, "C");
    assert_eq!(app.place().sort.column, Column::Category);
    let names = listed(&app);
    assert!(names.is_sorted(), "{names:?}");
    type_keys(&mut app, "C/%file");
    press(&mut app, KeyCode::Enter);
    assert_eq!(app.place().sort.column, Column::Class);
    assert!(!listed(&app).is_empty() && listed(&app).iter().all(|name| name.contains("%file")));
}

#[test]
fn a_category_opens_to_its_syscalls_and_these_to_their_callers() {
    let mut app = app();
    type_keys(&mut app, "2C");
    let set = set_of(&app, 0);
    press(&mut app, KeyCode::Enter);
    assert_eq!(app.place().view, View::CallsIn(set, None));
    let keys: Vec<_> = app
        .items()
        .iter()
        .map(|&item| Row::of(app.shown().unwrap(), item, app.selection()).key.unwrap())
        .collect();
    assert!(!keys.is_empty() && keys.iter().all(|&key| set.contains(key)));
    press(&mut app, KeyCode::Enter);
    assert_eq!(app.place().view, View::CallersOf(keys[0]));
    press(&mut app, KeyCode::Esc);
    press(&mut app, KeyCode::Esc);
    assert_eq!(app.place().view, by(SetsBy::Category));
}

#[test]
fn within_a_process_sets_are_those_of_the_process() {
    let mut app = app();
    press(&mut app, KeyCode::Enter);
    let View::CallsOf(nginx) = app.place().view.clone() else { panic!("a process") };
    type_keys(&mut app, "C");
    assert_eq!(app.place().view, View::Sets(SetsBy::Category, Some(nginx.clone())));
    let set = set_of(&app, 0);
    press(&mut app, KeyCode::Char('h'));
    let View::Latency(subject) = app.place().view.clone() else { panic!("latencies") };
    assert_eq!(
        (&subject.owner, subject.call, subject.set),
        (&Some(nginx.clone()), None, Some(set))
    );
    press(&mut app, KeyCode::Esc);
    let of_row = Row::of(app.shown().unwrap(), app.items()[0], app.selection()).sum(|f| f.calls);
    assert_eq!(subject.figures(app.shown().unwrap(), app.selection()).calls, of_row);
    press(&mut app, KeyCode::Enter);
    assert_eq!(app.place().view, View::CallsIn(set, Some(nginx.clone())));
    press(&mut app, KeyCode::Enter);
    let View::Latency(subject) = app.place().view.clone() else { panic!("latencies") };
    assert!(subject.owner == Some(nginx) && subject.call.is_some());
}

#[test]
fn every_list_of_syscalls_has_the_same_sum() {
    let mut app = app();
    press(&mut app, KeyCode::Enter);
    let View::CallsOf(owner) = app.place().view.clone() else { panic!("a process") };
    let shown = app.shown().unwrap();
    for owner in [None, Some(owner)] {
        let all = owner.clone().map_or(View::Calls, View::CallsOf);
        let sets = [SetsBy::Category, SetsBy::Class].map(|by| View::Sets(by, owner.clone()));
        for (span, waits) in
            [(Span::Recent, true), (Span::Recent, false), (Span::Total, true), (Span::Total, false)]
        {
            let selection = Selection { span, waits };
            let sum_of = |items: &[Item]| {
                let row = |&item: &Item| Row::of(shown, item, selection);
                let sum = |of: fn(&Figures) -> u64| -> u64 {
                    items.iter().map(|item| row(item).sum(of)).sum()
                };
                (sum(|f| f.calls), sum(|f| f.errors), sum(|f| f.total_ns))
            };
            let expected = sum_of(&rows::all(shown, &all, selection));
            assert!(expected.0 > 0);
            for view in &sets {
                let items = rows::all(shown, view, selection);
                assert_eq!(sum_of(&items), expected, "{view:?} {selection:?}");
                let of_set = |item: &Item| {
                    let set = Row::of(shown, *item, selection).set.unwrap();
                    rows::all(shown, &View::CallsIn(set, owner.clone()), selection)
                };
                let opened: Vec<Item> = items.iter().flat_map(of_set).collect();
                assert_eq!(sum_of(&opened), expected, "what opens from {view:?} {selection:?}");
                let ids: BTreeSet<_> = opened.iter().map(|item| item.id).collect();
                assert_eq!(ids.len(), opened.len(), "each syscall is in one set");
            }
        }
    }
}

#[test]
fn a_set_of_calls_that_all_wait_is_hidden_with_them() {
    let mut app = state_tests::app_without_waits();
    type_keys(&mut app, "2C");
    let shown = listed(&app);
    type_keys(&mut app, "w");
    assert!(listed(&app).len() >= shown.len());
    let futex = SetsBy::Category.set_of(call("futex"));
    assert!(listed(&app).contains(&futex.title()));
}

#[test]
fn it_can_begin_with_categories() {
    let mut app = App::new(Duration::from_secs(1), SortKey::Calls, "");
    app.begin_with_sets(Some(SetsBy::Category));
    app.update(fixtures::busy_host());
    assert_eq!(app.tab(), Tab::Processes);
    app.on_key(KeyEvent::new(KeyCode::Tab, KeyModifiers::NONE));
    assert_eq!(
        (&app.place().view, app.place().sort.column),
        (&by(SetsBy::Category), Column::Calls)
    );
}

#[test]
fn categories_80x24() {
    let mut app = app();
    type_keys(&mut app, "2C");
    assert_snapshot!(screen(&mut app, 80, 24));
}

#[test]
fn classes_of_a_process_120x16() {
    let mut app = app();
    press(&mut app, KeyCode::Enter);
    type_keys(&mut app, "CC");
    assert_snapshot!(screen(&mut app, 120, 16));
}

#[test]
fn latencies_of_a_category_80x24() {
    let mut app = app();
    type_keys(&mut app, "2Ch");
    assert_snapshot!(screen(&mut app, 80, 24));
}
