//! A view with what the user has set in it - the sort, the filter, the selection -
//! and the way back to where it was reached from.

use super::{
    rows::{Item, Sort},
    view::{ItemId, Tab, View},
};

/// A view, and what has been set in it.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// What is shown.
    pub(super) view: View,
    /// By what it is sorted, where it is a list.
    pub(super) sort: Sort,
    /// Whether the user has chosen the sort here.
    pub(super) sort_chosen: bool,
    /// What its rows must contain.
    pub(super) filter: String,
    /// The item in the marked row.
    marked: Option<ItemId>,
    /// Whether the mark follows its item to another row.
    follows: bool,
    /// Whether something was opened from the marked row. On return, the mark goes to its item
    /// once.
    left: bool,
    cursor: usize,
    first: usize,
}

impl Place {
    /// `view` as it is at first.
    pub(super) fn new(view: View, sort: Sort, filter: String) -> Self {
        Self {
            view,
            sort,
            sort_chosen: false,
            filter,
            marked: None,
            follows: false,
            left: false,
            cursor: 0,
            first: 0,
        }
    }

    /// The marked row.
    pub(super) fn cursor(&self) -> usize {
        self.cursor
    }

    /// The first row that is in sight.
    pub(super) fn first(&self) -> usize {
        self.first
    }

    /// Whether the mark follows its item.
    pub(super) fn follows(&self) -> bool {
        self.follows
    }

    /// Marks row `to`, or the last, and follows no item any more.
    pub(super) fn select(&mut self, to: usize, items: &[Item]) {
        self.cursor = to.min(items.len().saturating_sub(1));
        self.marked = items.get(self.cursor).map(|item| item.id);
        self.follows = false;
    }

    /// Follows the item in the marked row from now on, or no longer.
    pub(super) fn toggle_follow(&mut self) {
        self.follows = !self.follows && self.marked.is_some();
    }

    /// Takes note that something is opened from the marked row.
    pub(super) fn leave(&mut self) {
        self.left = true;
    }

    /// Takes new rows. The mark stays in its row, or goes with its item if it follows that, or if
    /// the user has just returned from it.
    pub(super) fn arrange(&mut self, items: &[Item]) {
        // An empty list is passing, as a filter is typed or before the first figures.
        if items.is_empty() {
            return;
        }
        let goes = self.follows || std::mem::take(&mut self.left);
        let marked = self.marked.filter(|_| goes);
        match marked.and_then(|marked| items.iter().position(|item| item.id == marked)) {
            Some(row) => self.cursor = row,
            None => self.select(self.cursor, items),
        }
        self.marked = items.get(self.cursor).map(|item| item.id);
    }

    /// Scrolls so that the marked row is within `page` rows.
    pub(super) fn scroll(&mut self, page: usize, rows: usize) {
        let last_page = rows.saturating_sub(page);
        let least = (self.cursor + 1).saturating_sub(page);
        self.first = self.first.min(last_page).clamp(least.min(self.cursor), self.cursor);
    }
}

/// A tab, and what has been opened from it.
#[derive(Clone, Debug)]
pub(super) struct Trail {
    root: Place,
    opened: Vec<Place>,
}

impl Trail {
    /// A tab with nothing opened.
    pub(super) fn new(root: Place) -> Self {
        Self { root, opened: Vec::new() }
    }

    /// Where one is.
    pub(super) fn here(&self) -> &Place {
        self.opened.last().unwrap_or(&self.root)
    }

    /// Where one is.
    pub(super) fn here_mut(&mut self) -> &mut Place {
        self.opened.last_mut().unwrap_or(&mut self.root)
    }

    /// Opens `place` from here.
    pub(super) fn open(&mut self, place: Place) {
        self.opened.push(place);
    }

    /// Goes back one step; whether there was one.
    pub(super) fn back(&mut self) -> bool {
        self.opened.pop().is_some()
    }

    /// The tab itself.
    pub(super) fn root(&self) -> &Place {
        &self.root
    }

    /// Every place, the tab itself first.
    pub(super) fn places(&self) -> impl Iterator<Item = &Place> {
        std::iter::once(&self.root).chain(&self.opened)
    }

    /// The titles on the way from the tab to here.
    pub(super) fn titles(&self) -> impl Iterator<Item = String> + '_ {
        self.places().map(|place| place.view.title())
    }
}

/// The view that a tab begins with.
pub(super) fn root_view(tab: Tab) -> View {
    match tab {
        Tab::Processes => View::Processes,
        Tab::Calls => View::Calls,
        Tab::InFlight => View::InFlight,
    }
}
