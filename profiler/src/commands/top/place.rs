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
    /// What its rows must contain.
    pub(super) filter: String,
    /// What is selected. Nothing is until the user has moved: the first row is
    /// marked then, whichever it is, so that the top of the list stays in sight.
    selected: Option<ItemId>,
    cursor: usize,
    first: usize,
}

impl Place {
    /// `view` as it is at first.
    pub(super) fn new(view: View, sort: Sort, filter: String) -> Self {
        Self { view, sort, filter, selected: None, cursor: 0, first: 0 }
    }

    /// Row of the selection.
    pub(super) fn cursor(&self) -> usize {
        self.cursor
    }

    /// The first row that is in sight.
    pub(super) fn first(&self) -> usize {
        self.first
    }

    /// Moves the selection to row `to`, or to the last.
    pub(super) fn select(&mut self, to: usize, items: &[Item]) {
        self.cursor = to.min(items.len().saturating_sub(1));
        self.selected = items.get(self.cursor).map(|item| item.id);
    }

    /// Marks the first row, whichever it is from now on.
    pub(super) fn release(&mut self) {
        self.selected = None;
        self.cursor = 0;
    }

    /// Follows the selected item to its new row; to another item in the same row if
    /// it is gone.
    pub(super) fn follow(&mut self, items: &[Item]) {
        let Some(selected) = self.selected else {
            self.cursor = 0;
            return;
        };
        match items.iter().position(|item| item.id == selected) {
            Some(row) => self.cursor = row,
            // An empty list is passing, as a filter is typed or before the first
            // figures: the item may come back.
            None if items.is_empty() => {}
            None => self.select(self.cursor, items),
        }
    }

    /// Scrolls so that the selection is within `page` rows.
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

    /// Goes back to the tab itself.
    pub(super) fn back_to_root(&mut self) {
        self.opened.clear();
    }

    /// The titles on the way from the tab to here.
    pub(super) fn titles(&self) -> impl Iterator<Item = String> + '_ {
        std::iter::once(&self.root).chain(&self.opened).map(|place| place.view.title())
    }
}

/// The view that a tab begins with.
pub(super) fn root_view(tab: Tab) -> View {
    match tab {
        Tab::Processes => View::Processes,
        Tab::Calls => View::Calls,
        Tab::InFlight => View::InFlight { waiting: false },
    }
}
