//! What two readings of a process, and the programs in the kernel, say together.

use std::collections::HashMap;

use super::watch::Seen;
use crate::{
    inspect::{Age, Reading, Task, ThreadReading},
    model::{CpuUse, Happened, nanoseconds},
};

/// How long threads have been in the calls that `now` has.
///
/// - The tracer knows when a call entered, if it entered after the attach.
/// - The engine knows calls that entered before the attach.
/// - If a thread has not been on a CPU between both readings, it is still in its call.
/// - If a thread is asleep, it has been in its call since it was on a CPU last.
pub(super) fn ages(first: &Reading, now: &Reading, seen: Option<&Seen>) -> HashMap<u32, Age> {
    let mut ages = same_calls(first, now);
    let Some(seen) = seen else { return ages };
    let by_tid: HashMap<u32, &ThreadReading> =
        now.threads.iter().map(|thread| (thread.tid, thread)).collect();
    for thread in &seen.in_flight {
        let is_same = by_tid
            .get(&thread.tid)
            .is_some_and(|now| matches!(now.task, Some(Task::InCall(key, _)) if key == thread.key));
        let ns = nanoseconds(thread.age);
        let is_longer = ages.get(&thread.tid).is_none_or(|age| age.ns < ns);
        if is_same && (is_longer || !thread.at_least) {
            ages.insert(thread.tid, Age { ns, at_least: thread.at_least });
        }
    }
    for event in &seen.traced {
        let Happened::Call(call) = &event.happened else { continue };
        let is_same = by_tid.get(&event.tid).is_some_and(
            |now| matches!(now.task, Some(Task::InCall(key, args)) if (key, args) == (call.key, call.args)),
        );
        if let Some(entry) = call.entry_ns.filter(|_| is_same) {
            let ns = seen.now_ns.saturating_sub(entry);
            ages.insert(event.tid, Age { ns, at_least: false });
        }
    }
    ages
}

/// Calls in which threads have been since the first reading, because they have not been on a CPU
/// since then; and calls in which threads are asleep.
pub(in crate::commands) fn same_calls(first: &Reading, now: &Reading) -> HashMap<u32, Age> {
    let between = first.taken.zip(now.taken).map(|(from, to)| to.saturating_duration_since(from));
    let ns = between.map_or(0, nanoseconds);
    let before: HashMap<u32, &ThreadReading> =
        first.threads.iter().map(|thread| (thread.tid, thread)).collect();
    let is_same = |now: &&ThreadReading| {
        before.get(&now.tid).is_some_and(|before| {
            matches!(now.task, Some(Task::InCall(..)))
                && before.place == now.place
                && before.switches.is_some()
                && before.switches == now.switches
        })
    };
    let same = now.threads.iter().filter(is_same).filter(|_| ns > 0);
    let mut ages: HashMap<u32, Age> =
        same.map(|thread| (thread.tid, Age { ns, at_least: true })).collect();
    for thread in &now.threads {
        if let (Some(Task::InCall(..)), Some(asleep)) = (thread.task, thread.asleep_ns)
            && ages.get(&thread.tid).is_none_or(|age| age.ns < asleep)
        {
            ages.insert(thread.tid, Age { ns: asleep, at_least: true });
        }
    }
    ages
}

/// Time on a CPU between both readings. `None` if the kernel does not say, or if no time passed.
pub(in crate::commands) fn cpu_use(first: &Reading, now: &Reading) -> Option<CpuUse> {
    let window = now.taken?.checked_duration_since(first.taken?).filter(|time| !time.is_zero())?;
    let before: HashMap<u32, &ThreadReading> =
        first.threads.iter().map(|thread| (thread.tid, thread)).collect();
    let window_ns = u64::try_from(window.as_nanos()).ok()?;
    let mut used = CpuUse { window_ns, ..CpuUse::default() };
    for thread in &now.threads {
        let (on_cpu_ns, runnable_ns) = thread.times?;
        let before = before.get(&thread.tid);
        let (was_on_cpu, was_runnable) = before.and_then(|b| b.times).unwrap_or_default();
        used.on_cpu_ns += on_cpu_ns.saturating_sub(was_on_cpu);
        used.runnable_ns += runnable_ns.saturating_sub(was_runnable);
        used.system_ns += thread.system_ns.saturating_sub(before.map_or(0, |b| b.system_ns));
    }
    Some(used)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use profiler_common::call::{Abi, CallKey};

    use super::*;
    use crate::model::TaskState;

    fn reading(taken: Instant, threads: &[(u32, u64, u64)]) -> Reading {
        let threads = threads.iter().map(|&(tid, switches, on_cpu)| ThreadReading {
            tid,
            inner_tid: tid,
            comm: "x".into(),
            state: TaskState('S'),
            task: Some(Task::InCall(CallKey::of(Abi::X86_64, 0), [0; 6])),
            place: "0 0x0".into(),
            switches: Some(switches),
            times: Some((on_cpu, 5)),
            system_ns: 0,
            asleep_ns: (tid == 3).then_some(9_000_000_000),
        });
        Reading { taken: Some(taken), threads: threads.collect(), ..Reading::default() }
    }

    #[test]
    fn a_thread_that_was_not_on_a_cpu_is_in_the_same_call() {
        let start = Instant::now();
        let first = reading(start, &[(1, 10, 100), (2, 20, 100)]);
        let now = reading(start + Duration::from_secs(2), &[(1, 10, 100), (2, 21, 400), (3, 1, 7)]);
        let ages = same_calls(&first, &now);
        assert_eq!(ages.len(), 2);
        assert_eq!(ages[&3], Age { ns: 9_000_000_000, at_least: true });
        assert_eq!(ages[&1], Age { ns: 2_000_000_000, at_least: true });
        let used = cpu_use(&first, &now).expect("times");
        assert_eq!((used.on_cpu_ns, used.runnable_ns), (307, 5));
        assert_eq!(used.window_ns, 2_000_000_000);
        assert_eq!(cpu_use(&first, &first), None);
    }
}
