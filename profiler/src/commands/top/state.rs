//! The state of the screen, and how keys and snapshots change the state. Pure: no terminal, no
//! clock.

mod explain;
mod navigate;
mod on_key;

use std::{sync::Arc, time::Duration};

use super::{
    call_sets::SetsBy,
    columns::{self, Column},
    explained::Page,
    groups::{Groups, Wanted},
    help,
    owner::Owner,
    people::{Answer, People},
    place::{Place, Trail, root_view},
    rows::{self, Item, Row, Sort},
    shown::{Costs, Shown},
    view::{Selection, SinceStart, Tab, View},
};
use crate::model::{Detail, Dimension, Process, Snapshot, SortKey, Span};

/// The intervals that `+` and `-` step through, in milliseconds.
const INTERVALS_MS: [u64; 9] = [200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 30_000, 60_000];

/// What the loop does after a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Action {
    /// Nothing has changed.
    Nothing,
    /// Draw what has changed on the screen.
    Redraw,
    /// Take the terminal again, and draw all of the screen: another program has written on it.
    Repaint,
    /// Start or stop timing the programs, and draw the screen.
    TimePrograms(bool),
    /// Release the terminal, and stop until SIGCONT.
    Suspend,
    /// Quit.
    Quit,
}

/// The state of the screen.
pub(super) struct App {
    tab: Tab,
    trails: [Trail; Tab::ALL.len()],
    sort_key: SortKey,
    span: Span,
    interval: Duration,
    paused: bool,
    /// The help. `None` while the help is closed.
    help: Option<help::Scroll>,
    /// The page that explains a process. `None` while it is closed.
    explained: Option<Page>,
    /// Whether calls that wait by nature are included.
    waits: bool,
    /// Whether threads are listed where processes could be listed too.
    prefers_threads: bool,
    /// Why there are no lists of sites. `None` if there are.
    no_sites: Option<String>,
    /// Whether the command lines of processes are shown instead of their names.
    commands: bool,
    people: People,
    /// The processes in the panel below the list.
    in_panel: Vec<Arc<Process>>,
    /// Why the figures of this view are since the start.
    since_start: Option<SinceStart>,
    editing_filter: bool,
    times_programs: bool,
    /// Describes which calls count. Empty if all calls count.
    only: String,
    /// The snapshot on the screen. `None` before the first drain.
    shown: Option<Shown>,
    /// The latest snapshot that arrived while the screen is paused.
    held_back: Option<Shown>,
    costs: Costs,
    /// The rows of the current list, in order.
    items: Vec<Item>,
    /// Rows that fit on the screen.
    page: usize,
}

impl App {
    /// The state at the start.
    pub(super) fn new(interval: Duration, sort_key: SortKey, filter: &str) -> Self {
        let trail = |tab| {
            let view = root_view(tab);
            let sort = first_sort(&view, sort_key);
            Trail::new(Place::new(view, sort, filter.to_owned()))
        };
        Self {
            tab: Tab::Processes,
            trails: Tab::ALL.map(trail),
            sort_key,
            span: Span::Recent,
            interval,
            paused: false,
            help: None,
            explained: None,
            waits: false,
            prefers_threads: false,
            no_sites: None,
            commands: false,
            people: People::default(),
            in_panel: Vec::new(),
            since_start: None,
            editing_filter: false,
            times_programs: false,
            only: String::new(),
            shown: None,
            held_back: None,
            costs: Costs::default(),
            items: Vec::new(),
            page: 1,
        }
    }

    /// Sets the description of which calls count.
    pub(super) fn set_only(&mut self, only: String) {
        self.only = only;
    }

    /// Describes which calls count. Empty if all calls count.
    pub(super) fn only(&self) -> &str {
        &self.only
    }

    /// The tab that is open.
    pub(super) fn tab(&self) -> Tab {
        self.tab
    }

    /// The path to the open place.
    pub(super) fn trail(&self) -> &Trail {
        &self.trails[self.tab as usize]
    }

    /// The open place.
    pub(super) fn place(&self) -> &Place {
        self.trail().here()
    }

    /// The first place of a tab.
    pub(super) fn root(&self, tab: Tab) -> &Place {
        self.trails[tab as usize].root()
    }

    /// The time that the user chose for figures.
    pub(super) fn span(&self) -> Span {
        self.span
    }

    /// Time between two drains.
    pub(super) fn interval(&self) -> Duration {
        self.interval
    }

    /// Whether the screen is paused.
    pub(super) fn paused(&self) -> bool {
        self.paused
    }

    /// Whether the help is open.
    pub(super) fn help(&self) -> bool {
        self.help.is_some()
    }

    /// Notes that `page` of `lines` lines of help fit on the screen. Returns the first line to
    /// show.
    pub(super) fn fit_help(&mut self, page: usize, lines: usize) -> usize {
        self.help.as_mut().map_or(0, |help| help.fit(page, lines))
    }

    /// Whether calls that wait by nature are included.
    pub(super) fn waits(&self) -> bool {
        self.waits
    }

    /// Sets whether calls that wait by nature are included at the start.
    pub(super) fn begin_with_waits(&mut self, waits: bool) {
        self.waits = waits;
    }

    /// Whether the first tab lists threads.
    pub(super) fn threads(&self) -> bool {
        let mut places = self.trails[Tab::Processes as usize].places();
        places.any(|place| matches!(place.view, View::Threads(_)))
    }

    /// The detail that snapshots require.
    pub(super) fn detail(&self) -> Detail {
        if self.threads() { Detail::Threads } else { Detail::Processes }
    }

    /// Sets whether threads are listed at the start.
    pub(super) fn begin_with_threads(&mut self, threads: bool) {
        if threads {
            self.toggle_threads();
        }
    }

    /// Sets which sites are listed at the start.
    pub(super) fn begin_with_sites(&mut self, sites: Option<Dimension>) {
        if let Some(dimension) = sites {
            self.replace_view(View::Sites(dimension));
        }
    }

    /// Notes why there are no lists of sites.
    pub(super) fn set_no_sites(&mut self, why: Option<String>) {
        self.no_sites = why;
    }

    /// Why there are no lists of sites. `None` if there are.
    pub(super) fn no_sites(&self) -> Option<&str> {
        self.no_sites.as_deref()
    }

    /// Sets how syscalls are grouped at the start.
    pub(super) fn begin_with_sets(&mut self, sets: Option<SetsBy>) {
        if let Some(by) = sets {
            let tab = std::mem::replace(&mut self.tab, Tab::Calls);
            self.replace_view(View::Sets(by, None));
            self.tab = tab;
        }
    }

    /// Whether a process is shown by its command line instead of its name.
    pub(super) fn commands(&self) -> bool {
        self.commands
    }

    /// Command lines, users and places of processes.
    pub(super) fn people(&self) -> &People {
        &self.people
    }

    /// Notes that these processes are in the panel below the list.
    pub(super) fn set_in_panel(&mut self, processes: Vec<Arc<Process>>) {
        self.in_panel = processes;
    }

    /// Returns the visible processes that have not been looked up yet.
    pub(super) fn ask(&mut self) -> Vec<Arc<Process>> {
        let Some(shown) = &self.shown else { return Vec::new() };
        let place = self.trails[self.tab as usize].here();
        let in_sight = self.items.iter().skip(place.first()).take(self.page);
        let selection = Selection { span: self.span, waits: self.waits };
        let of_rows = in_sight.filter_map(|&item| Row::of(shown, item, selection).process);
        self.people.ask(of_rows.chain(place.view.process()).chain(&self.in_panel))
    }

    /// Adds the results of look-ups. Returns whether the screen changes.
    pub(super) fn learn(&mut self, answers: Vec<Answer>) -> bool {
        let mut changes = false;
        for answer in answers {
            changes |= self.people.learn(answer);
        }
        changes
    }

    /// The figures that the user has chosen.
    fn chosen(&self) -> Selection {
        Selection { span: self.span, waits: self.waits }
    }

    /// The figures that this view shows. If all figures of the interval are zero, those since the
    /// start.
    pub(super) fn selection(&self) -> Selection {
        match self.since_start {
            Some(_) => Selection { span: Span::Total, ..self.chosen() },
            None => self.chosen(),
        }
    }

    /// Why the figures of this view are since the start, if the user has not chosen that.
    pub(super) fn since_start(&self) -> Option<SinceStart> {
        self.since_start
    }

    /// Whether the profiler's programs are timed.
    pub(super) fn times_programs(&self) -> bool {
        self.times_programs
    }

    /// Sets whether the programs are timed at the start.
    pub(super) fn begin_with_cost(&mut self, times_programs: bool) {
        self.times_programs = times_programs;
    }

    /// Whether keys go to the filter.
    pub(super) fn editing_filter(&self) -> bool {
        self.editing_filter
    }

    /// The snapshot on the screen.
    pub(super) fn shown(&self) -> Option<&Shown> {
        self.shown.as_ref()
    }

    /// The rows of the list, in order.
    pub(super) fn items(&self) -> &[Item] {
        &self.items
    }

    /// Adds a snapshot.
    pub(super) fn update(&mut self, snapshot: Snapshot) {
        let new = self.costs.add(snapshot);
        if self.paused {
            self.held_back = Some(new);
        } else {
            self.show(new);
            self.arrange();
        }
    }

    /// Replaces the snapshot on the screen.
    fn show(&mut self, mut new: Shown) {
        new.groups = self.shown.take().map(|shown| shown.groups).unwrap_or_default();
        self.shown = Some(new);
        self.regroup();
    }

    /// Computes the rows of the snapshot anew, for other views or another span.
    fn regroup(&mut self) {
        let Some(mut shown) = self.shown.take() else { return };
        let wanted = self.wanted();
        shown.groups = Groups::new(&shown.snapshot, self.span, &wanted, &shown.groups);
        let alive = shown.snapshot.processes.iter().map(|row| &row.process);
        let opened = wanted.owners.iter().filter_map(Owner::one_process);
        self.people.retain(alive.filter(|process| !process.ended).chain(opened));
        self.shown = Some(shown);
    }

    /// What the views of all tabs show.
    fn wanted(&self) -> Wanted {
        let mut wanted = Wanted::default();
        for Place { view, .. } in self.trails.iter().flat_map(Trail::places) {
            wanted.owners.extend(view.owner().cloned());
            if let View::Sites(dimension) = view
                && self.no_sites.is_none()
            {
                wanted.sites = Some(*dimension);
            }
            wanted.site = view.site().cloned().or(wanted.site);
        }
        wanted
    }

    /// Notes that `page` rows of the list fit on the screen.
    pub(super) fn fit(&mut self, page: usize) {
        self.page = page.max(1);
        let (page, rows) = (self.page, self.items.len());
        self.here().scroll(page, rows);
    }

    fn set_filter(&mut self, filter: String) -> Action {
        self.change(|app| app.here().filter = filter)
    }

    fn toggle_pause(&mut self) -> Action {
        self.change(|app| {
            app.paused = !app.paused;
            if let Some(held_back) = app.held_back.take() {
                app.show(held_back);
            }
        })
    }

    fn step_interval(&mut self, longer: bool) -> Action {
        let mut steps = INTERVALS_MS.map(Duration::from_millis).into_iter();
        let next = if longer {
            steps.find(|&step| step > self.interval)
        } else {
            steps.rev().find(|&step| step < self.interval)
        };
        let Some(next) = next else { return Action::Nothing };
        self.change(|app| app.interval = next)
    }

    fn step_sort(&mut self, onward: bool) -> Action {
        let place = self.place();
        let all: Vec<Column> =
            columns::of(&place.view).iter().copied().filter(|&c| columns::is_sortable(c)).collect();
        let at = all.iter().position(|&column| column == place.sort.column).unwrap_or(0);
        let to = if onward { at + 1 } else { at.wrapping_sub(1) };
        let Some(&column) = all.get(to) else { return Action::Nothing };
        self.change(|app| {
            let place = app.here();
            place.sort = Sort { column, reversed: false };
            place.sort_chosen = true;
        })
    }

    fn select(&mut self, row: usize) -> Action {
        let items = std::mem::take(&mut self.items);
        let (page, rows) = (self.page, items.len());
        let place = self.here();
        place.select(row, &items);
        place.scroll(page, rows);
        self.items = items;
        Action::Redraw
    }

    fn is_list(&self) -> bool {
        self.place().view.is_list()
    }

    fn here(&mut self) -> &mut Place {
        self.trails[self.tab as usize].here_mut()
    }

    fn change(&mut self, how: impl FnOnce(&mut Self)) -> Action {
        how(self);
        self.arrange();
        Action::Redraw
    }

    /// Filters and sorts the rows, and updates the mark.
    fn arrange(&mut self) {
        let chosen = self.chosen();
        let shown = self.shown.as_ref();
        self.since_start = shown.and_then(|shown| self.place().view.since_start(shown, chosen));
        let selection = self.selection();
        let place = self.trails[self.tab as usize].here_mut();
        self.items = self.shown.as_ref().map_or_else(Vec::new, |shown| {
            rows::list(shown, &place.view, selection, place.sort, &place.filter)
        });
        place.arrange(&self.items);
        place.scroll(self.page, self.items.len());
    }
}

fn first_sort(view: &View, key: SortKey) -> Sort {
    Sort { column: columns::for_sort_key(view, key), reversed: false }
}
