//! Lays out text in columns. Leaves out empty columns and, on a narrow terminal, the columns that
//! matter least.

use unicode_width::UnicodeWidthStr;

use super::{
    columns::{Column, Spec},
    units,
};

/// The space between two columns.
const GAP: &str = "  ";

/// How a column is laid out: its title, its alignment, and the order in which a narrow terminal
/// omits columns (the greatest first; 0 never).
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) title: &'static str,
    pub(super) right: bool,
    pub(super) expendable: u8,
}

impl From<Column> for Place {
    fn from(column: Column) -> Self {
        let Spec { title, expendable, .. } = column.spec();
        Self { title, right: !column.is_text(), expendable }
    }
}

/// Titles, and lines of cells below them.
pub(super) struct Grid {
    columns: Vec<Place>,
    cells: Vec<Vec<String>>,
}

impl Grid {
    /// Lays out `cells`, by line and column, in `width` columns of the terminal; `None` for no
    /// limit. Leaves out expendable columns that are empty in every line.
    pub(super) fn new(columns: Vec<Place>, cells: Vec<Vec<String>>, width: Option<usize>) -> Self {
        let mut grid = Self { columns, cells };
        grid.drop_empty();
        if let Some(width) = width {
            grid.drop_what_does_not_fit(width);
        }
        grid
    }

    /// The width of a line in columns of the terminal.
    pub(super) fn width(&self) -> usize {
        let widths: usize = self.widths().iter().map(|width| width + GAP.len()).sum();
        widths.saturating_sub(GAP.len())
    }

    /// The titles.
    pub(super) fn title(&self) -> String {
        line(&self.columns, &self.widths(), |i| self.columns[i].title)
    }

    /// The lines below.
    pub(super) fn lines(&self) -> impl Iterator<Item = String> + '_ {
        let widths = self.widths();
        self.cells.iter().map(move |cells| line(&self.columns, &widths, |i| &cells[i]))
    }

    fn drop_empty(&mut self) {
        for i in (0..self.columns.len()).rev() {
            let empty = self.cells.iter().all(|cells| cells[i].is_empty());
            if self.columns[i].expendable > 0 && empty {
                self.remove(i);
            }
        }
    }

    fn drop_what_does_not_fit(&mut self, width: usize) {
        while self.width() > width {
            let worst = (0..self.columns.len())
                .filter(|&i| self.columns[i].expendable > 0)
                .max_by_key(|&i| self.columns[i].expendable);
            match worst {
                Some(i) => self.remove(i),
                None => return,
            }
        }
    }

    fn remove(&mut self, at: usize) {
        self.columns.remove(at);
        for cells in &mut self.cells {
            cells.remove(at);
        }
    }

    fn widths(&self) -> Vec<usize> {
        let widest = |i: usize| self.cells.iter().map(|cells| cells[i].width()).max().unwrap_or(0);
        (0..self.columns.len()).map(|i| widest(i).max(self.columns[i].title.width())).collect()
    }
}

fn line<'a>(columns: &[Place], widths: &[usize], cell: impl Fn(usize) -> &'a str) -> String {
    let cells: Vec<String> = columns
        .iter()
        .enumerate()
        .map(|(i, column)| units::pad(cell(i), widths[i], column.right))
        .collect();
    cells.join(GAP)
}
