//! Failures in the table and in the JSON of `profiler stat`.

use std::{borrow::Cow, io};

use serde::Serialize;

use super::{FailureSum, Reason, TargetSum};
use crate::{
    model::FailureCoverage,
    names::errnos,
    present::{
        Report,
        grid::{Grid, Place},
        json::number,
        paint::{BAD, HEADING},
        table::Style,
        units,
    },
    text::Untrusted,
};

/// How many sums the table has.
const SUMS: usize = 50;

/// The columns of the table.
const COLUMNS: [Place; 8] = {
    const fn column(title: &'static str, right: bool, expendable: u8) -> Place {
        Place { title, right, expendable }
    }
    [
        column("pid", true, 1),
        column("process", false, 3),
        column("syscall", false, 0),
        column("error", false, 0),
        column("calls", true, 0),
        column("up to", true, 2),
        column("path, address or descriptor", false, 1),
        column("why", false, 1),
    ]
};

/// Writes the table. Writes nothing if targets are not noted, or no call failed.
///
/// # Errors
/// If `out` cannot be written.
pub(in crate::present) fn write(
    out: &mut impl io::Write,
    report: &Report<'_>,
    style: Style,
) -> io::Result<()> {
    let (shown, others): (Vec<_>, Vec<_>) =
        report.failures.iter().partition(|sum| sum.says_something());
    if shown.is_empty() {
        return Ok(());
    }
    let all: u64 = shown.iter().map(|sum| sum.calls).sum();
    let calls = units::grouped(all);
    writeln!(
        out,
        "\n{HEADING}On what {calls} calls failed, and why calls were refused:{HEADING:#}"
    )?;
    let listed = &shown[..shown.len().min(SUMS)];
    let cells: Vec<_> = listed.iter().flat_map(|sum| lines(sum)).collect();
    let grid = Grid::new(COLUMNS.into(), cells, style.width);
    writeln!(out, "{HEADING}{}{HEADING:#}", grid.title().trim_end())?;
    for line in grid.lines() {
        writeln!(out, "{BAD}{}{BAD:#}", line.trim_end())?;
    }
    let further: u64 = shown[listed.len()..].iter().map(|sum| sum.calls).sum();
    if further > 0 {
        let sums = units::grouped((shown.len() - listed.len()) as u64);
        writeln!(out, "{} more calls, in {sums} further groups", units::grouped(further))?;
    }
    let elsewhere: u64 = others.iter().map(|sum| sum.calls).sum();
    if elsewhere > 0 {
        let elsewhere = units::grouped(elsewhere);
        writeln!(out, "{elsewhere} more calls failed that have no path, address or descriptor")?;
    }
    let is_unknown = |target: &TargetSum| target.reason == Some(Reason::Unknown);
    if listed.iter().any(|sum| sum.targets.iter().any(is_unknown)) {
        let why = why_unknown(report.failure_coverage, report.security_modules);
        writeln!(out, "{why}")?;
    }
    Ok(())
}

/// The lines of a sum.
fn lines(sum: &FailureSum) -> Vec<Vec<String>> {
    let pid = sum.process.as_ref().and_then(|process| process.tgid);
    let line = |target: Option<&TargetSum>, calls: u64, up_to: String, text: String| {
        let reason = target.and_then(|target| target.reason);
        vec![
            pid.map(|pid| pid.to_string()).unwrap_or_default(),
            sum.comm.to_string(),
            sum.syscall().to_owned(),
            sum.error(target),
            units::grouped(calls),
            up_to,
            text,
            reason.map(Reason::text).unwrap_or_default(),
        ]
    };
    let mut lines: Vec<_> = sum
        .targets
        .iter()
        .map(|target| {
            let up_to = match target.at_most_more {
                0 => String::new(),
                more => units::grouped(target.calls + more),
            };
            let text = target.text.as_ref().map(ToString::to_string).unwrap_or_default();
            line(Some(target), target.calls, up_to, text)
        })
        .collect();
    if sum.not_listed > 0 {
        let other = if sum.targets.is_empty() { "(not noted)" } else { "(others)" };
        lines.push(line(None, sum.not_listed, String::new(), other.to_owned()));
    }
    lines
}

/// Why the reason of some calls is unknown.
pub fn why_unknown(coverage: FailureCoverage, modules: Option<&[Untrusted]>) -> String {
    let why = missing(coverage)
        .unwrap_or("the kernel found no capability missing before it refused the call");
    let modules = match modules {
        None => "The kernel does not say which security modules are in force.".to_owned(),
        Some([]) => "No security module is in force.".to_owned(),
        Some(modules) => {
            let names: Vec<String> = modules.iter().map(ToString::to_string).collect();
            format!("Security modules in force, which may have refused it: {}.", names.join(", "))
        }
    };
    format!("unknown: {why}. {modules}")
}

/// Why reasons are not known, if they are not.
pub(in crate::present) fn missing(coverage: FailureCoverage) -> Option<&'static str> {
    match coverage {
        FailureCoverage::WithoutCapabilities => Some(
            "this kernel does not report checks of capabilities, which requires \
             CONFIG_DEBUG_INFO_BTF=y and Linux 6.14, or CONFIG_FUNCTION_TRACER=y and Linux 5.11",
        ),
        FailureCoverage::NotNoted | FailureCoverage::Noted => None,
    }
}

/// A sum in JSON.
#[derive(Serialize)]
pub(in crate::present) struct Object<'a> {
    pid: Option<u32>,
    comm: &'a Untrusted,
    abi: Option<&'static str>,
    syscall: &'static str,
    nr: i64,
    /// Null for denied calls, and for errors that are not counted separately.
    errno: Option<Cow<'static, str>>,
    /// Whether seccomp or a tracer refused the calls.
    denied: bool,
    /// The sum of the calls of all targets and of `not_listed`.
    calls: u64,
    not_listed: u64,
    targets: Vec<TargetObject<'a>>,
}

/// A target in JSON.
#[derive(Serialize)]
struct TargetObject<'a> {
    /// Null if the call has none.
    target: Option<&'a Untrusted>,
    /// `path`, `address` or `fd`.
    kind: Option<&'static str>,
    /// The errno of denied calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    errno: Option<Cow<'static, str>>,
    /// Null unless the calls were refused.
    reason: Option<&'static str>,
    /// The capability that was missing.
    capability: Option<Cow<'static, str>>,
    calls: u64,
    at_most_more: u64,
}

impl<'a> Object<'a> {
    fn new(sum: &'a FailureSum) -> Self {
        let target = |target: &'a TargetSum| TargetObject {
            target: target.text.as_ref(),
            kind: target.kind.name(),
            errno: target.error(),
            reason: target.reason.map(Reason::name),
            capability: target.reason.and_then(Reason::capability),
            calls: target.calls,
            at_most_more: target.at_most_more,
        };
        Self {
            pid: sum.process.as_ref().and_then(|process| process.tgid),
            comm: &sum.comm,
            abi: sum.key.abi().map(profiler_common::call::Abi::name),
            syscall: sum.syscall(),
            nr: number(sum.key),
            errno: sum.errno.map(errnos::name),
            denied: sum.denied,
            calls: sum.calls,
            not_listed: sum.not_listed,
            targets: sum.targets.iter().map(target).collect(),
        }
    }

    /// The failures of a report; `None` if targets are not noted.
    pub(in crate::present) fn of(report: &Report<'a>) -> Option<Vec<Self>> {
        let is_noted = report.failure_coverage != FailureCoverage::NotNoted;
        is_noted.then(|| report.failures.iter().map(Self::new).collect())
    }
}
