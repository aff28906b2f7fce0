//! The table of several syscalls.

use std::io;

use profiler_common::call::Abi;

use super::Found;
use crate::{
    names::table::OnAbi,
    present::{
        grid::{Grid, Place},
        paint::HEADING,
        table::Style,
    },
};

const COLUMNS: [Place; 7] = [
    Place { title: "X86_64", right: true, expendable: 1 },
    Place { title: "I386", right: true, expendable: 3 },
    Place { title: "X32", right: true, expendable: 4 },
    Place { title: "SYSCALL", right: false, expendable: 0 },
    Place { title: "SINCE", right: false, expendable: 6 },
    Place { title: "CATEGORY", right: false, expendable: 2 },
    Place { title: "CLASSES", right: false, expendable: 5 },
];

/// Writes one line for each call, sorted by number. Numbers of x86_64 come first, and then those
/// of calls that only i386 has.
pub(super) fn write(out: &mut impl io::Write, calls: &[Found<'_>], style: Style) -> io::Result<()> {
    let mut calls = calls.to_vec();
    let number = |found: &Found<'_>, abi| found.on_abi(abi).map(|on| on.number);
    calls.sort_by_key(|found| {
        let first = found.on().next();
        (first.map(|on| on.abi), first.map(|on| on.number))
    });
    let cells = calls.iter().map(|found| {
        let number = |abi| number(found, abi).map_or(String::new(), |n| n.to_string());
        vec![
            number(Abi::X86_64),
            number(Abi::I386),
            number(Abi::X32),
            name(found),
            found.call.since.unwrap_or_default().to_owned(),
            found.call.category.to_string(),
            found.call.classes.wide().to_string(),
        ]
    });
    let grid = Grid::new(COLUMNS.into(), cells.collect(), style.width);
    writeln!(out, "{HEADING}{}{HEADING:#}", grid.title().trim_end())?;
    for line in grid.lines() {
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// The name, with a mark if current kernels no longer have the syscall.
fn name(found: &Found<'_>) -> String {
    let is_gone = |on: &OnAbi| on.arguments.is_none();
    let mark = if found.on().all(is_gone) { " (ENOSYS)" } else { "" };
    format!("{}{mark}", found.call.name)
}
