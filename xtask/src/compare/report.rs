//! Formats the comparison as Markdown.

use std::{fmt, fs, process::Command};

use anyhow::Result;

use super::{
    explain::{Difference, Prelude, Times, WithPerf, WithStrace},
    programs::Program,
};
use crate::workspace::output;

/// The comparison of a program with each of the two tools.
pub(super) struct Section {
    pub(super) program: Program,
    pub(super) with_strace: WithStrace,
    pub(super) with_perf: WithPerf,
}

/// The comparisons of all programs.
pub(super) struct Report {
    machine: String,
    strace_prelude: Prelude,
    perf_prelude: Prelude,
    sections: Vec<Section>,
}

impl Report {
    pub(super) fn new(
        sections: Vec<Section>,
        strace_prelude: Prelude,
        perf_prelude: Prelude,
        versions: &[String],
    ) -> Result<Self> {
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
        let date = output(Command::new("date").arg("+%F"))?;
        let machine = format!("Linux {}, {}, {date}.", kernel.trim_end(), versions.join(", "));
        Ok(Self { machine, strace_prelude, perf_prelude, sections })
    }

    pub(super) fn is_explained(&self) -> bool {
        self.sections.iter().all(|s| s.with_strace.is_explained() && s.with_perf.is_explained())
    }
}

/// Formats a count. A dash stands for 0.
fn few(count: u64) -> String {
    if count == 0 { "–".to_owned() } else { count.to_string() }
}

fn listed(prelude: &Prelude) -> String {
    let calls: Vec<_> =
        prelude.calls.iter().map(|(name, count)| format!("{count} `{name}`")).collect();
    calls.join(", ")
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n", self.machine)?;
        for Section { program, with_strace, .. } in &self.sections {
            let WithStrace { processes, threads, .. } = with_strace;
            let Program { name, about, .. } = program;
            writeln!(f, "- **{name}**: {about}. {processes} processes, {threads} threads.")?;
        }
        self.totals(f)?;
        self.by_call(f)?;
        self.times(f)?;
        writeln!(
            f,
            "\nCalls before the program, in the child of strace: {}.",
            listed(&self.strace_prelude)
        )?;
        write!(
            f,
            "\nCalls before the program, in the child of perf: {}.",
            listed(&self.perf_prelude)
        )
    }
}

impl Report {
    fn totals(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\n| program | tool | profiler | tool counts | before the program | never returned \
             | killed in a restarted call, of all killed threads | unexplained |\n\
             | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |"
        )?;
        for Section { program, with_strace, with_perf } in &self.sections {
            let prelude = with_strace.sum(|d| d.prelude);
            let never_returned = with_strace.sum(|d| d.never_returned);
            let killed = with_strace.sum(|d| d.killed);
            let of_threads = with_strace.killed_threads;
            let (ours, theirs) = (with_strace.ours.calls, with_strace.theirs.calls);
            let denied = with_strace.sum(|d| d.denied);
            let explained = (prelude + never_returned + killed).abs_diff(denied);
            writeln!(
                f,
                "| {} | strace | {ours} | {theirs} | {} | {} | {} | {} |",
                program.name,
                few(prelude),
                few(never_returned),
                if of_threads > 0 { format!("{killed} of {of_threads}") } else { few(killed) },
                ours.abs_diff(theirs).abs_diff(explained),
            )?;
            let WithPerf { ours, theirs, prelude } = with_perf;
            writeln!(
                f,
                "| {} | perf | {ours} | {theirs} | {} | – | – | {} |",
                program.name,
                few(*prelude),
                ours.abs_diff(theirs + prelude),
            )?;
        }
        Ok(())
    }

    /// Writes each call that strace counts differently.
    fn by_call(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\n| program | call | profiler: calls, errors | strace: calls, errors | reason |\n\
             | --- | --- | ---: | ---: | --- |"
        )?;
        for Section { program, with_strace, .. } in &self.sections {
            for difference in &with_strace.differences {
                let Difference { name, ours, theirs, .. } = difference;
                let (program, why) = (program.name, why(difference));
                writeln!(
                    f,
                    "| {program} | `{name}` | {}, {} | {}, {} | {why} |",
                    ours.0, ours.1, theirs.0, theirs.1
                )?;
            }
            let WithStrace { names, differences, .. } = with_strace;
            let same = names - differences.len();
            writeln!(f, "| {} | {same} other calls | same | same | |", program.name)?;
        }
        Ok(())
    }

    fn times(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\n| program | profiler: time of common calls | strace -w: time of common calls \
             | strace adds per call |\n\
             | --- | ---: | ---: | ---: |"
        )?;
        for Section { program, with_strace, .. } in &self.sections {
            let Times { ours, theirs, calls } = with_strace.times;
            let more = (theirs - ours) / calls as f64 * 1e6;
            writeln!(f, "| {} | {ours:.3} s | {theirs:.3} s | {more:.1} µs |", program.name)?;
        }
        Ok(())
    }
}

/// Returns the reasons of a difference, with their counts.
fn why(difference: &Difference) -> String {
    let Difference { prelude, never_returned, killed, denied, restarted, sigreturns, .. } =
        *difference;
    let mut reasons: Vec<String> = [
        (prelude, "before the program"),
        (never_returned, "never returned"),
        (killed, "killed in a restarted call"),
        (denied, "denied, so not entered"),
        (restarted, "restarted, counted as errors by strace"),
        (sigreturns, "restored register values, counted as errors by strace"),
    ]
    .into_iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, reason)| format!("{count} {reason}"))
    .collect();
    if difference.unexplained {
        reasons.push("**unexplained**".to_owned());
    }
    reasons.join("; ")
}
