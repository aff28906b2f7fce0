//! Moves between views: opens rows, goes back, and replaces a list by another list.

use super::{Action, App, first_sort};
use crate::commands::top::{
    call_sets::SetsBy,
    columns::{self, Column},
    owner::Owner,
    place::Place,
    rows::{Row, Sort},
    view::{Subject, Tab, View},
};

impl App {
    /// Switches between the list of processes and the list of threads. Does nothing in other views.
    pub(super) fn toggle_threads(&mut self) -> Action {
        let view = match self.place().view {
            View::Processes => View::Threads,
            View::Threads => View::Processes,
            _ => return Action::Nothing,
        };
        self.replace_view(view)
    }

    /// Switches a list of system calls to categories, then to classes, and then back. Does nothing
    /// in other views.
    pub(super) fn regroup_calls(&mut self) -> Action {
        let view = match &self.place().view {
            View::Calls => View::Sets(SetsBy::Category, None),
            View::CallsOf(owner) => View::Sets(SetsBy::Category, Some(owner.clone())),
            View::Sets(SetsBy::Category, owner) => View::Sets(SetsBy::Class, owner.clone()),
            View::Sets(SetsBy::Class, Some(owner)) => View::CallsOf(owner.clone()),
            View::Sets(SetsBy::Class, None) => View::Calls,
            _ => return Action::Nothing,
        };
        self.replace_view(view)
    }

    /// Replaces the list of the open place. Keeps the filter and the sort.
    pub(super) fn replace_view(&mut self, view: View) -> Action {
        let place = self.place();
        let sort = match (place.sort.column, &view) {
            (Column::Comm, View::Threads) => Sort { column: Column::Thread, ..place.sort },
            (Column::Thread, View::Processes) => Sort { column: Column::Comm, ..place.sort },
            _ => carried(place.sort, &view).unwrap_or_else(|| first_sort(&view, self.sort_key)),
        };
        let (sort_chosen, filter) = (place.sort_chosen, place.filter.clone());
        self.change(|app| {
            let place = app.here();
            *place = Place::new(view, sort, filter);
            place.sort_chosen = sort_chosen;
        })
    }

    /// Clears the filter. Without a filter, goes back to the previous place.
    pub(super) fn step_back(&mut self) -> Action {
        if self.is_list() && !self.place().filter.is_empty() {
            return self.set_filter(String::new());
        }
        if !self.go_back() {
            return Action::Nothing;
        }
        self.change(|_| {})
    }

    /// Goes back to the previous place, and keeps a sort that the user chose. Returns `false` if
    /// there is no previous place.
    pub(super) fn go_back(&mut self) -> bool {
        let left = self.place();
        let chosen = left.sort_chosen.then_some(left.sort);
        if !self.trails[self.tab as usize].back() {
            return false;
        }
        let place = self.here();
        if let Some(sort) = chosen.and_then(|sort| carried(sort, &place.view)) {
            place.sort = sort;
            place.sort_chosen = true;
        }
        true
    }

    pub(super) fn open_tab(&mut self, tab: Tab) -> Action {
        self.change(|app| app.tab = tab)
    }

    /// Opens the marked row: its parts, or its latencies.
    pub(super) fn open_selected(&mut self, latencies: bool) -> Action {
        let Some(view) = self.view_of_selected(latencies) else { return Action::Nothing };
        let sort = carried(self.place().sort, &view);
        let sort = sort.unwrap_or_else(|| first_sort(&view, self.sort_key));
        self.here().leave();
        self.trails[self.tab as usize].open(Place::new(view, sort, String::new()));
        self.change(|_| {})
    }

    fn view_of_selected(&self, latencies: bool) -> Option<View> {
        let place = self.place();
        let item = *self.items.get(place.cursor())?;
        let row = Row::of(self.shown.as_ref()?, item, self.selection());
        let of_process = || row.process.cloned().map(Owner::from);
        let (owner, call) = (row.owner.cloned().or_else(of_process), row.key);
        Some(match (&place.view, owner, call) {
            (View::Processes | View::Threads, Some(owner), _) if !latencies => View::CallsOf(owner),
            (View::Sets(_, owner), ..) if !latencies => View::CallsIn(row.set?, owner.clone()),
            (View::Calls | View::CallsIn(_, None), _, Some(key)) if !latencies => {
                View::CallersOf(key)
            }
            (_, owner, call) => View::Latency(Subject { owner, call, set: row.set }),
        })
    }
}

/// The same sort in the list of `view`. If the list lacks a column of names, another column of
/// names takes its place. `None` if the list has no such column.
fn carried(sort: Sort, view: &View) -> Option<Sort> {
    let columns = columns::of(view);
    const NAMES: [Column; 4] = [Column::Comm, Column::Call, Column::Category, Column::Class];
    let others = if NAMES.contains(&sort.column) { &NAMES[..] } else { &[] };
    let mut candidates = std::iter::once(sort.column).chain(others.iter().copied());
    let column = candidates.find(|column| columns.contains(column))?;
    Some(Sort { column, ..sort })
}
