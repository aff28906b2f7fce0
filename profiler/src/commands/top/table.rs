//! A list as text: the headings, and the cells of the visible rows.

use super::{
    columns::{self, Column},
    people::People,
    rows::{self, Item, Row, Sort},
    shown::Shown,
    style::{Look, Tone},
    view::{Selection, View},
};
use crate::present::{columns::Whole, units};

/// The source of the cells of a list.
pub(super) struct List<'a> {
    /// The snapshot of the items.
    pub(super) shown: &'a Shown,
    /// The view.
    pub(super) view: &'a View,
    /// The figures to show.
    pub(super) selection: Selection,
    /// The order.
    pub(super) sort: Sort,
    /// The capabilities of the terminal.
    pub(super) look: Look,
    /// Command lines and users of processes.
    pub(super) people: &'a People,
    /// Whether a process is shown by its command line instead of its name.
    pub(super) commands: bool,
}

/// The cells of a row.
pub(super) struct Line {
    /// The cells, one per column.
    pub(super) cells: Vec<String>,
    /// The tone of the row.
    pub(super) tone: Tone,
}

impl List<'_> {
    /// The heading of `column`. If the list is sorted by the column, with an arrow.
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

    /// The time of all rows, including rows that the filter hides. So a filter does not change the
    /// shares.
    fn total_ns(&self) -> u64 {
        let all = rows::all(self.shown, self.view, self.selection).into_iter();
        all.map(|item| Row::of(self.shown, item, self.selection).total_ns()).sum()
    }

    /// `text` in `width` columns of the terminal, with the alignment of `column`.
    pub(super) fn align(&self, column: Column, text: &str, width: usize) -> String {
        let text = units::fit(text, width, self.look.ellipsis());
        units::pad(&text, width, !column.is_text())
    }
}
