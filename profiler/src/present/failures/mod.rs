//! On which paths and addresses calls failed, and why calls were refused.
//!
//! The figures of a report say how many calls failed. The targets that are listed and
//! [`FailureSum::not_listed`] add up to that number.

mod output;
mod reason;
mod target;

use std::{
    borrow::Cow,
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use profiler_common::call::CallKey;

pub use self::reason::Reason;
use self::target::Kind as TargetKind;
use super::shown::Shown;
use crate::{
    model::{
        Dimension, FailureGroup, FailureTarget, Figures, Grouping, Kind, Process, Snapshot, Span,
    },
    names::{errnos, syscalls, waits},
    text::Untrusted,
};
pub use output::why_unknown;
pub(super) use output::{Object, missing, write};

/// How many targets of a sum are listed.
const TARGETS: usize = 20;

/// The failures of a process or of all processes of a name, of a syscall, with an errno.
#[derive(Clone, Debug)]
pub struct FailureSum {
    /// The process, if rows are grouped by process.
    pub process: Option<Arc<Process>>,
    /// The name of the process.
    pub comm: Untrusted,
    /// The syscall.
    pub key: CallKey,
    /// The errno. `None` for denied calls, whose errno is that of the target, and for errors that
    /// the kernel side does not count separately.
    pub errno: Option<u16>,
    /// Whether seccomp or a tracer refused the calls.
    pub denied: bool,
    /// Calls, as the figures have them.
    pub calls: u64,
    /// The targets with the most calls, in this order.
    pub targets: Vec<TargetSum>,
    /// Calls on other targets, or whose target was not noted.
    pub not_listed: u64,
}

/// How often calls failed on a target.
#[derive(Clone, Debug)]
pub struct TargetSum {
    /// The target; `None` if the call has none.
    pub text: Option<Untrusted>,
    kind: TargetKind,
    /// The errno of a denied call, if it has one.
    errno: Option<u16>,
    /// Why the call was refused, if it was.
    pub reason: Option<Reason>,
    /// Calls. There can be more, but at most `at_most_more`.
    pub calls: u64,
    /// How many more calls there can be.
    pub at_most_more: u64,
}

impl TargetSum {
    /// The name of the errno of a denied call, if it has one.
    pub fn error(&self) -> Option<Cow<'static, str>> {
        self.errno.map(errnos::name)
    }
}

impl FailureSum {
    /// The name of the syscall.
    pub fn syscall(&self) -> &'static str {
        syscalls::name(self.key)
    }

    /// The name of the error of a target.
    pub fn error(&self, target: Option<&TargetSum>) -> String {
        let errno = self.errno.or_else(|| target.and_then(|target| target.errno));
        match errno {
            Some(errno) => errnos::name(errno).into_owned(),
            None if self.denied => "denied".to_owned(),
            None => "other".to_owned(),
        }
    }

    /// Whether there is anything to say beyond the number of calls.
    fn says_something(&self) -> bool {
        self.targets.iter().any(|target| target.text.is_some() || target.reason.is_some())
    }
}

/// What names a sum: the process or its name, the syscall, the errno, and whether it was denied.
type SumKey = ((Option<u32>, u64), String, CallKey, Option<u16>, bool);

/// What names a target in a sum: its text, the errno of a denied call, and the reason.
type TargetKey = (Option<Untrusted>, Option<u16>, Option<Reason>);

/// A sum in the making.
#[derive(Default)]
struct Building<'a> {
    process: Option<Arc<Process>>,
    comm: Untrusted,
    calls: u64,
    noted: u64,
    /// Sum of [`FailureGroup::dropped`].
    dropped: u64,
    targets: HashMap<TargetKey, Adding<'a>>,
}

/// A target in the making.
struct Adding<'a> {
    target: &'a FailureTarget,
    calls: u64,
    missed: u64,
    /// [`FailureGroup::dropped`] of the groups in which the target is listed.
    dropped: u64,
    /// The group that was added last.
    group: usize,
}

/// The failures of a snapshot, the most frequent first. Empty if targets are not noted.
pub fn sums(snapshot: &Snapshot, by: Grouping, shown: &Shown, span: Span) -> Vec<FailureSum> {
    let by_process = by.has(Dimension::Process) || by.has(Dimension::Thread);
    let name = |process: &Process| match by_process {
        true => ((process.tgid, process.start_ns), process.comm.raw().to_owned()),
        false => ((None, 0), process.comm.raw().to_owned()),
    };
    let is_shown = |key: CallKey, errno: Option<u16>| {
        let has_errno =
            shown.errnos.is_empty() || shown.errnos.iter().any(|e| Some(e.number()) == errno);
        has_errno && !(shown.no_waits && waits::kind(key) == Kind::Waits)
    };
    let mut sums: BTreeMap<SumKey, Building<'_>> = BTreeMap::new();
    let mut figures: HashMap<_, HashMap<CallKey, &Figures>> = HashMap::new();
    for row in &snapshot.processes {
        let of_calls = figures.entry((row.process.tgid, row.process.start_ns)).or_default();
        for call in row.calls.iter() {
            let of_call = span.of(call);
            of_calls.insert(call.key, of_call);
            for (errno, denied, calls) in failures(of_call) {
                if calls == 0 || !is_shown(call.key, errno) {
                    continue;
                }
                let (process, comm) = name(&row.process);
                let sum = sums.entry((process, comm, call.key, errno, denied)).or_default();
                sum.calls += calls;
                sum.comm = row.process.comm.clone();
                sum.process = by_process.then(|| Arc::clone(&row.process));
            }
        }
    }
    for (index, group) in snapshot.failures.groups.iter().enumerate() {
        let process = (group.process.tgid, group.process.start_ns);
        // A process that is no longer listed: its calls are in the row of the ended processes.
        let has_figures = figures.get(&process).is_some_and(|of| of.contains_key(&group.key));
        let errno = group.errno.filter(|_| !group.denied);
        let (process, comm) = name(&group.process);
        let sum = sums.get_mut(&(process, comm, group.key, errno, group.denied));
        if let Some(sum) = sum.filter(|_| has_figures) {
            sum.add(group, index, span);
        }
    }
    let mut sums: Vec<FailureSum> = sums.into_iter().map(|(key, sum)| sum.build(&key)).collect();
    // The sort is stable, and the sums are in the order of their keys.
    sums.sort_by_key(|sum| Reverse(sum.calls));
    sums
}

/// The failures in figures: the errno, whether the calls were denied, and their number.
fn failures(figures: &Figures) -> impl Iterator<Item = (Option<u16>, bool, u64)> + use<'_> {
    let errors = figures.errnos.iter().map(|&(errno, calls)| (Some(errno), false, calls));
    errors.chain([(None, false, figures.errors_unlisted), (None, true, figures.denied)])
}

impl<'a> Building<'a> {
    fn add(&mut self, group: &'a FailureGroup, index: usize, span: Span) {
        self.noted += if span == Span::Total { group.noted } else { group.recent };
        self.dropped += group.dropped;
        for target in &group.targets {
            let calls = if span == Span::Total { target.calls } else { target.recent };
            let reason = Reason::of(group.denied, group.key, group.errno, target.capability);
            let errno = group.errno.filter(|_| group.denied);
            // As shown: two directories with the same path, one after the other, are one.
            let adding = self
                .targets
                .entry((target::text(target), errno, reason))
                .or_insert(Adding { target, calls: 0, missed: 0, dropped: 0, group: usize::MAX });
            adding.calls += calls;
            adding.missed += target.missed;
            if adding.group != index {
                adding.group = index;
                adding.dropped += group.dropped;
            }
        }
    }

    fn build(self, &(_, _, key, errno, denied): &SumKey) -> FailureSum {
        let Self { process, comm, calls, noted, dropped, targets } = self;
        let not_noted = calls.saturating_sub(noted);
        let mut targets: Vec<TargetSum> = targets
            .into_iter()
            .filter(|(_, adding)| adding.calls > 0)
            .map(|((text, errno, reason), adding)| TargetSum {
                text,
                kind: TargetKind::of(adding.target),
                errno,
                reason,
                calls: adding.calls,
                // In a group without the target, it had at most as many calls as any that was
                // dropped. And it may have had all calls that were not noted.
                at_most_more: adding.missed + dropped.saturating_sub(adding.dropped) + not_noted,
            })
            .collect();
        let text = |target: &TargetSum| target.text.as_ref().map(|text| text.raw().to_owned());
        targets.sort_by(|a, b| b.calls.cmp(&a.calls).then_with(|| text(a).cmp(&text(b))));
        targets.truncate(TARGETS);
        let listed: u64 = targets.iter().map(|target| target.calls).sum();
        let not_listed = calls.saturating_sub(listed);
        // A target cannot have more calls than are not listed.
        targets.iter_mut().for_each(|target| {
            target.at_most_more = target.at_most_more.min(not_listed);
        });
        FailureSum { process, comm, key, errno, denied, calls, targets, not_listed }
    }
}

#[cfg(test)]
mod tests;
