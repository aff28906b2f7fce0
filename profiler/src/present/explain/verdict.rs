//! The first line of the page: what the process does, in one or two sentences.

use super::{ages, process_name, subject, waits};
use crate::{
    model::{CpuUse, Doing, Evidence, Explanation, TaskState, ThreadGroup, Wait},
    present::units,
};

/// From this share of a CPU on, a process works rather than waits.
const BUSY: f64 = 0.5;

/// From this share of a CPU on, a process works if one of its threads runs.
const NOT_IDLE: f64 = 0.05;

/// What the process does, in one or two sentences.
pub fn verdict(explanation: &Explanation) -> String {
    let subject = subject(&explanation.process);
    let text = of_process(explanation);
    match explanation.has_ended {
        true if text.is_empty() => format!("{subject} ended while it was explained."),
        true => format!("{subject} ended while it was explained. Before, it {text}"),
        false => format!("{subject} {text}"),
    }
}

fn of_process(explanation: &Explanation) -> String {
    let process = &explanation.process;
    let groups = &explanation.groups;
    if process.state == TaskState::ZOMBIE && !process.leader_has_ended {
        return match &process.parent {
            Some(parent) => format!(
                "has ended. It stays until its parent, {}, reads its exit status.",
                process_name(parent)
            ),
            None => "has ended.".into(),
        };
    }
    if let Some(text) = deadlock(explanation) {
        return text;
    }
    if process.is_kernel_thread {
        let channel = groups.first().and_then(|group| group.wait_channel.as_ref());
        let channel = channel.map(|channel| format!(" in {channel}")).unwrap_or_default();
        return format!("is a kernel thread, {}{channel}.", process.state.title());
    }
    match groups.iter().find_map(|group| group.wait.as_ref().filter(|_| group.state.is_stopped())) {
        Some(Wait::Tracer { tracer: Some(tracer) }) => {
            return format!("is stopped by its tracer, process {}.", process_name(tracer));
        }
        Some(Wait::Continue) => return "is stopped by a signal. SIGCONT continues it.".into(),
        _ => {}
    }
    of_threads(explanation)
}

/// Threads that wait for each other.
fn deadlock(explanation: &Explanation) -> Option<String> {
    let tids = &explanation.deadlock;
    let (first, others) = tids.split_first()?;
    // The owners of some locks are guesses.
    let is_guess = explanation.groups.iter().any(|group| {
        matches!(&group.wait, Some(Wait::Futex(futex))
            if futex.owner.as_ref().is_some_and(|owner| owner.evidence == Evidence::LikeMutex))
    });
    let verb = if is_guess { "is probably deadlocked" } else { "is deadlocked" };
    if others.is_empty() {
        return Some(format!("{verb}: thread {first} waits for a lock that it holds."));
    }
    let mut text = format!("{verb}: thread {first} waits for a lock of thread {}", others[0]);
    for (at, tid) in others.iter().enumerate() {
        let next = others.get(at + 1).unwrap_or(first);
        text += &format!(", thread {tid} for one of thread {next}");
    }
    Some(text + ".")
}

fn of_threads(explanation: &Explanation) -> String {
    let groups = &explanation.groups;
    let threads = explanation.threads;
    let count = |is: fn(&ThreadGroup) -> bool| -> usize {
        groups.iter().filter(|group| is(group)).map(|group| group.count).sum()
    };
    let running = count(|group| group.doing == Doing::Runs);
    let idle = count(is_idle);
    let share = cpu_share(explanation);
    let mut parts = Vec::new();
    // A thread that happens to run at the moment does not make an idle process a busy one.
    let is_busy = match share {
        Some(share) => share >= BUSY || running > 0 && share >= NOT_IDLE,
        None => running > 0,
    };
    if threads == 1 && running == 1 {
        parts.push("its only thread is on a CPU or ready to run".to_owned());
    } else if running > 0 {
        parts.push(format!("{running} of {threads} threads {}", runs(running)));
    }
    let notable = groups
        .iter()
        .filter(|group| !is_idle(group) && matches!(group.doing, Doing::Call { .. }))
        .max_by_key(|group| group.age.map(|age| age.longest_ns));
    if threads == 1 && running == 0 && notable.is_none() {
        parts.extend(groups.first().and_then(call).map(|call| format!("it {call}")));
    } else if idle > 0 {
        parts.push(format!("{idle} of {threads} threads {} idle in {}", are(idle), calls(groups)));
    }
    if let Some(group) = notable {
        let others = group.count - 1;
        let who = match (threads, others) {
            (1, _) => "it".to_owned(),
            (_, 0) => group.named.first().map(|t| format!("thread {}", t.tid)).unwrap_or_default(),
            _ => units::counted(group.count as u64, "thread"),
        };
        let call = call(group).map(|call| format!("{who} {call}"));
        let call =
            call.map(|c| if others > 0 { c.replacen(" has been", " have been", 1) } else { c });
        parts.extend(call);
    }
    if is_busy {
        parts.extend(share.map(|share| {
            format!("it used {} of a CPU in the last seconds", units::percent(share))
        }));
    }
    if parts.is_empty() {
        let blocked = count(|group| group.doing == Doing::Blocked);
        if blocked == 0 {
            let state = explanation.process.state.title();
            return format!("is {state}. What its threads do could not be read.");
        }
        parts.push(format!("{blocked} of {threads} threads are blocked outside of syscalls"));
    }
    let verb = if is_busy { "works" } else { "waits" };
    let mut text = format!("{verb}: {}.", parts.join("; "));
    let culprit = notable.or_else(|| groups.first().filter(|_| threads == 1));
    if let Some(culprit) = culprit.and_then(|group| group.wait.as_ref()).and_then(waits::culprit) {
        text += &format!(" {culprit}");
    }
    text
}

/// Whether the threads of a group merely wait for work: their syscall waits by nature, and they do
/// not wait for a lock that somebody holds.
fn is_idle(group: &ThreadGroup) -> bool {
    let waits_for_owner = matches!(&group.wait, Some(Wait::Futex(futex))
        if futex.owner.as_ref().is_some_and(|owner| owner.evidence != Evidence::Join));
    matches!(group.doing, Doing::Call { waits_by_nature: true, .. }) && !waits_for_owner
}

/// The syscalls of idle threads.
fn calls(groups: &[ThreadGroup]) -> String {
    let mut names: Vec<&str> = Vec::new();
    for group in groups.iter().filter(|group| is_idle(group)) {
        if let Doing::Call { syscall, .. } = &group.doing
            && !names.contains(&&**syscall)
        {
            names.push(syscall);
        }
    }
    match &names[..] {
        [] => "syscalls".into(),
        [one] => (*one).to_owned(),
        [all @ .., last] if all.len() < 4 => format!("{} and {last}", all.join(", ")),
        all => format!("{} and {} others", all[..3].join(", "), all.len() - 3),
    }
}

/// `has been in fsync(5</var/lib/x>) for 12.3s`.
fn call(group: &ThreadGroup) -> Option<String> {
    let Doing::Call { text, .. } = &group.doing else { return None };
    Some(match &group.age {
        Some(age) => format!("has been in {text} for {}", ages(age, 1)),
        None => format!("is in {text}"),
    })
}

/// The share of a CPU that the process used in the last seconds.
fn cpu_share(explanation: &Explanation) -> Option<f64> {
    let profile = explanation.profile.as_ref()?;
    let CpuUse { window_ns, on_cpu_ns, .. } = profile.cpu?;
    (window_ns > 0).then(|| on_cpu_ns as f64 / window_ns as f64)
}

fn runs(count: usize) -> &'static str {
    if count == 1 { "runs" } else { "run" }
}

fn are(count: usize) -> &'static str {
    if count == 1 { "is" } else { "are" }
}
