//! Runs the cases that no virtual machine can run on the host's kernel.

use std::{path::Path, process::Stdio};

use anyhow::Result;

use super::table::{Cell, Column};
use crate::{case::Ran, privilege, workspace::root};

/// Runs the cases that no column ran, if there are any.
pub(super) fn column(tests: &Path, cases: &[String], columns: &[Column]) -> Result<Option<Column>> {
    let is_left = |row: usize| columns.iter().all(|column| !column.cells[row].was_run());
    if !(0..cases.len()).any(is_left) {
        return Ok(None);
    }
    let release = nix::sys::utsname::uname()?.release().to_string_lossy().into_owned();
    let cells = cases.iter().enumerate().map(|(row, case)| {
        if is_left(row) { run(tests, case, &release) } else { Ok(Cell::Elsewhere) }
    });
    let cells = cells.collect::<Result<_>>()?;
    Ok(Some(Column { name: format!("this host, {release}"), cells }))
}

fn run(tests: &Path, case: &str, release: &str) -> Result<Cell> {
    let mut command = privilege::as_root(tests, &[])?;
    command.args(["--exact", case]).current_dir(root().join("profiler")).stdin(Stdio::null());
    let ended = command.output()?;
    let said = String::from_utf8_lossy(&ended.stdout);
    let ran = Ran::of(ended.status.code().unwrap_or(-1), &said);
    println!("{release}: {} {case}", ran.verdict());
    Ok(Cell::Ran(ran))
}
