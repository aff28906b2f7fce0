//! Groups the threads of a process by what they wait for.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::Path,
};

use profiler_common::call::{Abi, CallKey};

use super::{
    bounded::{self, Patience},
    calls::{self, Task},
    limits::Limit,
    memory::Memory,
    process::{Reading, TIMED_OUT, ThreadReading, denied, thread_directory},
    task,
    waits::Waits,
};
use crate::{
    decode::{self, Style},
    model::{
        Ages, Doing, Explanation, MOST_NAMED, TaskState, ThreadGroup, ThreadName, TimeLimit,
        Unknown, Wait,
    },
    names::{syscalls, waits::waits_by_nature},
    text::Untrusted,
};

/// Groups whose waits are examined.
const MOST_EXAMINED: usize = 256;

/// Groups of one syscall that are listed one by one. If there are more, they are joined.
const MOST_ALIKE: usize = 8;

/// Groups that are listed.
const MOST_GROUPS: usize = 64;

/// Bytes of strings and buffers that are shown.
const STRING_LIMIT: u32 = 64;

/// How long a thread has been in its call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Age {
    /// The time, nanoseconds.
    pub ns: u64,
    /// Whether the time is a minimum.
    pub at_least: bool,
}

/// Explains what a process does, from a reading of its threads. `thread` is the thread that comes
/// first, and `ages` says how long threads have been in their calls.
pub fn explain(
    proc: &Path,
    reading: &Reading,
    thread: Option<u32>,
    ages: &HashMap<u32, Age>,
    patience: &mut Patience,
) -> Explanation {
    let mut unknown = reading.unknown.clone();
    let pid = reading.process.pid;
    let memory = Memory::of(proc, pid, patience);
    let is_user = !reading.process.is_kernel_thread;
    let in_call =
        reading.threads.iter().any(|thread| matches!(thread.task, Some(Task::InCall(..))));
    if is_user && in_call && memory.is_denied() {
        unknown.push(Unknown { what: "arguments in memory", why: denied() });
    }
    let mut waits = Waits::new(proc, reading, memory);
    let (mut groups, rest) = grouped(reading, thread, ages);
    for group in &mut groups {
        group.examine(&mut waits);
    }
    groups.extend(rest);
    let mut groups = joined(groups, thread);
    let deadlock = circle(&groups);
    let groups_omitted = groups.len().saturating_sub(MOST_GROUPS);
    groups.truncate(MOST_GROUPS);
    let fds = groups.iter_mut().flat_map(|group| group.wait.iter_mut().flat_map(Wait::files_mut));
    let fds: HashSet<i32> = fds.map(|file| file.fd).collect();
    unknown.extend(waits.files.find_peers(&fds, waits.memory.patience()));
    let mut stacks = Stacks::default();
    let groups: Vec<_> =
        groups.into_iter().map(|group| group.finish(&mut waits, &mut stacks)).collect();
    if stacks.is_denied {
        let why = "requires CAP_SYS_ADMIN".to_owned();
        unknown.push(Unknown { what: "kernel stacks", why });
    }
    if waits.memory.patience().has_timed_out()
        && !unknown.iter().any(|unknown| unknown.why == TIMED_OUT)
    {
        unknown.push(Unknown { what: "some of the memory of the process", why: TIMED_OUT.into() });
    }
    Explanation {
        process: reading.process.clone(),
        thread,
        threads: reading.thread_count,
        threads_read: reading.threads.len(),
        groups,
        groups_omitted,
        deadlock,
        profile: None,
        unknown,
        has_ended: false,
    }
}

/// Threads that wait in the same way.
struct Group<'a> {
    /// The threads, those that have waited longest first.
    threads: Vec<(&'a ThreadReading, Option<Age>)>,
    /// Whether they make the same call on different objects.
    differs: bool,
    wait: Option<Wait>,
    limit: Option<Limit>,
}

/// What threads of a group have in common: their state, and their call with the arguments that name
/// an object.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Common {
    /// Whether it is the thread that was asked for.
    is_other: bool,
    state: TaskState,
    task: u8,
    /// The syscall: its index among all.
    call: u32,
    objects: Vec<u64>,
}

fn common(reading: &ThreadReading, asked: Option<u32>) -> Common {
    let (task, call, objects) = match &reading.task {
        Some(Task::InCall(key, args)) => (0, key.overflow_index(), objects(*key, args)),
        Some(Task::Running) => (1, 0, Vec::new()),
        Some(Task::Blocked) => (2, 0, Vec::new()),
        None => (3, 0, Vec::new()),
    };
    let is_other = asked != Some(reading.tid);
    // A thread can be seen running although it is in a call.
    let state = match reading.state {
        TaskState('R') if task == 0 => TaskState('S'),
        state => state,
    };
    Common { is_other, state, task, call, objects }
}

/// The arguments of a call that name an object: descriptors, and the address of a futex.
fn objects(key: CallKey, args: &[u64; 6]) -> Vec<u64> {
    match syscalls::known(key) {
        Some("futex" | "futex_time64" | "futex_wait" | "wait4" | "waitpid" | "waitid") => {
            args[..2].to_vec()
        }
        _ => {
            let plan = decode::plan_with_files(key);
            let files = plan.iter().filter(|c| c.kind == profiler_common::trace::Kind::File as u8);
            files.filter_map(|capture| args.get(usize::from(capture.arg)).copied()).collect()
        }
    }
}

/// Groups the threads. Returns the groups to examine, and the others.
fn grouped<'a>(
    reading: &'a Reading,
    asked: Option<u32>,
    ages: &HashMap<u32, Age>,
) -> (Vec<Group<'a>>, Vec<Group<'a>>) {
    let mut by_common: BTreeMap<Common, Vec<_>> = BTreeMap::new();
    for thread in &reading.threads {
        let age = ages.get(&thread.tid).copied();
        by_common.entry(common(thread, asked)).or_default().push((thread, age));
    }
    let mut groups: Vec<_> = by_common.into_values().map(Group::new).collect();
    groups.sort_by_key(|group| group.order(asked));
    let rest = groups.split_off(groups.len().min(MOST_EXAMINED));
    (groups, rest)
}

/// Joins groups that make the same call on different objects, if there are many of them. Groups
/// whose wait names another thread or process are kept.
fn joined(groups: Vec<Group<'_>>, asked: Option<u32>) -> Vec<Group<'_>> {
    let mut kept = Vec::new();
    let mut alike: BTreeMap<_, Vec<Group<'_>>> = BTreeMap::new();
    for group in groups {
        match group.threads.first() {
            Some((thread, _)) if asked != Some(thread.tid) && !group.names_another() => {
                let Common { state, task, call, .. } = common(thread, asked);
                alike.entry((state, task, call)).or_default().push(group);
            }
            _ => kept.push(group),
        }
    }
    for mut groups in alike.into_values() {
        if groups.len() <= MOST_ALIKE {
            kept.append(&mut groups);
            continue;
        }
        let threads = groups.into_iter().flat_map(|group| group.threads).collect();
        kept.push(Group { differs: true, ..Group::new(threads) });
    }
    kept.sort_by_key(|group| group.order(asked));
    kept
}

/// Threads of which each waits for a lock that the next one holds, and the last for that of the
/// first. Empty if there are none.
fn circle(groups: &[Group<'_>]) -> Vec<u32> {
    let mut owner_of = HashMap::new();
    for group in groups {
        if let Some(Wait::Futex(futex)) = &group.wait
            && let Some(owner) = &futex.owner
        {
            owner_of.extend(group.threads.iter().map(|(thread, _)| (thread.tid, owner.tid)));
        }
    }
    let mut starts: Vec<u32> = owner_of.keys().copied().collect();
    starts.sort_unstable();
    let mut seen = HashSet::new();
    for start in starts {
        let (mut path, mut at) = (Vec::new(), start);
        while seen.insert(at) {
            path.push(at);
            match owner_of.get(&at) {
                Some(&owner) => at = owner,
                None => break,
            }
        }
        if owner_of.contains_key(&at)
            && let Some(begin) = path.iter().position(|&tid| tid == at)
        {
            return path.split_off(begin);
        }
    }
    Vec::new()
}

/// What was found out about kernel stacks.
#[derive(Default)]
struct Stacks {
    is_denied: bool,
}

impl<'a> Group<'a> {
    fn new(mut threads: Vec<(&'a ThreadReading, Option<Age>)>) -> Self {
        threads.sort_by_key(|(thread, age)| (std::cmp::Reverse(age.map(|age| age.ns)), thread.tid));
        Self { threads, differs: false, wait: None, limit: None }
    }

    /// The group of the thread that was asked for is first, and then the longest wait.
    fn order(&self, asked: Option<u32>) -> impl Ord + use<> {
        let first = self.threads.first();
        let is_asked = first.is_some_and(|(thread, _)| asked == Some(thread.tid));
        let age = first.and_then(|(_, age)| age.map(|age| age.ns));
        let tid = first.map(|(thread, _)| thread.tid);
        (!is_asked, std::cmp::Reverse(age), std::cmp::Reverse(self.threads.len()), tid)
    }

    fn examine(&mut self, waits: &mut Waits<'_>) {
        let Some(&(thread, _)) = self.threads.first() else { return };
        self.wait = waits.of_state(thread);
        let is_user = !waits.reading.process.is_kernel_thread;
        if let Some(Task::InCall(key, args)) = thread.task.as_ref().filter(|_| is_user) {
            let (wait, limit) = waits.of_call(thread, *key, args);
            self.limit = limit;
            // The call continues when a stopped thread does.
            self.wait = self.wait.take().or(wait);
        }
    }

    /// Whether the wait names another thread or process.
    fn names_another(&self) -> bool {
        match &self.wait {
            Some(Wait::Futex(futex)) => futex.owner.is_some(),
            Some(Wait::FileLock { holders, .. }) => !holders.is_empty(),
            Some(Wait::Children { children, .. }) => !children.is_empty(),
            _ => false,
        }
    }

    fn finish(self, waits: &mut Waits<'_>, stacks: &mut Stacks) -> ThreadGroup {
        let Self { threads, mut differs, mut wait, mut limit } = self;
        if threads.len() > 1 && wait == Some(Wait::Time) {
            // Each thread has a time of its own.
            (differs, limit) = (true, None);
        }
        let name =
            |thread: &ThreadReading| ThreadName { tid: thread.tid, comm: thread.comm.clone() };
        let named = threads.iter().take(MOST_NAMED).map(|&(thread, _)| name(thread)).collect();
        let known: Vec<Age> = threads.iter().filter_map(|(_, age)| *age).collect();
        let longest = known.iter().max_by_key(|age| age.ns);
        let age = longest.map(|longest| Ages {
            shortest_ns: known.iter().map(|age| age.ns).min().unwrap_or(longest.ns),
            longest_ns: longest.ns,
            at_least: longest.at_least,
        });
        let first = threads.first().map(|&(thread, _)| thread);
        let doing = first.map_or(Doing::Unknown, |thread| doing(thread, waits));
        for file in wait.iter_mut().flat_map(Wait::files_mut) {
            *file = waits.files.get(file.fd, waits.memory.patience());
        }
        if let Some(Wait::Futex(futex)) = &mut wait
            && let Some(owner) = &mut futex.owner
            && let Some(thread) = waits.reading.threads.iter().find(|t| t.tid == owner.tid)
        {
            owner.doing = summary(thread, waits);
        }
        let limit = limit.map(|limit| TimeLimit {
            total_ns: match limit {
                Limit::After(ns) => Some(ns),
                Limit::At(..) => None,
            },
            left_ns: limit.left_ns(age.map(|age| age.longest_ns)),
            at_most: matches!(limit, Limit::After(_)) && age.is_some_and(|age| age.at_least),
        });
        let (kernel_stack, wait_channel) =
            first.map_or((None, None), |thread| stacks.read(waits, thread.tid));
        ThreadGroup {
            named,
            count: threads.len(),
            state: first.map(|thread| thread.state).unwrap_or_default(),
            doing,
            differs,
            age,
            wait,
            limit,
            kernel_stack,
            wait_channel,
        }
    }
}

/// What a thread does.
fn doing(thread: &ThreadReading, waits: &mut Waits<'_>) -> Doing {
    if thread.state.has_ended() {
        return Doing::Ended;
    }
    if waits.reading.process.is_kernel_thread {
        return Doing::Kernel;
    }
    match thread.task {
        Some(Task::Running) => Doing::Runs,
        Some(Task::Blocked) => Doing::Blocked,
        None => Doing::Unknown,
        Some(Task::InCall(key, args)) => {
            let decoded = decoded(key, args, waits);
            Doing::Call {
                syscall: decoded.name.to_string(),
                abi: key.abi().map_or("unknown", Abi::name),
                text: call_text(&decoded).into(),
                args: args_of(&decoded),
                waits_by_nature: waits_by_nature(key),
            }
        }
    }
}

/// What the owner of a lock does, in a few words.
fn summary(thread: &ThreadReading, waits: &mut Waits<'_>) -> Option<Untrusted> {
    Some(match doing(thread, waits) {
        Doing::Call { text, .. } => text,
        Doing::Runs => "runs".into(),
        Doing::Ended => "has ended".into(),
        Doing::Blocked => thread.state.title().into(),
        Doing::Kernel | Doing::Unknown => return None,
    })
}

fn decoded(key: CallKey, args: [u64; 6], waits: &mut Waits<'_>) -> decode::Decoded {
    let plan = decode::plan_with_files(key);
    let mut parts = waits.memory.copy(plan, args, STRING_LIMIT);
    for (capture, of) in plan.iter().enumerate() {
        let Some(&arg) = args.get(usize::from(of.arg)) else { continue };
        let is_file = of.kind == profiler_common::trace::Kind::File as u8;
        if !is_file || super::waits::fd(arg) < 0 {
            continue;
        }
        waits.files.get(super::waits::fd(arg), waits.memory.patience());
        let name = waits.files.name(super::waits::fd(arg));
        parts.extend(name.map(|name| calls::file_part(capture, name)));
    }
    let style = Style { string_limit: STRING_LIMIT as usize, with_files: true, ..Style::default() };
    decode::decode(&calls::call(key, args, parts), &style)
}

/// The call with the arguments that are known before it returns.
fn call_text(decoded: &decode::Decoded) -> String {
    let mut text = decoded.text_before_exit();
    text.push_str(
        if text.ends_with(", ") || text.ends_with('(') && !decoded.arguments.is_empty() {
            "...)"
        } else {
            ")"
        },
    );
    text
}

/// The arguments in JSON.
fn args_of(decoded: &decode::Decoded) -> serde_json::Value {
    let call = serde_json::to_value(decoded).ok();
    call.and_then(|mut call| call.get_mut("args").map(serde_json::Value::take)).unwrap_or_default()
}

impl Stacks {
    /// The kernel stack of a thread, and the function in which it sleeps.
    fn read(
        &mut self,
        waits: &mut Waits<'_>,
        tid: u32,
    ) -> (Option<Vec<Untrusted>>, Option<Untrusted>) {
        let directory = thread_directory(waits.proc, waits.reading.process.pid, tid);
        let read = move || {
            let stack = bounded::read(&directory.join("stack"), 16_384);
            (stack, bounded::read(&directory.join("wchan"), 256))
        };
        let Some((stack, channel)) = waits.memory.patience().run(read) else { return (None, None) };
        self.is_denied |=
            stack.as_ref().is_err_and(|error| error.kind() == std::io::ErrorKind::PermissionDenied);
        let stack = stack.ok().map(|text| task::stack(&text)).filter(|stack| !stack.is_empty());
        // The kernel prints 0 for a thread that does not sleep, and if it refuses to answer.
        let channel = channel.ok().filter(|name| !name.is_empty() && name != b"0");
        (stack, channel.map(|name| Untrusted::from_bytes(&name)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Evidence, Futex, FutexOwner};

    fn thread(tid: u32, key: u32, args: [u64; 6]) -> ThreadReading {
        ThreadReading {
            tid,
            inner_tid: tid,
            comm: "worker".into(),
            state: TaskState('S'),
            task: Some(Task::InCall(CallKey::of(Abi::X86_64, key), args)),
            place: String::new(),
            switches: None,
            times: None,
            system_ns: 0,
            asleep_ns: None,
        }
    }

    fn reading(threads: Vec<ThreadReading>) -> Reading {
        Reading { thread_count: threads.len(), threads, ..Reading::default() }
    }

    const FUTEX: u32 = 202;
    const EPOLL_WAIT: u32 = 232;

    #[test]
    fn threads_that_wait_for_the_same_are_one_group() {
        let threads = vec![
            thread(1, FUTEX, [0x10, 0, 2, 0, 0, 0]),
            thread(2, FUTEX, [0x10, 0, 2, 0, 0, 0]),
            thread(3, FUTEX, [0x20, 0, 2, 0, 0, 0]),
            // The buffers of events differ, and the instance does not.
            thread(4, EPOLL_WAIT, [5, 0x100, 1, u64::MAX, 0, 0]),
            thread(5, EPOLL_WAIT, [5, 0x200, 1, u64::MAX, 0, 0]),
        ];
        let ages = [(3, Age { ns: 7, at_least: false })].into();
        let reading = reading(threads);
        let tids = |asked| -> Vec<Vec<u32>> {
            let (groups, rest) = grouped(&reading, asked, &ages);
            assert!(rest.is_empty());
            groups.iter().map(|g| g.threads.iter().map(|(t, _)| t.tid).collect()).collect()
        };
        assert_eq!(tids(None), [vec![3], vec![1, 2], vec![4, 5]]);
        assert_eq!(tids(Some(2)), [vec![2], vec![3], vec![4, 5], vec![1]]);
    }

    #[test]
    fn many_groups_of_one_call_are_joined() {
        let threads = (1..=1000).map(|tid| thread(tid, FUTEX, [u64::from(tid), 0, 2, 0, 0, 0]));
        let reading = reading(threads.collect());
        let (mut groups, rest) = grouped(&reading, None, &HashMap::new());
        assert_eq!((groups.len(), rest.len()), (MOST_EXAMINED, 1000 - MOST_EXAMINED));
        groups.extend(rest);
        let joined = joined(groups, None);
        assert_eq!(joined.len(), 1);
        assert!(joined[0].differs && joined[0].threads.len() == 1000);
    }

    #[test]
    fn a_circle_of_locks_is_found() {
        let threads: Vec<_> =
            (1..=4).map(|tid| thread(tid, FUTEX, [u64::from(tid), 0, 2, 0, 0, 0])).collect();
        let group = |at: usize, owner: u32| {
            let owner = FutexOwner {
                tid: owner,
                comm: Untrusted::default(),
                evidence: Evidence::LikeMutex,
                doing: None,
            };
            let futex = Futex {
                address: 1,
                value: Some(2),
                expected: Some(2),
                is_private: true,
                owner: Some(owner),
            };
            Group { wait: Some(Wait::Futex(futex)), ..Group::new(vec![(&threads[at], None)]) }
        };
        // 1 waits for 2, 2 for 3, and 3 for 2.
        assert_eq!(circle(&[group(0, 2), group(1, 3), group(2, 2)]), [2, 3]);
        assert_eq!(circle(&[group(0, 1)]), [1]);
        assert!(circle(&[group(0, 2), group(1, 3)]).is_empty());
    }
}
