//! `profiler trace`: the runner, the parser of its JSON, and the comparison with the statement of a
//! workload.

use std::{
    collections::{BTreeMap, HashMap},
    ffi::OsString,
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
};

use serde::Deserialize;
use tempfile::TempDir;

use crate::{
    report::{assert_same, kernel_skips_programs},
    run::{PROFILER, kernel_ids, profiler_command, statement, wait_until, workload_args},
    workload::{Calls, Made, Statement},
};

/// An event, as `--format json` prints it.
#[derive(Deserialize, Debug, Clone)]
#[serde(deny_unknown_fields)]
pub(crate) struct Event {
    schema: u32,
    pub(crate) event: String,
    time: String,
    pub(crate) monotonic_ns: u64,
    pub(crate) pid: u32,
    pub(crate) tid: u32,
    comm: String,
    #[serde(default)]
    pub(crate) dropped_before: u64,
    pub(crate) abi: Option<String>,
    pub(crate) syscall: Option<String>,
    #[serde(default)]
    pub(crate) args: serde_json::Map<String, serde_json::Value>,
    pub(crate) result: Option<i64>,
    pub(crate) errno: Option<String>,
    #[expect(dead_code, reason = "the field is checked to be text")]
    note: Option<String>,
    pub(crate) duration_ns: Option<u64>,
    #[serde(default)]
    pub(crate) denied: bool,
    #[serde(default)]
    pub(crate) args_cut: bool,
    #[serde(default)]
    pub(crate) in_flight: bool,
    /// Whether the thread ended in the call.
    #[serde(default)]
    pub(crate) thread_ended: bool,
    /// A name of a signal event, or the number of an end.
    pub(crate) signal: Option<serde_json::Value>,
    pub(crate) number: Option<u32>,
    pub(crate) code: Option<i32>,
    pub(crate) sender_pid: Option<u32>,
    pub(crate) sender_uid: Option<u32>,
    pub(crate) address: Option<u64>,
    pub(crate) exit_code: Option<i32>,
    pub(crate) core_dumped: Option<bool>,
    pub(crate) last_thread: Option<bool>,
}

impl Event {
    pub(crate) fn is_call(&self, name: &str) -> bool {
        self.syscall.as_deref() == Some(name)
    }

    pub(crate) fn is_end(&self) -> bool {
        self.event == "end"
    }

    /// The name of the signal, of a signal event.
    pub(crate) fn delivered(&self) -> Option<&str> {
        (self.event == "signal").then(|| self.signal.as_ref()?.as_str())?
    }

    fn is_exec(&self) -> bool {
        self.is_call("execve") || self.is_call("execveat")
    }

    /// Whether this is a call that returned in order to be restarted.
    fn is_restart(&self) -> bool {
        self.errno.as_deref().is_some_and(|errno| errno.starts_with("ERESTART"))
    }
}

/// The events of a run. Only [`parse`](Self::parse) creates them, so all of them are checked.
#[derive(Debug)]
pub(crate) struct Events(pub(crate) Vec<Event>);

impl Events {
    #[track_caller]
    pub(crate) fn parse(text: &str) -> Self {
        let parsed = text.lines().map(|line| {
            let event: Event = serde_json::from_str(line)
                .unwrap_or_else(|error| panic!("{error} in what should be JSON: {line:?}"));
            event.check();
            event
        });
        let events: Vec<_> = parsed.collect();
        Self(events)
    }

    pub(crate) fn of(&self, pid: u32) -> impl Iterator<Item = &Event> {
        self.0.iter().filter(move |event| event.pid == pid)
    }

    pub(crate) fn calls<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Event> {
        self.0.iter().filter(move |event| event.is_call(name))
    }

    /// The calls of a process in the form of a statement.
    fn made(&self, pid: u32) -> Calls {
        let mut made = Calls::new();
        let mut restarts: HashMap<u32, String> = HashMap::new();
        for event in self.of(pid) {
            // A call whose thread ends next has not returned to the program.
            let restart = match event.event.as_str() {
                "signal" => None,
                // By an exec, another thread takes the id of the leader, which ends then.
                "call" if event.is_exec() => None,
                _ => restarts.remove(&event.tid),
            };
            if let Some(name) = restart {
                let of: &mut Made = made.entry(name).or_default();
                if event.is_end() { of.never_returned += 1 } else { of.restarted += 1 }
            }
            let (Some(abi), Some(syscall)) = (&event.abi, &event.syscall) else { continue };
            let is_unknown = syscall.starts_with("syscall_0x");
            let name = format!("{abi}/{}", if is_unknown { "unknown" } else { syscall });
            let of = made.entry(name.clone()).or_default();
            if event.denied {
                of.denied += 1;
                continue;
            }
            of.calls += 1;
            if event.is_restart() {
                restarts.insert(event.tid, name);
            } else if is_return_of_handler(syscall) {
                // It leaves with the result of the call that the signal broke.
            } else if let Some(errno) = &event.errno {
                *of.errnos.entry(errno.clone()).or_default() += 1;
            } else if event.result.is_none() {
                of.never_returned += 1;
            }
        }
        made
    }

    /// Each stated call of each process is printed exactly as stated.
    #[track_caller]
    pub(crate) fn has_exactly(&self, statement: &Statement) {
        assert!(!statement.processes.is_empty(), "a workload that states nothing proves nothing");
        for process in &statement.processes {
            let stated = &process.calls;
            let mut printed: Calls =
                stated.keys().map(|name| (name.clone(), Made::default())).collect();
            printed.extend(self.made(process.pid));
            printed.retain(|name, _| stated.contains_key(name));
            assert_same(&with_restarts(&printed), &with_restarts(stated), loss());
        }
        self.threads_are_in_order();
    }

    /// Within a thread, times ascend and calls do not overlap.
    #[track_caller]
    pub(crate) fn threads_are_in_order(&self) {
        let mut last: HashMap<u32, &Event> = HashMap::new();
        for event in &self.0 {
            // By an exec, another thread may take the id of the leader.
            if !event.is_exec()
                && let Some(before) = last.insert(event.tid, event)
                && !before.is_exec()
            {
                let until = before.monotonic_ns + before.duration_ns.unwrap_or(0);
                assert!(until <= event.monotonic_ns, "{before:#?} is before {event:#?}");
            }
        }
    }

    /// No event was left out.
    #[track_caller]
    pub(crate) fn nothing_was_dropped(&self) {
        let dropped = self.0.iter().find(|event| event.dropped_before > 0);
        assert!(dropped.is_none(), "{dropped:#?}");
    }

    /// The events of a process between its two marks.
    #[track_caller]
    pub(crate) fn between_marks(&self, pid: u32) -> Vec<&Event> {
        let of: Vec<_> = self.of(pid).collect();
        let marks: Vec<_> = (0..of.len()).filter(|&at| of[at].is_call("getpgid")).collect();
        let &[first, last] = &marks[..] else { panic!("not two marks: {marks:?} in {of:#?}") };
        of[first + 1..last].to_vec()
    }
}

impl Event {
    /// Checks properties of every event.
    #[track_caller]
    fn check(&self) {
        assert_eq!(self.schema, 1);
        assert!(self.time.ends_with('Z') && self.monotonic_ns > 0, "{self:#?}");
        assert!(!self.comm.is_empty(), "{self:#?}");
        let is_call = self.event == "call";
        assert_eq!(is_call, self.syscall.is_some() && self.abi.is_some(), "{self:#?}");
        assert!(is_call || self.result.is_none() && !self.denied, "{self:#?}");
        assert!(self.errno.is_none() || self.result.is_some_and(|r| r < 0), "{self:#?}");
        assert!(!self.in_flight || self.result.is_none(), "{self:#?}");
        assert!(!(self.denied && self.in_flight), "{self:#?}");
        assert!(!self.thread_ended || self.result.is_none() && !self.in_flight, "{self:#?}");
        assert!(self.duration_ns.is_none() || !self.denied, "{self:#?}");
        if self.is_end() {
            assert_ne!(self.exit_code.is_some(), self.signal.is_some(), "{self:#?}");
            assert!(self.last_thread.is_some() && self.core_dumped.is_some(), "{self:#?}");
        }
        if self.event == "signal" {
            assert!(self.delivered().is_some() && self.code.is_some(), "{self:#?}");
            assert!(self.number.is_some() && self.address.is_some(), "{self:#?}");
        }
    }
}

/// Whether a call ends a signal handler.
fn is_return_of_handler(syscall: &str) -> bool {
    matches!(syscall, "sigreturn" | "rt_sigreturn")
}

/// The calls, with those that a signal broke all counted as restarted. When a call leaves, it is not
/// known whether it will be restarted or will fail with EINTR: that depends on the handler.
fn with_restarts(calls: &Calls) -> Calls {
    let with = |made: &Made| {
        let mut made = made.clone();
        made.restarted += made.errnos.remove("EINTR").unwrap_or(0);
        made
    };
    calls.iter().map(|(name, made)| (name.clone(), with(made))).collect()
}

/// How many entries and exits this kernel may have skipped. The trace does not say how many.
fn loss() -> u64 {
    if kernel_skips_programs() { 8 } else { 0 }
}

/// A builder for a run of `profiler trace`.
pub(crate) struct Trace {
    command: Command,
    pub(crate) directory: TempDir,
}

impl Trace {
    /// A run that prints JSON.
    pub(crate) fn new() -> Self {
        Self::of(profiler_command()).args(["--format", "json"])
    }

    /// A run that prints text.
    pub(crate) fn text() -> Self {
        Self::of(profiler_command())
    }

    /// Same as [`new`](Self::new), with all of root's capabilities.
    pub(crate) fn with_privileged_command() -> Self {
        Self::of(Command::new(PROFILER)).args(["--format", "json"])
    }

    fn of(mut command: Command) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        command.args(["trace", "--output"]).arg(directory.path().join("trace"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self { command, directory }
    }

    pub(crate) fn args<T: Into<OsString>>(mut self, args: impl IntoIterator<Item = T>) -> Self {
        self.command.args(args.into_iter().map(Into::into));
        self
    }

    pub(crate) fn start(mut self) -> Running {
        let child = self.command.spawn().expect("the profiler");
        let path = self.directory.path().join("trace");
        Running { child: Some(child), path, directory: self.directory }
    }

    /// Follows a command to its end.
    #[track_caller]
    pub(crate) fn command<T: Into<OsString>>(self, command: impl IntoIterator<Item = T>) -> Ended {
        self.args(["--"]).args(command).start().end()
    }

    /// Follows a workload, which has to end with 0. Nothing may be left out.
    #[track_caller]
    pub(crate) fn workload(self, args: &[&str]) -> (Events, Statement) {
        let (events, statement) = self.workload_with_losses(args);
        assert_eq!(events.1, "", "the profiler has nothing to say");
        events.0.nothing_was_dropped();
        (events.0, statement)
    }

    /// Follows a workload, which has to end with 0. Also returns what the profiler said.
    #[track_caller]
    pub(crate) fn workload_with_losses(self, args: &[&str]) -> ((Events, String), Statement) {
        let ended = self.command(workload_args(args));
        assert!(ended.output.status.success(), "{:?}", ended.output);
        let stated = statement(&String::from_utf8_lossy(&ended.output.stdout));
        ((ended.events(), ended.stderr()), stated)
    }
}

/// A running profiler.
pub(crate) struct Running {
    child: Option<Child>,
    path: PathBuf,
    directory: TempDir,
}

impl Running {
    fn child(&mut self) -> &mut Child {
        self.child.as_mut().expect("it has not been taken")
    }

    pub(crate) fn pid(&mut self) -> u32 {
        self.child().id()
    }

    /// Waits until every program is attached.
    #[track_caller]
    pub(crate) fn attached(mut self) -> Self {
        wait_until("the profiler attaches", || {
            let child = self.child();
            if child.try_wait().expect("a child of ours").is_some() {
                let child = self.child.take().expect("it has not been taken");
                panic!("the profiler ended: {:?}", child.wait_with_output());
            }
            // It waits for events after the last program is attached.
            let call = std::fs::read_to_string(format!("/proc/{}/syscall", child.id()));
            !kernel_ids(child.id(), "link_id").is_empty()
                && call.is_ok_and(|call| call.starts_with(&format!("{} ", libc::SYS_poll)))
        });
        self
    }

    /// What was printed so far.
    pub(crate) fn so_far(&self) -> String {
        std::fs::read_to_string(&self.path).unwrap_or_default()
    }

    pub(crate) fn signal(&mut self, signal: libc::c_int) {
        // SAFETY: a child of ours that has not been waited for.
        let sent = unsafe { libc::kill(self.pid().cast_signed(), signal) };
        assert_eq!(sent, 0, "the profiler runs");
    }

    #[track_caller]
    pub(crate) fn end(mut self) -> Ended {
        let child = self.child.take().expect("it has not been taken");
        let output = child.wait_with_output().expect("a child of ours");
        let text = std::fs::read_to_string(&self.path).unwrap_or_default();
        let mut files = BTreeMap::new();
        for entry in self.directory.path().read_dir().expect("a directory of ours") {
            let entry = entry.expect("a file");
            let name = entry.file_name().into_string().expect("text");
            let content = std::fs::read(entry.path()).expect("a file of ours");
            files.insert(name, String::from_utf8_lossy(&content).into_owned());
        }
        Ended { output, text, files }
    }

    /// Interrupts the profiler, as Ctrl-C does, and waits for its end.
    #[track_caller]
    pub(crate) fn interrupt(mut self) -> Ended {
        self.signal(libc::SIGINT);
        self.end()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A profiler that has ended.
pub(crate) struct Ended {
    pub(crate) output: Output,
    /// What it printed.
    pub(crate) text: String,
    /// Everything beside `-o`, by name.
    pub(crate) files: BTreeMap<String, String>,
}

impl Ended {
    #[track_caller]
    pub(crate) fn events(&self) -> Events {
        assert!(!self.text.is_empty(), "it printed nothing: {:?}", self.output);
        Events::parse(&self.text)
    }

    pub(crate) fn code(&self) -> Option<i32> {
        self.output.status.code()
    }

    pub(crate) fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }
}
