//! Views with the settings of the user (sort, filter and mark), and the path of views that the user
//! has opened.

use super::{
    rows::{Item, Sort},
    view::{ItemId, Tab, View},
};

/// A view and its settings.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// The view.
    pub(super) view: View,
    /// The order, if the view is a list.
    pub(super) sort: Sort,
    /// Whether the user has chosen the sort here.
    pub(super) sort_chosen: bool,
    /// The filter: rows must contain this text.
    pub(super) filter: String,
    /// The identity of the marked row.
    marked: Option<ItemId>,
    /// Whether the mark follows its row when the rows change places.
    follows: bool,
    /// Whether the marked row was opened. On return, the mark goes once to the row that was opened.
    left: bool,
    cursor: usize,
    first: usize,
}

impl Place {
    /// A view with its first settings.
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

    /// The position of the mark.
    pub(super) fn cursor(&self) -> usize {
        self.cursor
    }

    /// The first visible row.
    pub(super) fn first(&self) -> usize {
        self.first
    }

    /// Whether the mark follows its row.
    pub(super) fn follows(&self) -> bool {
        self.follows
    }

    /// Marks row `to`, or the last row, and stops following.
    pub(super) fn select(&mut self, to: usize, items: &[Item]) {
        self.cursor = to.min(items.len().saturating_sub(1));
        self.marked = items.get(self.cursor).map(|item| item.id);
        self.follows = false;
    }

    /// Starts or stops following the marked row.
    pub(super) fn toggle_follow(&mut self) {
        self.follows = !self.follows && self.marked.is_some();
    }

    /// Notes that the marked row is opened.
    pub(super) fn leave(&mut self) {
        self.left = true;
    }

    /// Updates the mark for new rows. The mark keeps its position. If the mark follows its row, or
    /// if the user has just returned from the row, the mark goes with the row.
    pub(super) fn arrange(&mut self, items: &[Item]) {
        // A list is empty only for a moment: while the user types a filter, or before the first
        // figures.
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

    /// Scrolls so that the mark is within the `page` visible rows.
    pub(super) fn scroll(&mut self, page: usize, rows: usize) {
        let last_page = rows.saturating_sub(page);
        let least = (self.cursor + 1).saturating_sub(page);
        self.first = self.first.min(last_page).clamp(least.min(self.cursor), self.cursor);
    }
}

/// A tab, and the places that were opened from it.
#[derive(Clone, Debug)]
pub(super) struct Trail {
    root: Place,
    opened: Vec<Place>,
}

impl Trail {
    /// A tab without opened places.
    pub(super) fn new(root: Place) -> Self {
        Self { root, opened: Vec::new() }
    }

    /// The open place.
    pub(super) fn here(&self) -> &Place {
        self.opened.last().unwrap_or(&self.root)
    }

    /// The open place.
    pub(super) fn here_mut(&mut self) -> &mut Place {
        self.opened.last_mut().unwrap_or(&mut self.root)
    }

    /// Opens `place`.
    pub(super) fn open(&mut self, place: Place) {
        self.opened.push(place);
    }

    /// Closes the open place. Returns `false` if that is the tab itself.
    pub(super) fn back(&mut self) -> bool {
        self.opened.pop().is_some()
    }

    /// The tab itself.
    pub(super) fn root(&self) -> &Place {
        &self.root
    }

    /// All places, from the tab itself to the open place.
    pub(super) fn places(&self) -> impl Iterator<Item = &Place> {
        std::iter::once(&self.root).chain(&self.opened)
    }

    /// The titles of all places, from the tab itself to the open place.
    pub(super) fn titles(&self) -> impl Iterator<Item = String> + '_ {
        self.places().map(|place| place.view.title())
    }
}

/// The first view of a tab.
pub(super) fn root_view(tab: Tab) -> View {
    match tab {
        Tab::Processes => View::Processes(None),
        Tab::Calls => View::Calls,
        Tab::InFlight => View::InFlight,
        Tab::Operations => View::Operations,
    }
}
