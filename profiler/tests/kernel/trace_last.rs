//! `profiler trace --last`: prints nothing until something happens, and then exactly the last calls.

use std::process::{Command, Stdio};

use serde::Deserialize;

use crate::{
    run::{wait_until, workload_args},
    trace::{Ended, Event, Events, Trace},
};

/// The heading of a recording.
#[derive(Deserialize, Debug)]
struct Heading {
    event: String,
    pid: u32,
    tid: u32,
    comm: String,
    reason: String,
    exit_code: Option<i32>,
    signal: Option<i32>,
    syscall: Option<String>,
    result: Option<i64>,
    duration_ns: Option<u64>,
    calls: u64,
    calls_in_flight: u64,
    threads: u64,
    overwritten: u64,
    cut: u64,
    unrecorded_threads: u64,
}

/// A heading with its events.
#[derive(Debug)]
struct Recording {
    heading: Heading,
    events: Events,
}

impl Recording {
    /// The calls of a thread.
    fn calls(&self, tid: u32) -> Vec<&Event> {
        self.events.0.iter().filter(|event| event.tid == tid && event.event == "call").collect()
    }

    fn tids(&self) -> Vec<u32> {
        let mut tids: Vec<_> = self.events.0.iter().map(|event| event.tid).collect();
        tids.sort_unstable();
        tids.dedup();
        tids
    }
}

/// The recordings in what was printed.
#[track_caller]
fn recordings(text: &str) -> Vec<Recording> {
    let mut recordings: Vec<(Heading, String)> = Vec::new();
    for line in text.lines() {
        if line.contains(r#""event":"recording""#) {
            let heading: Heading = serde_json::from_str(line).expect(line);
            assert!(heading.event == "recording" && !heading.comm.is_empty(), "{heading:#?}");
            recordings.push((heading, String::new()));
        } else {
            let (_, events) = recordings.last_mut().expect("a heading comes first");
            *events += line;
            *events += "\n";
        }
    }
    let parsed = recordings.into_iter().map(|(heading, text)| {
        let events = Events::parse(&text);
        let calls = events.0.iter().filter(|event| event.event == "call");
        let (in_flight, left): (Vec<_>, Vec<_>) = calls.partition(|event| event.in_flight);
        assert_eq!(heading.calls, left.len() as u64, "{heading:#?}");
        assert_eq!(heading.calls_in_flight, in_flight.len() as u64, "{heading:#?}");
        let times: Vec<_> = events.0.iter().map(|event| event.monotonic_ns).collect();
        assert!(times.is_sorted(), "{events:#?}");
        events.threads_are_in_order();
        Recording { heading, events }
    });
    parsed.collect()
}

/// The number of a numbered call.
fn number(event: &Event) -> Option<u64> {
    event.is_call("lseek").then(|| event.args["offset"].as_u64()).flatten()
}

/// The numbers of numbered calls, which are all of these.
#[track_caller]
fn numbers(calls: &[&Event]) -> Vec<u64> {
    calls.iter().map(|call| number(call).unwrap_or_else(|| panic!("{call:#?}"))).collect()
}

fn workload(flags: &[&str], threads: u32, calls: u32, end: &str) -> Ended {
    let args = [
        "last-words",
        &format!("threads={threads}"),
        &format!("calls={calls}"),
        &format!("end={end}"),
    ];
    Trace::new().args(flags.iter().copied()).command(workload_args(&args))
}

/// The only recording of a run.
#[track_caller]
fn only(ended: &Ended) -> Recording {
    let mut all = recordings(&ended.text);
    assert_eq!(all.len(), 1, "{all:#?} {:?}", ended.output);
    all.remove(0)
}

/// A process that is killed by a signal leaves the last calls of all of its threads.
pub(crate) fn a_crash_leaves_the_last_calls_of_each_thread() {
    for (last, threads) in [(10, 0), (1, 3), (25, 64)] {
        let ended = workload(&["--last", &last.to_string()], threads, 40, "segv");
        assert_eq!((ended.code(), ended.stderr().as_str()), (Some(128 + 11), ""));
        let recording = only(&ended);
        let heading = &recording.heading;
        assert_eq!((heading.reason.as_str(), heading.signal), ("exit", Some(11)));
        let lost = (heading.overwritten, heading.cut, heading.unrecorded_threads);
        assert_eq!((heading.threads, lost), (u64::from(threads) + 1, (0, 0, 0)));
        let tids = recording.tids();
        assert_eq!(tids.len(), threads as usize + 1);
        for tid in tids {
            let calls = recording.calls(tid);
            assert_eq!(calls.len(), last, "{calls:#?}");
            let first = 40 - last as u64;
            if tid == heading.pid {
                assert_eq!(numbers(&calls), (first..40).collect::<Vec<_>>());
            } else {
                let (pause, before) = calls.split_last().expect("calls");
                assert!(pause.is_call("pause"), "{pause:#?}");
                assert_eq!(numbers(before), (first + 1..40).collect::<Vec<_>>());
            }
            let ends: Vec<_> =
                recording.events.0.iter().filter(|e| e.tid == tid && e.is_end()).collect();
            assert_eq!(ends.len(), 1, "{ends:#?}");
        }
        let signal = recording.events.0.iter().find(|event| event.delivered() == Some("SIGSEGV"));
        let signal = signal.expect("the signal");
        assert_eq!((signal.tid, signal.address), (heading.pid, Some(16)));
    }
}

/// So does an exit with another code than 0. One with 0 leaves nothing.
pub(crate) fn an_exit_code_leaves_the_last_calls() {
    let ended = workload(&["--last", "7"], 2, 30, "code");
    assert_eq!(ended.code(), Some(3), "{:?}", ended.output);
    let recording = only(&ended);
    assert_eq!(recording.heading.exit_code, Some(3));
    let calls = recording.calls(recording.heading.pid);
    let (exit, before) = calls.split_last().expect("calls");
    assert!(exit.is_call("exit_group") && exit.thread_ended, "{exit:#?}");
    assert_eq!(numbers(before), (24..30).collect::<Vec<_>>());

    let ended = workload(&["--last", "7"], 2, 30, "slow");
    assert_eq!((ended.code(), ended.text.as_str()), (Some(0), ""), "{:?}", ended.output);
    let ended = workload(&["--last", "7", "--on", "request"], 2, 30, "code");
    assert_eq!((ended.code(), ended.text.as_str()), (Some(3), ""), "{:?}", ended.output);
}

/// A call that fails with an errno, or lasts, leaves the calls before it. The other threads are in a
/// call.
pub(crate) fn a_call_leaves_the_calls_before_it() {
    for (flags, end, name) in
        [(["--errno", "ENOENT"], "enoent", "openat"), (["--slower", "45ms"], "slow", "nanosleep")]
    {
        let flags = ["--last", "12", flags[0], flags[1]];
        let ended = workload(&flags, 3, 40, end);
        assert_eq!(ended.code(), Some(0), "{:?}", ended.output);
        let all = recordings(&ended.text);
        let is_of_end = |r: &&Recording| {
            let calls = r.calls(r.heading.pid);
            calls.iter().any(|call| number(call) == Some(39))
        };
        let recording = all.iter().find(is_of_end).expect("a recording");
        let heading = &recording.heading;
        assert_eq!((heading.reason.as_str(), heading.syscall.as_deref()), ("call", Some(name)));
        assert_eq!((heading.tid, heading.overwritten), (heading.pid, 0));
        if end == "enoent" {
            assert_eq!(heading.result, Some(-2));
        } else {
            assert!(heading.duration_ns.is_some_and(|ns| ns >= 45_000_000), "{heading:#?}");
        }
        let calls = recording.calls(heading.pid);
        let (last, before) = calls.split_last().expect("calls");
        assert!(last.is_call(name), "{last:#?}");
        assert_eq!(numbers(before), (29..40).collect::<Vec<_>>());
        // What was printed at an earlier event is not printed again.
        let in_flight: Vec<_> = recording.events.0.iter().filter(|e| e.in_flight).collect();
        assert_eq!(in_flight.len(), 3, "{in_flight:#?}");
        assert!(in_flight.iter().all(|event| event.is_call("pause")), "{in_flight:#?}");
    }
}

/// What is overwritten between an event and its reading is counted.
pub(crate) fn overwritten_calls_are_counted() {
    let ended = workload(&["--last", "50", "--errno", "ENOENT"], 0, 60, "busy");
    let all = recordings(&ended.text);
    let of_end = all.iter().rev().find(|r| r.heading.syscall.as_deref() == Some("openat"));
    let heading = &of_end.expect("a recording").heading;
    assert_eq!(heading.calls + heading.overwritten, 50, "{heading:#?}");
    assert!(of_end.is_some_and(|r| r.events.calls("getppid").next().is_none()));
}

/// Threads for which there is no memory are counted.
pub(crate) fn threads_without_memory_are_counted() {
    let ended = workload(&["--last", "1000", "--buffer", "1"], 8, 40, "segv");
    let recording = only(&ended);
    assert_eq!(recording.heading.threads, 1, "{:#?}", recording.heading);
    assert!(recording.heading.unrecorded_threads <= 8, "{:#?}", recording.heading);
    let stderr = ended.stderr();
    assert!(stderr.contains("calls of 8 threads were not recorded"), "{stderr}");
}

/// Long arguments are cut, and the heading counts them.
pub(crate) fn long_arguments_are_cut() {
    let long = "x".repeat(1_000);
    let script = format!("echo {long} > /dev/full; exit 5");
    let flags = ["--last", "100", "-s", "2000", "--syscall", "write,execve"];
    let ended = Trace::new().args(flags).command(["sh", "-c", &script]);
    assert_eq!(ended.code(), Some(5), "{:?}", ended.output);
    let recording = only(&ended);
    assert!(recording.heading.cut > 0, "{:#?}", recording.heading);
    let write = recording.events.calls("write").next().expect("a write");
    let text = &write.args["buf"];
    assert!(write.args_cut && text["cut"] == true, "{write:#?}");
    let shown = text["text"].as_str().expect("text");
    assert!((100..400).contains(&shown.len()) && long.starts_with(shown), "{write:#?}");
}

/// SIGUSR1 prints the last calls of a process that runs, and so does the end; each call once.
pub(crate) fn a_request_prints_what_there_is() {
    let mut child = Command::new("sh")
        .args(["-c", "read line; cd /no/such/directory; read line"])
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("sh");
    let pid = child.id();
    let flags = ["--last", "20", "--on", "request", "-p", &pid.to_string()];
    let mut running = Trace::new().args(flags).start().attached();
    let mut input = child.stdin.take().expect("a pipe");
    std::io::Write::write_all(&mut input, b"line\n").expect("it reads");
    let path = format!("/proc/{pid}/syscall");
    let mut made = 0;
    wait_until("it has changed its directory, and reads", || {
        let reads = std::fs::read_to_string(&path).is_ok_and(|call| call.starts_with("0 "));
        made += u32::from(reads);
        made > 20
    });
    assert_eq!(running.so_far(), "");
    running.signal(libc::SIGUSR1);
    wait_until("it prints", || running.so_far().lines().count() > 2);
    let ended = running.interrupt();
    drop(input);
    let _ = child.wait();
    let all = recordings(&ended.text);
    let reasons: Vec<_> = all.iter().map(|r| r.heading.reason.as_str()).collect();
    assert_eq!(reasons, ["request", "end"], "{all:#?}");
    assert_eq!(all[0].events.calls("chdir").count(), 1, "{all:#?}");
    assert!(all[0].events.0.iter().any(|e| e.is_call("read") && e.in_flight), "{all:#?}");
    assert!(all[1].events.0.iter().all(|e| e.is_call("read") && e.in_flight), "{all:#?}");
}

/// A recorded call has the arguments that a plain trace shows, and text has the same columns.
pub(crate) fn lines_are_those_of_a_plain_trace() {
    let script = "cat /etc/hostname /no/such/file > /dev/null 2>&1; exit 4";
    let flags = ["--columns", "call", "--syscall", "openat,read,write,close", "--comm", "cat"];
    let plain = Trace::text().args(flags).command(["sh", "-c", script]);
    let recorded = Trace::text().args(flags).args(["--last", "500"]).command(["sh", "-c", script]);
    assert_eq!((plain.code(), recorded.code()), (Some(4), Some(4)));
    let is_call = |line: &&str| !line.contains("+++") && !line.contains("---");
    let of = |text: &str| text.lines().filter(is_call).map(str::to_owned).collect::<Vec<_>>();
    let recorded = of(&recorded.text);
    let (heading, calls) = recorded.split_first().expect("lines");
    assert!(heading.starts_with("=== exited with 1: the last "), "{heading}");
    assert_eq!(calls, of(&plain.text));
}

/// Combinations of flags that make no sense are refused.
pub(crate) fn invalid_combinations_are_refused() {
    let ended = Trace::new().args(["--last", "5", "-ff"]).command(["true"]);
    assert_eq!(ended.code(), Some(2), "{:?}", ended.output);
    assert!(ended.stderr().contains("--last and -ff cannot be combined"));
    let ended = Trace::new().args(["--last", "10000", "--buffer", "1"]).command(["true"]);
    assert_ne!(ended.code(), Some(0));
    assert!(ended.stderr().contains("memory for the last calls"), "{}", ended.stderr());
}
