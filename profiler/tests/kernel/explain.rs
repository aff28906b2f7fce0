//! `profiler explain` names what threads wait for, who could end the wait, and which paths fail,
//! exactly as workloads state them.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::process::CommandExt as _,
    process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio},
    time::Duration,
};

use serde_json::Value;

use crate::{
    privilege::as_nobody,
    run::{kernel_ids, profiler_command, wait_until, workload_args},
    workload::{Blocked, FAIL, FAILING, OPENS, SLEEP, SLEEP_SECONDS, Waiting, now},
};

/// The workload `blocked`.
struct Workload {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    blocked: Blocked,
}

impl Workload {
    fn start(args: &[&str]) -> Self {
        let args = workload_args(&[&["blocked"], args].concat());
        let mut command = Command::new(&args[0]);
        command.args(&args[1..]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("this executable");
        let input = child.stdin.take().expect("a pipe");
        let mut output = BufReader::new(child.stdout.take().expect("a pipe"));
        let blocked = serde_json::from_str(&line(&mut output)).expect("what it printed");
        Self { child, input, output, blocked }
    }

    fn tell(&mut self, what: &str) -> String {
        self.input.write_all(what.as_bytes()).expect("it reads");
        line(&mut self.output)
    }

    fn waiting(&self, kind: &str) -> &Waiting {
        &self.blocked.waits[kind]
    }
}

impl Drop for Workload {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn line(output: &mut BufReader<ChildStdout>) -> String {
    let mut line = String::new();
    output.read_line(&mut line).expect("a line");
    line
}

fn explain(id: u32, flags: &[&str]) -> Output {
    let mut command = profiler_command();
    command.arg("explain").arg(id.to_string()).args(flags).output().expect("the profiler")
}

#[track_caller]
fn parsed(output: &Output) -> Value {
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

#[track_caller]
fn page(id: u32, flags: &[&str]) -> Value {
    parsed(&explain(id, &[&["--format", "json"], flags].concat()))
}

/// An explanation that runs until it is interrupted.
struct Running(Option<Child>);

impl Running {
    fn start(pid: u32) -> Self {
        let mut command = profiler_command();
        command.args(["explain", "--format", "json", "--duration", "1h"]).arg(pid.to_string());
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let child = child.expect("the profiler");
        wait_until("the profiler waits", || {
            let call = fs::read_to_string(format!("/proc/{}/syscall", child.id()));
            let polls = call.is_ok_and(|call| call.starts_with(&format!("{} ", libc::SYS_poll)));
            polls && kernel_ids(child.id(), "link_id").len() >= crate::run::LINKS
        });
        Self(Some(child))
    }

    fn interrupt(self) -> Value {
        let child = self.0.as_ref().expect("it runs");
        // SAFETY: a child of ours that has not been waited for.
        assert_eq!(unsafe { libc::kill(child.id().cast_signed(), libc::SIGINT) }, 0);
        self.end()
    }

    fn end(mut self) -> Value {
        let child = self.0.take().expect("it runs");
        parsed(&child.wait_with_output().expect("a child of ours"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The group of a thread.
#[track_caller]
fn group(page: &Value, tid: u32) -> &Value {
    let groups = page["groups"].as_array().expect("an array");
    let has = |group: &&Value| {
        group["named"].as_array().expect("an array").iter().any(|thread| thread["tid"] == tid)
    };
    groups.iter().find(has).unwrap_or_else(|| panic!("no thread {tid} in {page:#}"))
}

#[track_caller]
fn assert_peer(file: &Value, pid: u32, kind: &str) {
    assert_eq!(file["kind"], kind, "{file:#}");
    let holders = file["peer"]["holders"].as_array().expect("an array");
    assert!(!holders.is_empty() && holders.iter().all(|h| h["pid"] == pid), "{file:#}");
}

/// Everything that a thread can wait for, in one process.
pub(crate) fn waits_are_named() {
    let workload = Workload::start(&[]);
    std::thread::sleep(Duration::from_millis(500));
    let page = page(workload.blocked.pid, &["--duration", "300ms"]);
    assert_eq!(page["schema"], 1);
    assert_eq!(page["threads"], page["threads_read"]);
    assert_eq!(page["process"]["pid"], workload.blocked.pid);
    let of = |kind: &str| {
        let waiting = workload.waiting(kind);
        (waiting, group(&page, waiting.tid))
    };
    for (kind, file, syscall) in
        [("pipe", "pipe", "read"), ("unix", "socket", "recvfrom"), ("tcp", "socket", "recvfrom")]
    {
        let (waiting, group) = of(kind);
        assert_eq!(group["doing"]["syscall"], syscall, "{group:#}");
        assert_eq!(group["wait"]["file"]["fd"], waiting.fd);
        assert_peer(&group["wait"]["file"], waiting.other, file);
    }
    let name = |kind: &str| of(kind).1["wait"]["file"]["name"].as_str().expect("a name").to_owned();
    assert!(name("unix").starts_with("UNIX-STREAM:["));
    assert!(name("tcp").starts_with("TCP:[127.0.0.1:"));
    let (waiting, group) = of("flock");
    assert_eq!(group["wait"]["lock"], "flock", "{group:#}");
    assert_eq!(group["wait"]["holders"][0]["pid"], waiting.other, "{group:#}");
    let (waiting, group) = of("child");
    assert_eq!(group["wait"]["kind"], "children");
    assert_eq!(group["wait"]["count"], 1, "{group:#}");
    assert_eq!(group["wait"]["children"][0]["pid"], waiting.other);
    assert_eq!(group["wait"]["children"][0]["state"], "S");
    let (waiting, group) = of("epoll");
    assert_eq!(group["wait"]["count"], 2, "{group:#}");
    let files = group["wait"]["files"].as_array().expect("an array");
    let find = |fd: i32| files.iter().find(|file| file["fd"] == fd).expect("a descriptor");
    assert_eq!(find(waiting.fd)["kind"], "eventfd");
    assert_eq!(find(waiting.fd)["detail"], "counter 0");
    assert_eq!(find(waiting.second)["kind"], "pipe");
    let (waiting, group) = of("sleep");
    assert_eq!(group["wait"]["kind"], "time");
    let limit = &group["limit"];
    assert_eq!(limit["total_ns"], SLEEP_SECONDS * 1_000_000_000);
    assert_eq!(limit["at_most"], true);
    let slept = SLEEP_SECONDS as u64 * 1_000_000_000 - limit["left_ns"].as_u64().expect("a rest");
    assert!(slept <= now() - waiting.before_ns, "{group:#}");
    // The kernel says when the thread went to sleep.
    let least = if fs::exists("/proc/self/sched").is_ok_and(|there| there) { 750 } else { 300 };
    let age = group["age"]["longest_ns"].as_u64().expect("an age");
    assert!((least * 1_000_000..=now() - waiting.before_ns).contains(&age), "{group:#}");
    assert_eq!(group["age"]["at_least"], true);
    let (waiting, group) = of("mutex");
    let futex = &group["wait"];
    assert_eq!(futex["address"], waiting.address, "{group:#}");
    assert_eq!((&futex["value"], &futex["is_private"]), (&2.into(), &true.into()));
    assert_eq!(futex["owner"]["tid"], waiting.other, "{group:#}");
    assert_eq!(futex["owner"]["evidence"], "like_mutex");
    assert_eq!(futex["owner"]["doing"], "pause()");
    let (waiting, group) = of("pi");
    assert_eq!(group["wait"]["owner"]["tid"], waiting.other, "{group:#}");
    assert_eq!(group["wait"]["owner"]["evidence"], "futex");
    let (_, group) = of("owner");
    assert_eq!(group["wait"]["kind"], "signal", "{group:#}");
    let stack = group["kernel_stack"].as_array();
    assert!(stack.is_none_or(|stack| !stack.is_empty()), "{group:#}");
    // A thread that is asked for comes first.
    let tid = workload.waiting("epoll").tid;
    let page = self::page(tid, &["--no-watch"]);
    assert_eq!(
        (&page["thread"], &page["process"]["pid"]),
        (&tid.into(), &workload.blocked.pid.into())
    );
    assert_eq!(page["groups"][0]["named"][0]["tid"], tid);
    assert_eq!(page["groups"][0]["count"], 1);
    assert!(page["profile"].is_null(), "{page:#}");
}

/// The first line says what matters.
pub(crate) fn the_first_line_is_the_answer() {
    let verdict = |workload: &Workload| {
        let output = explain(workload.blocked.pid, &["--duration", "50ms"]);
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).expect("text");
        text.lines().next().expect("a line").to_owned()
    };
    let workload = Workload::start(&["only=deadlock"]);
    let (first, second) = (workload.waiting("first").tid, workload.waiting("second").tid);
    let text = verdict(&workload);
    let (low, high) = (first.min(second), first.max(second));
    let expected = format!(
        "is probably deadlocked: thread {low} waits for a lock of thread {high}, thread {high} for \
         one of thread {low}."
    );
    assert!(text.ends_with(&expected), "{text}");
    let workload = Workload::start(&["only=pipe"]);
    let text = verdict(&workload);
    let waiting = workload.waiting("pipe");
    let peer = format!("Process {} (", waiting.other);
    assert!(text.contains(" waits: ") && text.contains(" been in read("), "{text}");
    // The main thread reads its input, of which this process has the other end, for as long.
    assert!(
        text.contains(&peer) || text.contains(&format!("Process {} (", std::process::id())),
        "{text}"
    );
}

/// Counts of failed calls, by errno and by path.
pub(crate) fn failed_paths_are_exact() {
    let mut workload = Workload::start(&["only=pipe"]);
    let running = Running::start(workload.blocked.pid);
    assert_eq!(workload.tell(FAIL), "done\n");
    let before = now();
    let sleeping: Waiting = serde_json::from_str(&workload.tell(SLEEP)).expect("a thread");
    std::thread::sleep(Duration::from_millis(200));
    let page = running.interrupt();
    let failures = &page["profile"]["failures"];
    assert_eq!(failures["dropped"], 0, "{failures:#}");
    let rows = failures["rows"].as_array().expect("an array");
    let count = |path: &str, errno: &str| {
        let row = rows.iter().find(|row| row["path"] == path && row["errno"] == errno);
        let row = row.unwrap_or_else(|| panic!("no {path} in {failures:#}"));
        assert_eq!(row["syscall"], OPENS);
        row["count"].as_u64()
    };
    for (path, errno, expected) in FAILING {
        assert_eq!(count(path, errno), Some(expected), "{path}");
    }
    let errors = page["profile"]["calls"]["by_errno"].as_array().expect("an array");
    for (errno, expected) in [("ENOENT", 500), ("ENOTDIR", 50)] {
        let found = errors.iter().find(|e| e["errno"] == errno && e["syscall"] == OPENS);
        assert_eq!(found.expect("a row")["count"], expected, "{errors:#?}");
    }
    // The profiler saw this call enter, so its age is exact.
    let group = group(&page, sleeping.tid);
    let age = &group["age"];
    assert_eq!(age["at_least"], false, "{group:#}");
    let age = age["longest_ns"].as_u64().expect("an age");
    assert!((200_000_000..=now() - before).contains(&age), "{age}");
    let calls = &page["profile"]["calls"];
    let open = calls["rows"].as_array().expect("an array").iter().find(|r| r["syscall"] == OPENS);
    let open = open.unwrap_or_else(|| panic!("no {OPENS} in {calls:#}"));
    assert_eq!((&open["calls"], &open["errors"]), (&550.into(), &550.into()));
}

/// States that are not those of calls.
pub(crate) fn states_are_named() {
    let workload = Workload::start(&["only=sleep"]);
    let pid = workload.blocked.pid;
    // SAFETY: a child of ours.
    assert_eq!(unsafe { libc::kill(pid.cast_signed(), libc::SIGSTOP) }, 0);
    wait_until("it is stopped", || {
        fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") T "))
    });
    let stopped = page(pid, &["--no-watch"]);
    assert_eq!(stopped["process"]["state"], "T");
    assert!(verdict(&stopped).ends_with("is stopped by a signal. SIGCONT continues it."));
    drop(workload);
    // Small systems have no coreutils.
    let own = std::env::current_exe().expect("an executable");
    let mut zombie = Command::new(own).args(["workload", "end"]).spawn().expect("this program");
    wait_until("it has ended", || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", zombie.id()));
        stat.is_ok_and(|stat| stat.contains(") Z "))
    });
    let ended = page(zombie.id(), &[]);
    assert_eq!(ended["process"]["state"], "Z");
    assert!(verdict(&ended).contains("has ended. It stays until its parent, "), "{ended:#}");
    zombie.wait().expect("a child of ours");
    // The kernel's first thread.
    let kernel = page(2, &[]);
    assert_eq!(kernel["process"]["is_kernel_thread"], true);
    assert_eq!(kernel["groups"][0]["doing"]["kind"], "kernel");
    assert!(verdict(&kernel).contains("is a kernel thread, "), "{kernel:#}");
}

fn verdict(page: &Value) -> &str {
    page["verdict"].as_str().expect("text")
}

/// The page has what was found before the end.
pub(crate) fn a_process_that_ends_is_explained() {
    let mut workload = Workload::start(&["only=sleep"]);
    let running = Running::start(workload.blocked.pid);
    workload.tell(FAIL);
    workload.child.kill().expect("it runs");
    workload.child.wait().expect("a child of ours");
    let page = running.end();
    assert_eq!(page["has_ended"], true);
    assert!(
        verdict(&page).contains("ended while it was explained. Before, it waits: "),
        "{page:#}"
    );
    assert_eq!(page["profile"]["failures"]["seen"], 550, "{page:#}");
}

pub(crate) fn a_process_that_is_not_there_is_an_error() {
    // Greater than the greatest process id.
    let output = explain(4_194_305, &[]);
    assert_eq!(output.status.code(), Some(6), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("4194305"), "{said}");
}

/// Own processes are explained without privilege, and the page says what is missing.
pub(crate) fn without_privilege_it_says_what_is_missing() {
    let mut sleeper = Command::new("sleep");
    sleeper.arg("1000").uid(65_534).gid(65_534).current_dir("/");
    let mut sleeper = sleeper.spawn().expect("sleep of coreutils");
    wait_until("it sleeps", || {
        let call = fs::read_to_string(format!("/proc/{}/syscall", sleeper.id()));
        call.is_ok_and(|call| call.starts_with(&format!("{} ", libc::SYS_clock_nanosleep)))
    });
    let pid = sleeper.id().to_string();
    let output = as_nobody("", &["explain", &pid, "--duration", "100ms", "--format", "json"]);
    let own = parsed(&output);
    let other = std::process::id().to_string();
    let output = as_nobody("", &["explain", &other, "--duration", "100ms", "--format", "json"]);
    let others = parsed(&output);
    sleeper.kill().expect("it runs");
    sleeper.wait().expect("a child of ours");
    let missing = |page: &Value, what: &str| {
        let all = page["unknown"].as_array().expect("an array");
        let found = all.iter().find(|unknown| unknown["what"] == what);
        found.map(|unknown| unknown["why"].as_str().expect("text").to_owned())
    };
    let why = missing(&own, "the syscalls of the last seconds").expect("it is missing");
    assert!(why.contains("CAP_BPF and CAP_PERFMON"), "{why}");
    assert_eq!(missing(&own, "kernel stacks").as_deref(), Some("requires CAP_SYS_ADMIN"));
    // Yama may forbid to read the call.
    if missing(&own, "the calls in which threads are").is_none() {
        assert_eq!(own["groups"][0]["doing"]["syscall"], "clock_nanosleep", "{own:#}");
        assert_eq!(own["groups"][0]["age"]["at_least"], true);
    }
    let why = missing(&others, "the calls in which threads are").expect("it is missing");
    assert!(why.contains("requires root"), "{why}");
    assert!(own["profile"]["calls"].is_null());
}
