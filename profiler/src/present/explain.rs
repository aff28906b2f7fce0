//! The page of `profiler explain`: what a process is doing now, as text and as JSON.

mod profile;
#[cfg(test)]
mod tests;
mod verdict;
mod waits;

use std::io;

use serde::Serialize;

use super::{
    paint::{HEADING, PLAIN, Paint},
    units,
};
use crate::{
    model::{Ages, Doing, Explanation, ProcessFacts, ProcessName, ThreadGroup, TimeLimit},
    text::json,
};
pub use verdict::verdict;

/// The version of the JSON.
const SCHEMA: u32 = 1;

/// Width of a label, characters.
const LABEL: usize = 12;

/// Functions of a kernel stack that are printed.
const MOST_FUNCTIONS: usize = 12;

/// A line of the page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The text, without styles and harmless.
    pub text: String,
    /// Whether it is a heading.
    pub is_heading: bool,
}

impl Line {
    fn heading(text: impl Into<String>) -> Self {
        Self { text: text.into(), is_heading: true }
    }

    fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), is_heading: false }
    }

    /// A label and a text.
    fn field(label: &str, text: &str) -> Self {
        Self::text(format!("{label:LABEL$}{text}"))
    }
}

/// The lines of the page.
pub fn lines(explanation: &Explanation) -> Vec<Line> {
    let mut lines = vec![Line::heading(verdict(explanation)), Line::text("")];
    process(&mut lines, explanation);
    lines.push(Line::text(""));
    let threads = units::counted(explanation.threads as u64, "thread");
    let read = match explanation.threads_read {
        read if read < explanation.threads => {
            format!(", of which {} could be read", units::grouped(read as u64))
        }
        _ => String::new(),
    };
    let order = if explanation.groups.len() > 1 { ", the longest wait first" } else { "" };
    lines.push(Line::heading(format!("{threads}{read}{order}")));
    for (at, of) in explanation.groups.iter().enumerate() {
        if at > 0 {
            lines.push(Line::text(""));
        }
        group(&mut lines, of);
    }
    if explanation.groups_omitted > 0 {
        let count = units::counted(explanation.groups_omitted as u64, "group");
        lines.push(Line::text(format!("  and {count} of threads that are not listed")));
    }
    if let Some(of) = &explanation.profile {
        lines.push(Line::text(""));
        profile::lines(&mut lines, of);
    }
    if !explanation.unknown.is_empty() {
        lines.push(Line::text(""));
        lines.push(Line::heading("Not known"));
        for unknown in &explanation.unknown {
            lines.push(Line::text(format!("  {}: {}", unknown.what, unknown.why)));
        }
    }
    lines
}

/// Writes the page. With styles, which the caller may remove.
///
/// # Errors
/// If `out` cannot be written.
pub fn write(out: &mut impl io::Write, explanation: &Explanation) -> io::Result<()> {
    for Line { text, is_heading } in lines(explanation) {
        let paint: Paint = if is_heading { HEADING } else { PLAIN };
        writeln!(out, "{paint}{text}{paint:#}")?;
    }
    Ok(())
}

#[derive(Serialize)]
struct Page<'a> {
    schema: u32,
    verdict: String,
    #[serde(flatten)]
    explanation: &'a Explanation,
}

/// Writes the explanation as JSON: one object and a newline.
///
/// # Errors
/// If `out` cannot be written.
pub fn write_json(out: &mut impl io::Write, explanation: &Explanation) -> io::Result<()> {
    let verdict = verdict(explanation);
    json::write(out, &Page { schema: SCHEMA, verdict, explanation })?;
    writeln!(out)
}

fn process(lines: &mut Vec<Line>, explanation: &Explanation) {
    let of = &explanation.process;
    let mut facts = vec![format!("{} {}, {}", of.pid, of.comm, of.state.title())];
    facts.extend(of.uid.map(|uid| format!("user {uid}")));
    facts.extend(of.age_ns.map(|age| format!("started {} ago", units::time(age))));
    if of.leader_has_ended {
        facts.push("its first thread has ended".into());
    }
    lines.push(Line::field("Process", &facts.join(", ")));
    if let Some(command) = of.command.as_ref().filter(|command| !command.is_empty()) {
        let words: Vec<String> = command.iter().map(ToString::to_string).collect();
        lines.push(Line::field("Command", &words.join(" ")));
    }
    if let Some(executable) = &of.executable {
        lines.push(Line::field("Executable", &executable.to_string()));
    }
    if let Some(parent) = &of.parent {
        lines.push(Line::field("Parent", &process_name(parent)));
    }
    if let Some(tracer) = &of.tracer {
        lines.push(Line::field("Traced by", &process_name(tracer)));
    }
    if !of.ids_in_namespaces.is_empty() {
        let ids: Vec<_> = of.ids_in_namespaces.iter().map(ToString::to_string).collect();
        lines.push(Line::field("In its pid namespace", &format!(" {}", ids.join(", "))));
    }
}

/// `7 (nginx)`, or `7` for a process that has ended.
fn process_name(process: &ProcessName) -> String {
    if process.comm.raw().is_empty() {
        format!("{} (ended)", process.pid)
    } else {
        format!("{} ({})", process.pid, process.comm)
    }
}

fn group(lines: &mut Vec<Line>, group: &ThreadGroup) {
    let mut title = format!("  {}", who(group));
    if let Some(age) = &group.age {
        title += &format!(", for {}", ages(age, group.count));
    }
    title += &format!(": {}", group.state.title());
    lines.push(Line::text(title));
    let what = match &group.doing {
        Doing::Call { text, .. } if group.differs => format!("{text}, and the like"),
        Doing::Call { text, .. } => text.to_string(),
        Doing::Runs => "runs, or is ready to run".into(),
        Doing::Blocked if group.state.is_stopped() => String::new(),
        Doing::Blocked => "is blocked outside of syscalls, for example in a page fault".into(),
        Doing::Kernel | Doing::Ended => String::new(),
        Doing::Unknown => "what it does is not known".into(),
    };
    if !what.is_empty() {
        lines.push(Line::text(format!("    {what}")));
    }
    for text in group.wait.iter().flat_map(waits::texts) {
        lines.push(Line::text(format!("    {text}")));
    }
    lines.extend(group.limit.and_then(limit).map(|text| Line::text(format!("    {text}"))));
    let sleeps_in = match (&group.kernel_stack, &group.wait_channel) {
        (Some(stack), _) => {
            let mut names: Vec<_> =
                stack.iter().take(MOST_FUNCTIONS).map(ToString::to_string).collect();
            if stack.len() > MOST_FUNCTIONS {
                names.push("...".into());
            }
            Some(names.join(" < "))
        }
        (None, Some(channel)) => Some(channel.to_string()),
        (None, None) => None,
    };
    lines.extend(sleeps_in.map(|text| Line::text(format!("    in the kernel: {text}"))));
}

/// The threads of a group.
fn who(group: &ThreadGroup) -> String {
    let [first, rest @ ..] = &group.named[..] else { return "no thread".into() };
    if group.count == 1 {
        return format!("thread {} ({})", first.tid, first.comm);
    }
    let mut tids: Vec<_> = group.named.iter().map(|thread| thread.tid.to_string()).collect();
    if group.count > tids.len() {
        tids.push("...".into());
    }
    let mut names: Vec<_> = rest.iter().chain([first]).map(|t| t.comm.to_string()).collect();
    names.sort_unstable();
    names.dedup();
    if names.len() > 4 {
        names.truncate(4);
        names.push("...".into());
    }
    let count = units::counted(group.count as u64, "thread");
    format!("{count} ({}) {}", names.join(", "), tids.join(" "))
}

/// `12.3s`; `at least 12.3s`; `1.00s to 12.3s`.
fn ages(age: &Ages, threads: usize) -> String {
    let &Ages { shortest_ns, longest_ns, at_least } = age;
    let longest = units::time(longest_ns);
    let least = if at_least { "at least " } else { "" };
    let shortest = units::time(shortest_ns);
    if threads == 1 || shortest == longest {
        format!("{least}{longest}")
    } else {
        format!("{shortest} to {least}{longest}")
    }
}

fn limit(limit: TimeLimit) -> Option<String> {
    let TimeLimit { total_ns, left_ns, at_most } = limit;
    let most = if at_most { "at most " } else { "" };
    match (total_ns, left_ns) {
        (Some(total), Some(left)) => Some(format!(
            "returns in {most}{}: its time limit is {}",
            units::time(left),
            units::time(total)
        )),
        (Some(total), None) => Some(format!("its time limit is {}", units::time(total))),
        (None, Some(left)) => Some(format!("returns in {most}{}", units::time(left))),
        (None, None) => None,
    }
}

/// `PID 7 (nginx)`.
fn subject(process: &ProcessFacts) -> String {
    format!("PID {} ({})", process.pid, process.comm)
}
