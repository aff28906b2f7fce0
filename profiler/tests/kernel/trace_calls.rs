//! Every call is printed once, in order, with its arguments and its result.

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::{
    run::{Held, Mode, capabilities_are_bounded},
    trace::{Event, Events, Trace},
    workload::{MESSAGES, TEXT},
};

/// What a test compares of a call: the name, two arguments by name, the result and the error.
type Seen = (String, Vec<(String, Value)>, i64, Option<String>);

fn seen(event: &Event, arguments: &[&str]) -> Seen {
    let name = event.syscall.clone().expect("only calls are made");
    let of = |name: &&str| ((*name).to_owned(), event.args.get(*name).cloned().unwrap_or_default());
    let arguments = arguments.iter().map(of).collect();
    (name, arguments, event.result.expect("it returned"), event.errno.clone())
}

/// Every call of a process between two marks is printed once, in order.
pub(crate) fn are_in_order_with_arguments_and_results() {
    const TIMES: usize = 3;
    let trace = Trace::new().args(["--no-paths"]);
    let path = trace.directory.path().join("file");
    let path = path.to_str().expect("text").to_owned();
    let args = ["known", &format!("path={path}"), &format!("calls={TIMES}")];
    let (events, statement) = trace.workload(&args);
    events.has_exactly(&statement);
    let known = events.between_marks(statement.processes[0].pid);
    let fd = known.first().and_then(|open| open.result).expect("an open file");
    let length = TEXT.len() as i64;
    let flags = json!(["O_RDWR", "O_CREAT", "O_TRUNC", "O_CLOEXEC"]);
    let call = |name: &str, args: &[(&str, Value)], result: i64, errno: Option<&str>| -> Seen {
        let args = args.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        (name.to_owned(), args.collect(), result, errno.map(str::to_owned))
    };
    let (buf, count) = ("buf", "count");
    let once = [
        call("openat", &[("filename", json!(path)), ("flags", flags)], fd, None),
        call("write", &[(buf, json!(TEXT)), (count, json!(length))], length, None),
        call("lseek", &[("offset", json!(2)), ("whence", json!("SEEK_SET"))], 2, None),
        call("read", &[(buf, json!(&TEXT[2..7])), (count, json!(5))], 5, None),
        call("lseek", &[("offset", json!(-1)), ("whence", json!("SEEK_END"))], length - 1, None),
        call("read", &[(buf, json!(&TEXT[TEXT.len() - 1..])), (count, json!(64))], 1, None),
        call("read", &[(buf, json!("")), (count, json!(64))], 0, None),
        call("lseek", &[("fd", json!(fd)), ("offset", json!(0))], -22, Some("EINVAL")),
        call("write", &[(buf, json!({"fault": "0x8"})), (count, json!(3))], -14, Some("EFAULT")),
        call("close", &[("fd", json!(fd))], 0, None),
        call("close", &[("fd", json!(-1))], -9, Some("EBADF")),
        call("openat", &[("filename", json!("/no/such/file"))], -2, Some("ENOENT")),
    ];
    assert_eq!(known.len(), TIMES * once.len(), "{known:#?}");
    for (event, expected) in known.iter().zip(once.iter().cycle()) {
        let names: Vec<_> = expected.1.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(seen(event, &names), *expected, "{event:#?}");
        assert!(event.duration_ns.is_some() && event.abi.as_deref() == Some("x86_64"));
        assert!(!event.denied && !event.in_flight);
    }
}

/// The bytes of the first four messages are shown, and those of the last one are cut. The set of
/// signals is behind a second pointer.
pub(crate) fn with_second_pointers_are_followed() {
    let (events, statement) = Trace::new().args(["--no-paths"]).workload(&["messages"]);
    events.has_exactly(&statement);
    let known = events.between_marks(statement.processes[0].pid);
    let [sent, received, waited] = &known[..] else { panic!("{known:#?}") };
    for (event, length_of) in [(sent, None), (received, Some(8))] {
        let array = &event.args["mmsg"];
        assert_eq!(array["cut"], json!(true), "{event:#?}");
        let items = array["items"].as_array().expect("messages");
        assert_eq!(items.len(), 4, "{event:#?}");
        for (item, text) in items.iter().zip(MESSAGES) {
            assert_eq!(item["msg_len"], json!(text.len()), "{event:#?}");
            let vector = &item["msg_hdr"]["msg_iov"][0];
            assert_eq!(vector["iov_base"], json!(text), "{event:#?}");
            assert_eq!(vector["iov_len"], json!(length_of.unwrap_or(text.len())), "{event:#?}");
        }
    }
    let expected = json!({"sigmask": ["USR1", "CHLD"], "sigsetsize": 8});
    assert_eq!(waited.args["sig"], expected, "{waited:#?}");
}

/// With paths, descriptors have the names of their open files.
pub(crate) fn have_the_paths_of_their_files() {
    let trace = Trace::new();
    let path = trace.directory.path().join("file");
    let path = path.to_str().expect("text").to_owned();
    let (events, statement) = trace.workload(&["known", &format!("path={path}"), "calls=1"]);
    let known = events.between_marks(statement.processes[0].pid);
    let fd = known.first().and_then(|open| open.result).expect("an open file");
    let file = json!({"fd": fd, "file": path});
    for name in ["write", "read", "lseek"] {
        let event = known.iter().find(|event| event.is_call(name)).expect("it is made");
        assert_eq!(event.args["fd"], file, "{event:#?}");
    }
}

/// Sixty-four threads at once. Each numbers its calls.
pub(crate) fn of_many_threads_are_complete() {
    const CALLS: u64 = 500;
    let args = ["numbered", "threads=64", &format!("calls={CALLS}")];
    let (events, statement) = Trace::new().args(["--buffer", "64"]).workload(&args);
    let stated: Vec<_> = statement.processes.iter().map(|thread| thread.pid).collect();
    assert_eq!(stated.len(), 64);
    let numbers = numbers(&events);
    let expected: Vec<_> = (0..CALLS).collect();
    for tid in stated {
        assert_eq!(numbers[&tid], expected, "{tid}");
    }
    events.threads_are_in_order();
}

/// The numbers of the calls that each thread made.
fn numbers(events: &Events) -> HashMap<u32, Vec<u64>> {
    let mut numbers: HashMap<u32, Vec<u64>> = HashMap::new();
    for event in events.calls("lseek").filter(|event| event.errno.as_deref() == Some("EBADF")) {
        let number = event.args["offset"].as_u64().expect("a number");
        numbers.entry(event.tid).or_default().push(number);
    }
    numbers
}

/// If calls come too fast, some are left out. What is printed and what is left out add up, in each
/// thread and in total.
pub(crate) fn left_out_and_printed_add_up() {
    const CALLS: u64 = 150_000;
    const THREADS: u64 = 2;
    let threads = format!("threads={THREADS}");
    let args = ["numbered", &threads, &format!("calls={CALLS}")];
    let trace = Trace::new().args(["--buffer", "1", "--syscall", "lseek"]);
    let ((events, said), statement) = trace.workload_with_losses(&args);
    let dropped = said_to_be_dropped(&said);
    let tids: Vec<_> = statement.processes.iter().map(|thread| thread.pid).collect();
    for &tid in &tids {
        // The number of the first call that was neither printed nor said to be left out.
        let mut next = 0;
        for event in events.0.iter().filter(|event| event.tid == tid && event.is_call("lseek")) {
            next += event.dropped_before;
            assert_eq!(event.args["offset"], json!(next), "{event:#?}");
            next += 1;
        }
        if let Some(end) = events.0.iter().find(|event| event.tid == tid && event.is_end()) {
            assert_eq!(next + end.dropped_before, CALLS, "{end:#?}");
        }
    }
    // Each thread also ends, and so does the first thread of the process.
    let made = THREADS * (CALLS + 1) + 1;
    let of_workload = |event: &&Event| tids.contains(&event.tid) || event.is_end();
    let printed = events.0.iter().filter(of_workload).count() as u64;
    assert_eq!(printed, events.0.len() as u64, "nothing else is followed");
    assert_eq!(printed + dropped, made, "{said}");
    assert!(dropped > 0, "the workload is too slow for this test: {printed} calls printed");
}

/// The number in the message at the end.
#[track_caller]
fn said_to_be_dropped(said: &str) -> u64 {
    if said.is_empty() {
        return 0;
    }
    let number = said.strip_prefix("profiler: ").and_then(|rest| rest.split(' ').next());
    assert!(said.contains(" events were dropped"), "{said}");
    number.and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("no number in {said}"))
}

/// Workloads of the conformance suite, which make twenty kinds of calls, in threads and processes.
pub(crate) fn are_as_many_as_stated() {
    for args in [
        &["counts", "calls=500"][..],
        &["counts", "threads=8", "calls=100"],
        &["counts", "processes=20", "calls=20"],
    ] {
        let (events, statement) = Trace::new().args(["--buffer", "64"]).workload(args);
        events.has_exactly(&statement);
    }
}

/// A running process, and the children that it starts afterwards. Another process is not followed.
pub(crate) fn of_a_running_process_and_its_children() {
    let held = Held::start(&["counts", "threads=8", "calls=50", "processes=10"]);
    let other = Held::start(&["counts", "calls=10"]);
    let pid = held.pid().to_string();
    let running = Trace::new().args(["--buffer", "64", "--pid", &pid]).start().attached();
    let of_other = other.go();
    let statement = held.go();
    // It ends by itself.
    let ended = running.end();
    assert_eq!((ended.code(), ended.stderr().as_str()), (Some(0), ""));
    let events = ended.events();
    events.nothing_was_dropped();
    events.has_exactly(&statement);
    let other = of_other.processes[0].pid;
    assert_eq!(events.of(other).count(), 0, "it was not asked for");
    // The first thread waited for its input when the profiler attached.
    let first = events.of(held_pid(&statement)).find(|event| event.is_call("read"));
    let first = first.expect("it ends after the attach");
    assert!(!first.denied && !first.in_flight, "{first:#?}");
    assert_eq!((first.duration_ns, first.result), (None, Some(0)), "{first:#?}");
}

fn held_pid(statement: &crate::workload::Statement) -> u32 {
    statement.processes[0].pid
}

/// Calls that seccomp answers, passes on, or ends the thread in; calls that a tracer skips.
pub(crate) fn that_are_denied_are_shown() {
    for args in [
        &["denied", "calls=20"][..],
        &["seccomp-trap", "calls=10"],
        &["seccomp-trace", "calls=10"],
        &["seccomp-user-notification", "calls=30"],
        &["seccomp-kill", "calls=2"],
    ] {
        let (events, mut statement) = Trace::new().workload(args);
        // A thread that seccomp ends at once neither enters nor leaves the call, and has no event of
        // it.
        statement.processes.retain(|process| {
            args[0] != "seccomp-kill" || events.of(process.pid).any(|e| e.is_call("getsid"))
        });
        assert!(statement.processes.len() >= args.len() - 1, "{statement:#?}");
        events.has_exactly(&statement);
        for event in events.0.iter().filter(|event| event.denied) {
            assert_eq!(event.duration_ns, None, "{event:#?}");
        }
    }
}

/// The same of threads that are older than the attach, some of which wait in a call meanwhile.
pub(crate) fn that_are_denied_to_older_threads_are_shown() {
    let held = Held::start(&["denied-before", "threads=40", "calls=5"]);
    let running = Trace::new().args(["--pid", &held.pid().to_string()]).start().attached();
    let statement = held.go();
    let ended = running.end();
    assert_eq!((ended.code(), ended.stderr().as_str()), (Some(0), ""));
    ended.events().has_exactly(&statement);
}

/// Calls that signals break, that are restarted, or that go on under another number.
pub(crate) fn that_signals_break_are_shown() {
    for args in [
        &["restarted", "calls=10"][..],
        &["handled", "calls=10"],
        &["in-waits", "calls=10"],
        &["stopped"],
    ] {
        let (events, statement) = Trace::new().workload(args);
        events.has_exactly(&statement);
    }
}

/// Execs, by a thread that is not the leader too, and those that fail.
pub(crate) fn that_run_a_program_are_shown() {
    for args in [
        &["execs", "calls=5"][..],
        &["execs-by-int80", "calls=3"],
        &["fail-late", "calls=3"],
        &["fail-late", "calls=3", "by-thread=1"],
        &["exec-by-thread", "calls=20"],
    ] {
        let (events, statement) = Trace::new().workload(args);
        events.has_exactly(&statement);
    }
    // The thread that execs becomes the leader.
    let (events, statement) = Trace::new().workload(&["exec-by-thread", "calls=5"]);
    let pid = statement.processes[0].pid;
    let execs: Vec<_> = events.of(pid).filter(|event| event.is_call("execve")).collect();
    assert_eq!(execs.len(), 2, "{execs:#?}");
    assert!(execs.iter().all(|event| event.tid == pid && event.result == Some(0)), "{execs:#?}");
    assert_eq!(execs[1].args["argv"][1], json!("workload"), "{:#?}", execs[1]);
}

/// Births and ends of processes and threads in all ways.
pub(crate) fn of_children_are_shown() {
    for args in [&["clone-vm", "calls=5"][..], &["forks", "calls=5"], &["many", "calls=5"]] {
        let (events, statement) = Trace::new().args(["--buffer", "64"]).workload(args);
        events.has_exactly(&statement);
    }
}

/// Calls of the i386 table by 64-bit code, and unknown numbers.
pub(crate) fn of_both_tables_are_shown() {
    for args in [&["both-tables"][..], &["abis", "calls=10"]] {
        let (events, statement) = Trace::new().workload(args);
        events.has_exactly(&statement);
    }
}

/// The ids are those of the host, also of the processes in another pid namespace.
pub(crate) fn in_a_pid_namespace_have_ids_of_the_host() {
    let (events, statement) = Trace::with_privileged_command().workload(&["pid-namespace"]);
    events.has_exactly(&statement);
}

/// A command that runs as another user, and a program that gets privileges by its file.
pub(crate) fn of_another_user_are_shown(_: Mode) -> Result<(), String> {
    if capabilities_are_bounded() {
        return Err("the capabilities to change users are not there".into());
    }
    let ended = Trace::new().args(["-u", "nobody"]).command(["sh", "-c", "exit 6"]);
    assert_eq!(ended.code(), Some(6), "{:?}", ended.output);
    let events = ended.events();
    assert!(events.calls("exit_group").any(|event| event.args["error_code"] == json!(6)));
    // The calls that changed the user are not the command's.
    assert_eq!(events.calls("setresuid").count(), 0);

    use std::os::unix::fs::PermissionsExt as _;
    let trace = Trace::new().args(["-u", "nobody"]);
    let for_all = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(trace.directory.path(), for_all).expect("a directory of ours");
    let program = trace.directory.path().join("set-user-id");
    std::fs::copy(std::env::current_exe().expect("an executable"), &program).expect("a copy");
    let set_user_id = std::fs::Permissions::from_mode(0o4755);
    std::fs::set_permissions(&program, set_user_id).expect("a file of ours");
    let ended = trace.command([program.as_os_str(), "workload".as_ref(), "end".as_ref()]);
    assert_eq!(ended.code(), Some(0), "{:?}", ended.output);
    let events = ended.events();
    assert_eq!(events.calls("exit_group").count(), 1);
    Ok(())
}
