//! Moves between views: opens rows, goes back, and replaces a list by another list.

use std::sync::Arc;

use super::{Action, App, first_sort};
use crate::commands::top::{
    call_sets::SetsBy,
    columns::{self, Column},
    owner::Owner,
    place::Place,
    rows::{Row, Sort},
    sites::{DIMENSIONS, Site},
    view::{Subject, Tab, View},
};

impl App {
    /// Switches between the list of processes and the list of threads. Does nothing in other views.
    pub(super) fn toggle_threads(&mut self) -> Action {
        let view = match &self.place().view {
            View::Processes(site) => View::Threads(site.clone()),
            View::Threads(site) => View::Processes(site.clone()),
            _ => return Action::Nothing,
        };
        self.prefers_threads = matches!(view, View::Threads(_));
        self.replace_view(view)
    }

    /// The list of processes or of threads, as the user prefers: of a site, or of all.
    fn processes(&self, site: Option<Site>) -> View {
        if self.prefers_threads { View::Threads(site) } else { View::Processes(site) }
    }

    /// Switches the list of all processes to containers, pods, units, cgroups, and then back. Does
    /// nothing in other views.
    pub(super) fn regroup_processes(&mut self) -> Action {
        let next = match &self.place().view {
            View::Processes(None) | View::Threads(None) => DIMENSIONS.first(),
            View::Sites(dimension) => {
                let mut onward = DIMENSIONS.iter().skip_while(|other| *other != dimension);
                onward.nth(1)
            }
            _ => return Action::Nothing,
        };
        let view = next.map_or_else(|| self.processes(None), |&next| View::Sites(next));
        self.replace_view(view)
    }

    /// Switches a list of syscalls to categories, then to classes, and then back. Does nothing
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
            (Column::Comm, View::Threads(_)) => Sort { column: Column::Thread, ..place.sort },
            _ => carried(place.sort, &view).unwrap_or_else(|| first_sort(&view, self.sort_key)),
        };
        let (sort_chosen, filter) = (place.sort_chosen, place.filter.clone());
        self.change(|app| {
            let place = app.here();
            *place = Place::new(view, sort, filter);
            place.sort_chosen = sort_chosen;
            app.regroup();
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

    /// Opens a view of the marked row.
    pub(super) fn open_selected(&mut self, opened: Opened) -> Action {
        let Some(view) = self.view_of_selected(opened) else { return Action::Nothing };
        let sort = carried(self.place().sort, &view);
        let sort = sort.unwrap_or_else(|| first_sort(&view, self.sort_key));
        self.here().leave();
        self.trails[self.tab as usize].open(Place::new(view, sort, String::new()));
        self.change(Self::regroup)
    }

    /// Opens the errors of the calls whose latencies are shown.
    pub(super) fn open_errors(&mut self) -> Action {
        let View::Latency(subject) = self.place().view.clone() else { return Action::Nothing };
        let view = View::Failures(subject);
        let sort = first_sort(&view, self.sort_key);
        self.here().leave();
        self.trails[self.tab as usize].open(Place::new(view, sort, String::new()));
        self.change(Self::regroup)
    }

    fn view_of_selected(&self, opened: Opened) -> Option<View> {
        let place = self.place();
        let item = *self.items.get(place.cursor())?;
        let row = Row::of(self.shown.as_ref()?, item, self.selection());
        let of_process = || row.process.cloned().map(Owner::from);
        let (owner, call) = (row.owner.cloned().or_else(of_process), row.key);
        if let Some(row) = row.operation {
            return Some(View::Operation(Arc::clone(&row.process), row.opcode));
        }
        Some(match (&place.view, owner, call) {
            (_, owner, call) if opened == Opened::Latencies => {
                View::Latency(Subject { owner, call, set: row.set })
            }
            (_, owner, call) if opened == Opened::Errors => {
                View::Failures(Subject { owner, call, set: row.set })
            }
            (View::Sites(_), Some(owner), _) if opened == Opened::Parts => {
                self.processes(owner.site)
            }
            (View::Sites(_) | View::Processes(_) | View::Threads(_), Some(owner), _) => {
                View::CallsOf(owner)
            }
            _ if opened == Opened::Calls => return None,
            (View::Sets(_, owner), ..) => View::CallsIn(row.set?, owner.clone()),
            (View::Calls | View::CallsIn(_, None), _, Some(key)) => View::CallersOf(key),
            (_, owner, call) => View::Latency(Subject { owner, call, set: row.set }),
        })
    }
}

/// What is opened of a row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Opened {
    /// Its parts: of a site, the processes; of a process, the syscalls; and so on.
    Parts,
    /// Its syscalls.
    Calls,
    /// Its latencies.
    Latencies,
    /// On what its calls failed.
    Errors,
}

/// The same sort in the list of `view`. If the list lacks a column of names, another column of
/// names takes its place. `None` if the list has no such column.
fn carried(sort: Sort, view: &View) -> Option<Sort> {
    let columns = columns::of(view);
    const NAMES: [Column; 10] = {
        use Column::*;
        [Thread, Comm, Operation, Call, Category, Class, Container, Pod, Unit, Cgroup]
    };
    let others = if NAMES.contains(&sort.column) { &NAMES[..] } else { &[] };
    let mut candidates = std::iter::once(sort.column).chain(others.iter().copied());
    let column = candidates.find(|column| columns.contains(column))?;
    Some(Sort { column, ..sort })
}
