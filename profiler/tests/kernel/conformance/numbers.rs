//! Numbers are interpreted by the table of their ABI.

use super::Skip;
use crate::run::{Mode, Stat};

/// i386 and x32 calls from 64-bit code.
pub(super) fn int_0x80(mode: Mode) {
    let (report, statement) = Stat::new(mode).workload(&["abis", "calls=100"]);
    report.has_exactly(&statement);
    report.nothing_overflowed();
    assert_eq!(report.row("i386", "getpid").nr, Some(20));
    assert_eq!(report.row("i386", "open").nr, Some(5));
    assert_eq!(report.row("i386", "unknown").nr, Some(-1));
    assert_eq!(report.row("x32", "getppid").nr, Some(110));
}

/// Results that look like errnos.
pub(super) fn results_like_errnos(mode: Mode) {
    let (report, statement) =
        Stat::with_privileged_command(mode).workload(&["results-like-errnos", "calls=20"]);
    report.has_exactly(&statement);
    report.nothing_overflowed();
}

/// Unknown numbers share a row.
pub(super) fn bogus_numbers(mode: Mode) {
    let (report, statement) = Stat::new(mode).workload(&["bogus", "calls=100"]);
    report.has_exactly(&statement);
    report.nothing_overflowed();
    assert_eq!(report.row("x86_64", "unknown").nr, Some(-1));
}

/// A probed function returns -EIO, and so does the call of its probe.
pub(super) fn uretprobe(mode: Mode) -> Result<(), Skip> {
    has_call("uretprobe")?;
    let (report, statement) =
        Stat::with_privileged_command(mode).workload(&["uprobe-at-return", "calls=100"]);
    report.has_exactly(&statement);
    Ok(())
}

/// The entries of functions are probed while the register for results contains -EIO.
pub(super) fn uprobe(mode: Mode) -> Result<(), Skip> {
    has_call("uprobe")?;
    let (report, statement) =
        Stat::with_privileged_command(mode).workload(&["uprobe-at-entry", "calls=100"]);
    report.has_exactly(&statement);
    let made = &statement.total()["x86_64/uprobe"];
    if made.calls > 0 { Ok(()) } else { Err(Skip::ProbesByBreakpoint) }
}

/// A program that makes the call of a probe itself.
pub(super) fn uretprobe_called(mode: Mode) {
    let (report, statement) = Stat::new(mode).workload(&["uretprobe-called", "calls=100"]);
    report.has_exactly(&statement);
}

/// Whether this kernel has a syscall that the oldest supported kernel lacks.
fn has_call(name: &'static str) -> Result<(), Skip> {
    let symbols = std::fs::read_to_string("/proc/kallsyms").expect("symbols");
    let symbol = format!(" __x64_sys_{name}");
    let is_there = symbols.lines().any(|line| line.ends_with(&symbol));
    is_there.then_some(()).ok_or(Skip::NoCall(name))
}
