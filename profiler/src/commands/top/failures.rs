//! The lines of the view of errors: on what calls failed, and why they were refused.

use super::{
    header::Piece,
    help,
    shown::Shown,
    style::{Look, Tone},
    view::{Selection, Subject},
};
use crate::{
    model::{FailureCoverage, Grouping},
    present::{
        failures::{self, FailureSum, TargetSum},
        shown::Shown as Chosen,
        units,
    },
};

/// What to do if targets are not noted.
const NOT_NOTED: &str = "Paths and addresses are not noted: start `profiler top --show-paths` to see on what calls fail.";

/// Width of the number of calls.
const CALLS: usize = 9;

/// The lines of the view of `subject`, of at most `width` columns.
pub(super) fn lines(
    subject: &Subject,
    shown: &Shown,
    selection: Selection,
    width: usize,
    look: Look,
) -> Vec<Vec<Piece>> {
    let title = look.printable(&subject.title());
    let mut lines = vec![vec![Piece::new(format!("Errors: {title}"), Tone::Strong)]];
    let mut say = |text: &str| {
        let text = help::wrap(text, width).into_iter();
        lines.extend(text.map(|line| vec![Piece::new(line, Tone::Dim)]));
    };
    if shown.snapshot.failures.coverage == FailureCoverage::NotNoted {
        say(NOT_NOTED);
        return lines;
    }
    let sums = sums(subject, shown, selection);
    if sums.is_empty() {
        say("no call has failed");
        return lines;
    }
    let is_refused_unknown =
        |sum: &FailureSum| sum.targets.iter().any(|t| t.reason == Some(failures::Reason::Unknown));
    if sums.iter().any(is_refused_unknown) {
        let snapshot = &shown.snapshot.failures;
        say(&failures::why_unknown(snapshot.coverage, snapshot.modules.as_deref()));
    }
    for sum in &sums {
        lines.push(vec![
            Piece::new(format!("{} {}", sum.syscall(), sum.error(None)), Tone::Warning),
            Piece::new(units::counted(sum.calls, "call"), Tone::Normal),
        ]);
        lines.extend(sum.targets.iter().map(|target| line(target, sum.denied, look)));
        if sum.not_listed > 0 {
            lines.push(vec![number(sum.not_listed), Piece::new("(others)", Tone::Dim)]);
        }
    }
    lines
}

/// The failures of the calls of `subject`.
fn sums(subject: &Subject, shown: &Shown, selection: Selection) -> Vec<FailureSum> {
    let process = subject.owner.as_ref().map(|owner| owner.one_process());
    let chosen =
        Chosen { no_waits: subject.call.is_none() && !selection.waits, ..Chosen::default() };
    let by = if process.is_some() { Grouping::PROCESS } else { Grouping::SYSCALL };
    let mut sums = failures::sums(&shown.snapshot, by, &chosen, selection.span);
    sums.retain(|sum| {
        let is_of_process = process.is_none_or(|process| {
            let id = |process: &crate::model::Process| (process.tgid, process.start_ns);
            process.zip(sum.process.as_ref()).is_some_and(|(a, b)| id(a) == id(b))
        });
        is_of_process
            && subject.call.is_none_or(|key| key == sum.key)
            && subject.set.is_none_or(|set| set.contains(sum.key))
    });
    sums
}

fn number(calls: u64) -> Piece {
    Piece::new(units::pad(&units::count(calls), CALLS, true), Tone::Normal)
}

fn line(target: &TargetSum, denied: bool, look: Look) -> Vec<Piece> {
    let mut line = vec![number(target.calls)];
    if target.at_most_more > 0 {
        let most = units::count(target.calls + target.at_most_more);
        line.push(Piece::new(format!("up to {most}"), Tone::Dim).or_less(1));
    }
    if let Some(text) = &target.text {
        line.push(Piece::new(look.printable(&text.to_string()), Tone::Normal));
    }
    if denied && let Some(errno) = target.error() {
        line.push(Piece::new(errno, Tone::Warning));
    }
    if let Some(reason) = target.reason {
        line.push(Piece::new(reason.text(), Tone::Accent));
    }
    line
}
