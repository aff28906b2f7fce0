//! The page of processes in known states.

use super::*;
use crate::model::{
    CallLine, CallProfile, Child, CpuUse, ErrorLine, Evidence, FailedCalls, FailureLine, FileKind,
    Futex, FutexOwner, Holder, OpenFile, Peer, ProcessProfile, TaskState, ThreadName, Unknown,
    Wait,
};

fn named(pid: u32, comm: &str) -> ProcessName {
    ProcessName { pid, comm: comm.into() }
}

fn call(text: &str, waits_by_nature: bool) -> Doing {
    let syscall = text.split('(').next().unwrap_or_default().to_owned();
    Doing::Call { syscall, abi: "x86_64", text: text.into(), args: ().into(), waits_by_nature }
}

fn threads(first: u32, count: usize, doing: Doing, age: Option<Ages>) -> ThreadGroup {
    let named = (first..).take(count.min(3)).map(|tid| ThreadName { tid, comm: "nginx".into() });
    ThreadGroup {
        named: named.collect(),
        count,
        state: TaskState('S'),
        doing,
        differs: false,
        age,
        wait: None,
        limit: None,
        kernel_stack: None,
        wait_channel: None,
    }
}

fn aged(ns: u64, at_least: bool) -> Option<Ages> {
    Some(Ages { shortest_ns: ns, longest_ns: ns, at_least })
}

fn nginx(groups: Vec<ThreadGroup>) -> Explanation {
    let threads = groups.iter().map(|group| group.count).sum();
    Explanation {
        process: ProcessFacts {
            pid: 123,
            comm: "nginx".into(),
            state: TaskState('S'),
            command: Some(vec!["nginx:".into(), "worker\u{1b}[2J".into()]),
            executable: Some("/usr/sbin/nginx".into()),
            uid: Some(33),
            parent: Some(named(1, "systemd")),
            age_ns: Some(7_200_000_000_000),
            ..ProcessFacts::default()
        },
        threads,
        threads_read: threads,
        groups,
        ..Explanation::default()
    }
}

fn file(fd: i32, kind: FileKind, name: &str) -> OpenFile {
    OpenFile { fd, kind, name: name.into(), detail: "".into(), peer: None }
}

fn text(explanation: &Explanation) -> String {
    let lines = lines(explanation).into_iter().map(|line| line.text);
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_longest_call_that_works_is_in_the_first_line() {
    let mut fsync =
        threads(140, 1, call("fsync(5</var/lib/x>)", false), aged(12_300_000_000, false));
    let of = file(5, FileKind::File, "/var/lib/x");
    fsync.wait = Some(Wait::File { file: of });
    fsync.state = TaskState('D');
    fsync.kernel_stack = Some(vec!["jbd2_log_wait_commit".into(), "ext4_sync_file".into()]);
    let idle = Ages { shortest_ns: 1_000_000_000, longest_ns: 5_000_000_000, at_least: true };
    let idle =
        threads(123, 31, call("epoll_wait(8<anon_inode:[eventpoll]>, ...)", true), Some(idle));
    let mut explanation = nginx(vec![fsync, idle]);
    explanation.unknown.push(Unknown { what: "some figures", why: "no memory".into() });
    assert_eq!(
        text(&explanation),
        "\
PID 123 (nginx) waits: 31 of 32 threads are idle in epoll_wait; thread 140 has been in \
fsync(5</var/lib/x>) for 12.3s.

Process     123 nginx, sleeping, user 33, started 2h00m ago
Command     nginx: worker\u{fffd}[2J
Executable  /usr/sbin/nginx
Parent      1 (systemd)

32 threads, the longest wait first
  thread 140 (nginx), for 12.3s: in uninterruptible sleep
    fsync(5</var/lib/x>)
    on file 5</var/lib/x>
    in the kernel: jbd2_log_wait_commit < ext4_sync_file

  31 threads (nginx) 123 124 125 ..., for 1.00s to at least 5.00s: sleeping
    epoll_wait(8<anon_inode:[eventpoll]>, ...)

Not known
  some figures: no memory"
    );
}

#[test]
fn who_can_end_the_wait_is_named() {
    let verdict = |wait: Wait, by_nature: bool| {
        let mut group = threads(123, 1, call("x()", by_nature), aged(2_000_000_000, true));
        group.wait = Some(wait);
        verdict(&nginx(vec![group]))
    };
    let waits = "PID 123 (nginx) waits: it has been in x() for at least 2.00s.";
    let mut pipe = file(0, FileKind::Pipe, "pipe:[7]");
    let holder = Holder { process: named(122, "cat"), fd: 1 };
    pipe.peer = Some(Peer { holders: vec![holder], count: 1, is_complete: true, elsewhere: None });
    let expected = format!("{waits} Process 122 (cat) has the other end of the pipe.");
    assert_eq!(verdict(Wait::File { file: pipe.clone() }, false), expected);
    pipe.peer = Some(Peer { is_complete: true, ..Peer::default() });
    let expected = format!("{waits} No process has the other end of the pipe open.");
    assert_eq!(verdict(Wait::File { file: pipe.clone() }, false), expected);
    // Some processes could not be searched.
    pipe.peer = Some(Peer::default());
    assert_eq!(verdict(Wait::File { file: pipe }, false), waits);
    let lock = Wait::FileLock { file: None, lock: "flock", holders: vec![named(9, "apt")] };
    let expected = format!("{waits} The lock is held by process 9 (apt).");
    assert_eq!(verdict(lock, false), expected);
    let child = Child { process: named(5, "make"), state: TaskState('R') };
    let children = Wait::Children { children: vec![child], count: 1, is_vfork: false };
    let expected = format!("{waits} It waits for its child 5 (make), running.");
    assert_eq!(verdict(children, true), expected);
    let owner = FutexOwner {
        tid: 77,
        comm: "nginx".into(),
        evidence: Evidence::LikeMutex,
        doing: Some("pause()".into()),
    };
    let futex = Futex {
        address: 16,
        value: Some(2),
        expected: Some(2),
        is_private: true,
        owner: Some(owner),
    };
    let expected =
        format!("{waits} The lock is probably held by thread 77 (nginx), which is in pause().");
    assert_eq!(verdict(Wait::Futex(futex), true), expected);
}

#[test]
fn states_have_verdicts_of_their_own() {
    let mut explanation = nginx(vec![threads(123, 1, Doing::Ended, None)]);
    explanation.process.state = TaskState::ZOMBIE;
    let expected = "PID 123 (nginx) has ended. It stays until its parent, 1 (systemd), reads its exit \
                    status.";
    assert_eq!(verdict(&explanation), expected);
    let mut group = threads(123, 1, Doing::Blocked, None);
    (group.state, group.wait) = (TaskState('T'), Some(Wait::Continue));
    let mut explanation = nginx(vec![group]);
    assert_eq!(
        verdict(&explanation),
        "PID 123 (nginx) is stopped by a signal. SIGCONT continues it."
    );
    explanation.deadlock = vec![1, 2, 3];
    let expected = "PID 123 (nginx) is deadlocked: thread 1 waits for a lock of thread 2, thread 2 for \
                    one of thread 3, thread 3 for one of thread 1.";
    assert_eq!(verdict(&explanation), expected);
    let mut explanation = nginx(vec![threads(123, 1, Doing::Runs, None)]);
    let cpu = CpuUse { window_ns: 100, on_cpu_ns: 98, system_ns: 10, runnable_ns: 0 };
    explanation.profile = Some(ProcessProfile { cpu: Some(cpu), ..ProcessProfile::default() });
    let expected = "PID 123 (nginx) works: its only thread is on a CPU or ready to run; it used 98.0% \
                    of a CPU in the last seconds.";
    assert_eq!(verdict(&explanation), expected);
    explanation.has_ended = true;
    assert!(
        verdict(&explanation).starts_with("PID 123 (nginx) ended while it was explained. Before")
    );
}

#[test]
fn the_last_seconds_have_calls_errors_and_paths() {
    let mut explanation = nginx(Vec::new());
    let row = |syscall: &str, waits_by_nature| CallLine {
        syscall: syscall.into(),
        calls: 1_000,
        errors: 500,
        total_ns: 3_000_000,
        on_cpu_ns: 2_000_000,
        waiting_ns: 1_000_000,
        runnable_ns: 0,
        max_ns: 9_000,
        waits_by_nature,
    };
    let calls = CallProfile {
        calls: 2_000,
        errors: 1_000,
        rows: vec![row("openat", false), row("epoll_wait", true)],
        omitted: 3,
        by_errno: vec![ErrorLine { syscall: "openat".into(), errno: "ENOENT".into(), count: 500 }],
        is_split: true,
        lost: 0,
    };
    let line = |path: &str, count| FailureLine {
        syscall: "openat".into(),
        errno: "ENOENT".into(),
        path: path.into(),
        count,
    };
    let failures = FailedCalls { seen: 450, dropped: 50, rows: vec![line("/a\n", 400)], others: 0 };
    explanation.profile = Some(ProcessProfile {
        window_ns: 2_000_000_000,
        cpu: None,
        calls: Some(calls),
        failures: Some(failures),
    });
    let text = text(&explanation);
    let (_, last) = text.split_once("The last").expect("a heading");
    assert_eq!(
        last,
        " 2.00s
  2,000 syscalls, 1,000 errors
   total  on cpu  waiting  runnable  calls  errors     max  syscall
  3.00ms  2.00ms   1.00ms       0ns  1,000     500  9.00us  openat
  3.00ms  2.00ms   1.00ms       0ns  1,000     500  9.00us  epoll_wait (waits by nature)
  and 3 more syscalls

Errors
       500  openat ENOENT
                 400  /a\u{fffd}
  450 failed calls were traced, and 50 events were dropped: the counts of paths are too low"
    );
    let mut json = Vec::new();
    write_json(&mut json, &explanation).expect("a vector takes everything");
    let json: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
    assert_eq!(json["schema"], 1);
    assert_eq!(json["profile"]["failures"]["rows"][0]["path"], "/a\n");
    assert_eq!(json["verdict"], verdict(&explanation));
}
