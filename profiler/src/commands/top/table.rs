//! A list as text: the heading and the cells of the rows that are in sight.

use super::{
    columns::{self, Column},
    people::People,
    rows::{self, Item, Row, Sort},
    shown::Shown,
    style::{Look, Tone},
    view::{Selection, View},
};
use crate::present::{columns::Whole, units};

/// What the cells of a list are made from.
pub(super) struct List<'a> {
    /// The snapshot that the items are of.
    pub(super) shown: &'a Shown,
    /// What is listed.
    pub(super) view: &'a View,
    /// Which figures.
    pub(super) selection: Selection,
    /// By what it is sorted.
    pub(super) sort: Sort,
    /// What the terminal can show.
    pub(super) look: Look,
    /// Who the processes are.
    pub(super) people: &'a People,
    /// Whether a process is shown by its command line instead of its name.
    pub(super) commands: bool,
}

/// The cells of a row.
pub(super) struct Line {
    /// One a column.
    pub(super) cells: Vec<String>,
    /// What the row as a whole means.
    pub(super) tone: Tone,
}

impl List<'_> {
    /// The heading of `column`, with the direction if it is the one sorted by.
    pub(super) fn heading(&self, column: Column) -> (String, Tone) {
        let heading = match column {
            Column::Comm if self.commands => "COMMAND",
            column => columns::heading(column, self.selection.span),
        };
        if column == self.sort.column {
            (format!("{heading}{}", self.look.arrow(self.sort.descends())), Tone::Sorted)
        } else {
            (heading.to_owned(), Tone::Heading)
        }
    }

    /// The cells of `items` in `columns`.
    pub(super) fn lines(&self, items: &[Item], columns: &[Column]) -> Vec<Line> {
        let time_ns = if columns.contains(&Column::Share) { self.total_ns() } else { 0 };
        let whole = Whole { time_ns, ..Whole::default() };
        let line = |&item: &Item| {
            let row = Row::of(self.shown, item, self.selection);
            let cell = |&column: &Column| row.cell(column, whole, self);
            let tone = if row.has_ended() || row.idle() { Tone::Dim } else { Tone::Normal };
            Line { cells: columns.iter().map(cell).collect(), tone }
        };
        items.iter().map(line).collect()
    }

    /// The time of all rows, also of those that the filter hides: a share of it
    /// does not change as one filters.
    fn total_ns(&self) -> u64 {
        let all = rows::all(self.shown, self.view, self.selection).into_iter();
        all.map(|item| Row::of(self.shown, item, self.selection).total_ns()).sum()
    }

    /// `text` in `width` columns of the terminal, aligned as `column` is.
    pub(super) fn align(&self, column: Column, text: &str, width: usize) -> String {
        let text = units::fit(text, width, self.look.ellipsis());
        units::pad(&text, width, !column.is_text())
    }
}
