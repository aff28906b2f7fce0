//! All that the screen depends on, and how keys and snapshots change it. Pure: no
//! terminal, no clock.

use std::time::Duration;

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::{
    columns::{self, Column},
    place::{Place, Trail, root_view},
    rows::{self, Item, Row, Sort},
    view::{Subject, Tab, View},
};
use crate::model::{Cost, Snapshot, SortKey, Span};

/// The intervals that `+` and `-` step through, in milliseconds.
const INTERVALS_MS: [u64; 9] = [200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 30_000, 60_000];

/// What the loop is to do about a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Action {
    /// Nothing has changed.
    Nothing,
    /// Draw anew.
    Redraw,
    /// Have the kernel time the programs from now on, or no longer; draw anew.
    TimePrograms(bool),
    /// Give the terminal back and stop until continued.
    Suspend,
    /// End.
    Quit,
}

/// A snapshot with what only the one before it tells.
#[derive(Clone, Debug)]
pub(super) struct Shown {
    /// The snapshot.
    pub(super) snapshot: Snapshot,
    /// What the profiler itself cost since the snapshot before, or since it attached.
    pub(super) spent: Cost,
}

/// What the profiler itself costs, from one snapshot to the next.
#[derive(Default)]
pub(super) struct Costs {
    last: Option<Cost>,
}

impl Costs {
    /// `snapshot` with what it cost since the one before.
    pub(super) fn add(&mut self, snapshot: Snapshot) -> Shown {
        let cost = &snapshot.health.cost;
        let spent = match self.last.replace(cost.clone()) {
            None => cost.since_attached(),
            Some(before) => cost.since(&before),
        };
        Shown { snapshot, spent }
    }
}

/// The state of the screen.
pub(super) struct App {
    tab: Tab,
    trails: [Trail; Tab::ALL.len()],
    sort_key: SortKey,
    span: Span,
    interval: Duration,
    paused: bool,
    help: bool,
    editing_filter: bool,
    times_programs: bool,
    /// What counts, for people; empty where that is everything.
    only: String,
    /// What is on the screen; nothing before the first drain.
    shown: Option<Shown>,
    /// What came while paused, the last of it.
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
            help: false,
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

    /// Says what counts, where that is not everything.
    pub(super) fn set_only(&mut self, only: String) {
        self.only = only;
    }

    /// What counts; nothing where that is everything.
    pub(super) fn only(&self) -> &str {
        &self.only
    }

    /// The tab that is open.
    pub(super) fn tab(&self) -> Tab {
        self.tab
    }

    /// The way to where one is.
    pub(super) fn trail(&self) -> &Trail {
        &self.trails[self.tab as usize]
    }

    /// Where one is.
    pub(super) fn place(&self) -> &Place {
        self.trail().here()
    }

    /// Over which time figures are.
    pub(super) fn span(&self) -> Span {
        self.span
    }

    /// Time between two drains.
    pub(super) fn interval(&self) -> Duration {
        self.interval
    }

    /// Whether the screen stands still.
    pub(super) fn paused(&self) -> bool {
        self.paused
    }

    /// Whether the help is open.
    pub(super) fn help(&self) -> bool {
        self.help
    }

    /// Whether the profiler's programs are timed, which is then shown.
    pub(super) fn times_programs(&self) -> bool {
        self.times_programs
    }

    /// Says whether they are timed already.
    pub(super) fn begin_with_cost(&mut self, times_programs: bool) {
        self.times_programs = times_programs;
    }

    /// Whether keys go to the filter.
    pub(super) fn editing_filter(&self) -> bool {
        self.editing_filter
    }

    /// What is on the screen.
    pub(super) fn shown(&self) -> Option<&Shown> {
        self.shown.as_ref()
    }

    /// The rows of the list, in order.
    pub(super) fn items(&self) -> &[Item] {
        &self.items
    }

    /// Takes the result of a drain.
    pub(super) fn update(&mut self, snapshot: Snapshot) {
        let new = Some(self.costs.add(snapshot));
        if self.paused {
            self.held_back = new;
        } else {
            self.shown = new;
            self.arrange();
        }
    }

    /// Takes note that `page` rows of the list fit on the screen.
    pub(super) fn fit(&mut self, page: usize) {
        self.page = page.max(1);
        let (page, rows) = (self.page, self.items.len());
        self.here().scroll(page, rows);
    }

    /// Takes a key.
    pub(super) fn on_key(&mut self, key: KeyEvent) -> Action {
        if key.kind == KeyEventKind::Release {
            return Action::Nothing;
        }
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return match key.code {
                KeyCode::Char('c') => Action::Quit,
                KeyCode::Char('z') => Action::Suspend,
                KeyCode::Char('l') => Action::Redraw,
                KeyCode::Char('u') if self.editing_filter => self.set_filter(String::new()),
                _ => Action::Nothing,
            };
        }
        if self.help {
            self.help = false;
            return Action::Redraw;
        }
        if self.editing_filter
            && let Some(action) = self.edit_filter(key.code)
        {
            return action;
        }
        match key.code {
            KeyCode::Char('q') => Action::Quit,
            KeyCode::Char('?') | KeyCode::F(1) => self.change(|app| app.help = true),
            KeyCode::Char('p' | ' ') => self.toggle_pause(),
            KeyCode::Char('t') => self.change(|app| {
                app.span = match app.span {
                    Span::Recent => Span::Total,
                    Span::Total => Span::Recent,
                };
            }),
            KeyCode::Char('+' | '=') => self.step_interval(true),
            KeyCode::Char('-') => self.step_interval(false),
            KeyCode::Tab => self.open_tab(self.tab.step(1)),
            KeyCode::BackTab => self.open_tab(self.tab.step(Tab::ALL.len() - 1)),
            KeyCode::Char(digit @ '1'..='3') => {
                let tab = Tab::ALL[digit as usize - '1' as usize];
                if tab == self.tab {
                    self.trails[tab as usize].back_to_root();
                }
                self.open_tab(tab)
            }
            KeyCode::Char('i') => self.open_tab(Tab::InFlight),
            KeyCode::Char('c') => {
                self.times_programs = !self.times_programs;
                Action::TimePrograms(self.times_programs)
            }
            KeyCode::Esc | KeyCode::Backspace => self.step_back(),
            _ if self.is_list() => self.on_list_key(key.code),
            _ => Action::Nothing,
        }
    }

    fn on_list_key(&mut self, code: KeyCode) -> Action {
        let (cursor, last) = (self.place().cursor(), self.items.len().saturating_sub(1));
        match code {
            KeyCode::Up | KeyCode::Char('k') => self.select(cursor.saturating_sub(1)),
            KeyCode::Down | KeyCode::Char('j') => self.select(cursor + 1),
            KeyCode::PageUp => self.select(cursor.saturating_sub(self.page)),
            KeyCode::PageDown => self.select(cursor + self.page),
            KeyCode::Home | KeyCode::Char('g') => self.change(|app| app.here().release()),
            KeyCode::End | KeyCode::Char('G') => self.select(last),
            KeyCode::Left | KeyCode::Char('<') => self.step_sort(false),
            KeyCode::Right | KeyCode::Char('>') => self.step_sort(true),
            KeyCode::Char('r') => self.change(|app| {
                let sort = &mut app.here().sort;
                sort.reversed = !sort.reversed;
            }),
            KeyCode::Char('/') => self.change(|app| app.editing_filter = true),
            KeyCode::Enter => self.open_selected(false),
            KeyCode::Char('h') => self.open_selected(true),
            KeyCode::Char('w') => self.toggle_waiting(),
            _ => Action::Nothing,
        }
    }

    /// Shows calls in flight that wait by their nature, or hides them.
    fn toggle_waiting(&mut self) -> Action {
        let View::InFlight { waiting } = self.place().view else { return Action::Nothing };
        self.change(|app| app.here().view = View::InFlight { waiting: !waiting })
    }

    /// Takes a key while the filter is edited; those that mean nothing to it go on
    /// to the list.
    fn edit_filter(&mut self, code: KeyCode) -> Option<Action> {
        let mut filter = self.place().filter.clone();
        match code {
            KeyCode::Char(c) => filter.push(c),
            KeyCode::Backspace => {
                filter.pop();
            }
            KeyCode::Esc => {
                self.editing_filter = false;
                filter.clear();
            }
            KeyCode::Enter => self.editing_filter = false,
            KeyCode::Tab | KeyCode::BackTab => {
                self.editing_filter = false;
                return None;
            }
            _ => return None,
        }
        Some(self.set_filter(filter))
    }

    fn set_filter(&mut self, filter: String) -> Action {
        self.change(|app| app.here().filter = filter)
    }

    /// Back to where this was opened from; a filter goes first.
    fn step_back(&mut self) -> Action {
        if self.is_list() && !self.place().filter.is_empty() {
            return self.set_filter(String::new());
        }
        if !self.trails[self.tab as usize].back() {
            return Action::Nothing;
        }
        self.change(|_| {})
    }

    fn open_tab(&mut self, tab: Tab) -> Action {
        self.change(|app| app.tab = tab)
    }

    /// Opens what is selected: a list of its parts, or its latencies.
    fn open_selected(&mut self, latencies: bool) -> Action {
        let Some(view) = self.view_of_selected(latencies) else { return Action::Nothing };
        let sort = first_sort(&view, self.sort_key);
        self.trails[self.tab as usize].open(Place::new(view, sort, String::new()));
        self.change(|_| {})
    }

    fn view_of_selected(&self, latencies: bool) -> Option<View> {
        let place = self.place();
        let item = *self.items.get(place.cursor())?;
        let snapshot = &self.shown.as_ref()?.snapshot;
        let row = Row::of(snapshot, item, self.span);
        let (process, call) = (row.process.cloned(), row.key);
        Some(match (&place.view, process, call) {
            (View::Processes, Some(process), _) if !latencies => View::CallsOf(process),
            (View::Calls, _, Some(key)) if !latencies => View::CallersOf(key),
            (_, process, call) => View::Latency(Subject { process, call }),
        })
    }

    fn toggle_pause(&mut self) -> Action {
        self.change(|app| {
            app.paused = !app.paused;
            if let Some(held_back) = app.held_back.take() {
                app.shown = Some(held_back);
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
            columns::of(&place.view).iter().copied().filter(|c| c.sortable()).collect();
        let at = all.iter().position(|&column| column == place.sort.column).unwrap_or(0);
        let to = if onward { at + 1 } else { at.wrapping_sub(1) };
        let Some(&column) = all.get(to) else { return Action::Nothing };
        self.change(|app| app.here().sort = Sort { column, reversed: false })
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
        !matches!(self.place().view, View::Latency(_))
    }

    fn here(&mut self) -> &mut Place {
        self.trails[self.tab as usize].here_mut()
    }

    fn change(&mut self, how: impl FnOnce(&mut Self)) -> Action {
        how(self);
        self.arrange();
        Action::Redraw
    }

    /// Sorts and filters the rows, and lets the selection follow its item.
    fn arrange(&mut self) {
        let place = self.trails[self.tab as usize].here_mut();
        self.items = self.shown.as_ref().map_or_else(Vec::new, |shown| {
            rows::list(&shown.snapshot, &place.view, self.span, place.sort, &place.filter)
        });
        place.follow(&self.items);
        place.scroll(self.page, self.items.len());
    }
}

fn first_sort(view: &View, key: SortKey) -> Sort {
    Sort { column: columns::for_sort_key(view, key), reversed: false }
}
