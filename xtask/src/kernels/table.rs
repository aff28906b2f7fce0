//! The table of results, by case and kernel.

use std::{collections::BTreeSet, fmt};

use super::skip::Skip;
use crate::case::Ran;

/// The result of a case on a kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cell {
    Ran(Ran),
    Skipped(Skip),
    /// Other kernels ran it.
    Elsewhere,
    /// The machine ended during the case.
    Hung,
    /// The machine ended before the case.
    NotReached,
}

impl Cell {
    /// Whether the kernel ran the case, with any result.
    pub(super) fn was_run(&self) -> bool {
        !matches!(self, Self::Skipped(_) | Self::Elsewhere | Self::Ran(Ran::Ignored(_)))
    }

    fn has_passed(&self) -> bool {
        matches!(self, Self::Ran(Ran::Passed | Ran::PassedWithLoss))
    }
}

/// A kernel, and the result of each case.
pub(super) struct Column {
    pub(super) name: String,
    pub(super) cells: Vec<Cell>,
}

/// The table.
pub(super) struct Table {
    pub(super) cases: Vec<String>,
    pub(super) columns: Vec<Column>,
}

impl Table {
    /// Whether every case passed on each kernel that ran it, and ran on at least one kernel.
    pub(super) fn is_success(&self) -> bool {
        let cells = || self.columns.iter().flat_map(|column| &column.cells);
        let somewhere = |row: usize| {
            self.columns.iter().any(|column| column.cells.get(row).is_some_and(Cell::has_passed))
        };
        cells().all(|cell| cell.has_passed() || !cell.was_run())
            && (0..self.cases.len()).all(somewhere)
    }

    /// The reasons, which are numbered from one.
    fn reasons(&self) -> Vec<String> {
        let cells = self.columns.iter().flat_map(|column| &column.cells);
        let reasons: BTreeSet<_> = cells.filter_map(reason).collect();
        reasons.into_iter().collect()
    }
}

/// Why a case was skipped or ignored.
fn reason(cell: &Cell) -> Option<String> {
    match cell {
        Cell::Skipped(skip) => Some(skip.to_string()),
        Cell::Ran(Ran::Ignored(reason)) => Some(reason.clone()),
        _ => None,
    }
}

fn text(cell: &Cell, reasons: &[String]) -> String {
    match cell {
        Cell::Elsewhere => String::new(),
        Cell::Ran(ran @ (Ran::Passed | Ran::PassedWithLoss | Ran::Failed(_))) => {
            ran.verdict().to_owned()
        }
        Cell::Hung => "HUNG".to_owned(),
        Cell::NotReached => "NOT RUN".to_owned(),
        Cell::Skipped(_) | Cell::Ran(Ran::Ignored(_)) => {
            let of_cell = reason(cell);
            let number = reasons.iter().position(|r| of_cell.as_ref() == Some(r)).unwrap_or(0) + 1;
            format!("skipped: {number}")
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reasons = self.reasons();
        let first = self.cases.iter().map(String::len).max().unwrap_or(0);
        let width = |column: &Column| column.name.len().max("skipped: 1".len());
        let line = |name: &str, cells: &mut dyn Iterator<Item = (usize, String)>| {
            let cells = cells.map(|(width, cell)| format!("  {cell:width$}"));
            format!("{name:first$}{}", cells.collect::<String>()).trim_end().to_owned()
        };
        let names = |column: &Column| (width(column), column.name.clone());
        writeln!(f, "{}", line("", &mut self.columns.iter().map(names)))?;
        for (row, case) in self.cases.iter().enumerate() {
            let cell = |column: &Column| {
                let cell = column.cells.get(row).unwrap_or(&Cell::NotReached);
                (width(column), text(cell, &reasons))
            };
            writeln!(f, "{}", line(case, &mut self.columns.iter().map(cell)))?;
        }
        for (number, reason) in reasons.iter().enumerate() {
            writeln!(f, "skipped: {}: {reason}", number + 1)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(cells: [[Cell; 2]; 2]) -> Table {
        let names = ["5.10.0", "6.1.0"].into_iter();
        let column = |(name, cells): (&str, [Cell; 2])| Column {
            name: name.to_owned(),
            cells: cells.into(),
        };
        Table {
            cases: vec!["one".to_owned(), "two".to_owned()],
            columns: names.zip(cells).map(column).collect(),
        }
    }

    const PASSED: Cell = Cell::Ran(Ran::Passed);

    #[test]
    fn shows_each_cell_and_each_reason_once() {
        let skipped = || Cell::Skipped(Skip::NoPrometheus);
        let shown = table([[PASSED, skipped()], [Cell::Hung, skipped()]]).to_string();
        let lines: Vec<_> = shown.lines().collect();
        assert_eq!(lines[0], "     5.10.0      6.1.0");
        assert_eq!(lines[1], "one  ok          HUNG");
        assert_eq!(lines[2], "two  skipped: 1  skipped: 1");
        assert_eq!(lines[3], format!("skipped: 1: {}", Skip::NoPrometheus));
        assert_eq!(lines.len(), 4);
    }

    #[test]
    fn succeeds_only_if_all_that_could_run_passed() {
        let skipped = || Cell::Skipped(Skip::Emulated);
        assert!(table([[PASSED, skipped()], [PASSED, PASSED]]).is_success());
        assert!(!table([[skipped(), skipped()], [skipped(), skipped()]]).is_success());
        // A case that one kernel cannot run must run on another.
        assert!(!table([[PASSED, skipped()], [PASSED, skipped()]]).is_success());
        assert!(table([[PASSED, skipped()], [Cell::Elsewhere, PASSED]]).is_success());
        for bad in [Cell::Hung, Cell::NotReached, Cell::Ran(Ran::Failed(String::new()))] {
            assert!(!table([[PASSED, PASSED], [PASSED, bad]]).is_success());
        }
    }
}
