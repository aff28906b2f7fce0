//! The programs that are measured. Each is this test's own executable, run as
//! `kernel workload NAME [key=value]...`; each prints a [`Statement`] of what it did.

mod births;
mod blocked;
mod callers;
mod cgroups;
mod counts;
mod crowd;
mod deaths;
mod execs;
mod failing;
mod filtered;
mod groups;
mod held;
mod identity;
mod last_words;
mod names;
mod plan;
mod preempted;
mod ptrace;
mod raw;
mod received;
mod rings;
mod rings_multishot;
mod rings_polled;
mod rings_zero_copy;
mod room;
mod seccomp;
mod seccomp_before;
mod signals;
mod sleeps;
mod statement;
mod stops;
mod tables;
mod traced;
mod turns;
mod uprobes;

use std::{
    collections::HashMap,
    ffi::CString,
    io::{Read as _, Write as _},
};

use serde::{Serialize, de::DeserializeOwned};

pub(crate) use blocked::{Blocked, FAIL, FAILING, OPENS, SLEEP, SLEEP_SECONDS, Waiting};
pub(crate) use cgroups::container_id;
pub(crate) use crowd::IDLE;
pub(crate) use filtered::WANTED;
pub(crate) use groups::USERS;
pub(crate) use held::Holding;
pub(crate) use names::RENAMED;
use plan::Plan;
pub(crate) use seccomp::kernel_release;
pub(crate) use sleeps::now;
pub(crate) use statement::{Busy, Calls, Made, Operations, Preempted, Process, Statement, Timing};
pub(crate) use traced::{MESSAGES, TEXT};

/// The argument that makes this executable a workload.
pub(crate) const WORKLOAD: &str = "workload";

/// Arguments of a workload.
struct Params(HashMap<String, String>);

impl Params {
    fn number(&self, key: &str) -> u64 {
        self.0.get(key).map_or(0, |value| value.parse().expect("a number"))
    }

    /// `calls` calls of the first kind, and with `alike=1` as many of each other kind.
    fn plan(&self) -> Plan {
        Plan { calls: self.number("calls"), alike: self.has("alike") }
    }

    fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// With `hold=1`, prints that it is ready and waits for the end of its input.
    fn hold(&self) {
        if self.has("hold") {
            println!("ready");
            wait_for_end_of_input();
        }
    }
}

/// The line that a workload prints when it is ready to be measured.
pub(crate) const READY: &str = "ready";

fn wait_for_end_of_input() {
    std::io::stdin().read_to_end(&mut Vec::new()).expect("an input");
}

/// Runs a workload, and ends the process. With `child=1`, the workload runs in a child of a process
/// that only waits. With `name=NAME`, the process and so its threads and children have that name.
/// With `uid=N`, it runs as that user from the start.
pub(crate) fn run(mut args: impl Iterator<Item = String>) -> ! {
    let name = args.next().expect("a workload's name");
    let split = |arg: String| arg.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned()));
    let params = Params(args.filter_map(split).collect());
    if params.has("uid") {
        crowd::become_user(params.number("uid"));
    }
    if let Some(name) = params.0.get("name") {
        names::set_own_name(&CString::new(name.as_str()).expect("no NUL"));
    }
    if params.has("child") {
        let pid = raw::syscall(libc::SYS_clone3, raw::CloneArgs::fork().of_call());
        if pid != 0 {
            reap(u32::try_from(pid).expect("a child"));
            raw::end(0);
        }
    }
    let statement = match name.as_str() {
        "counts" => counts::run(&params),
        "rings" => rings::run(&params),
        "rings-multishot" => rings_multishot::run(&params),
        "rings-zero-copy" => rings_zero_copy::run(&params),
        "rings-polled" => rings_polled::run(&params),
        "rings-children" => rings::children(&params),
        "blocked" => blocked::run(&params),
        "burn" => counts::burn(&params),
        "crowd" => crowd::run(&params),
        "held" => held::run(&params),
        "sleeps" => sleeps::run(),
        "periodic" => sleeps::periodic(&params),
        "paces" => sleeps::paces(&params),
        "spread" => sleeps::spread(&params),
        "preempted" => preempted::run(&params),
        "turns" => turns::run(&params),
        "forks" => births::forks(&params),
        "exec-by-thread" => execs::exec_by_thread(&params),
        "execs" => execs::execs(&params),
        "execs-by-int80" => execs::execs_by_int80(&params),
        "fail-late" => execs::fail_late(&params),
        "killed" => deaths::killed(&params),
        "exit-group" => deaths::exit_group(&params),
        "process-storm" => births::process_storm(&params),
        "thread-storm" => births::thread_storm(&params),
        "held-vfork" => births::held_vfork(),
        "reused-pid" => identity::reused_pid(&params),
        "reused-tid" => identity::reused_tid(&params),
        "clone-vm" => identity::clone_vm(&params),
        "pid-namespace" => identity::pid_namespace(),
        "uprobe-at-return" => uprobes::at_return(&params),
        "uprobe-at-entry" => uprobes::at_entry(&params),
        "uretprobe-called" => uprobes::called(&params),
        "ptrace-emulated" => ptrace::emulated(&params),
        "ptrace-answered-in-32-bits" => ptrace::answered_in_32_bits(&params),
        "ptrace-killed-at-entry" => ptrace::killed_at_entry(&params),
        "ptrace-skipped-for-seccomp" => ptrace::skipped_for_seccomp(&params),
        way if way.starts_with("ptrace-") => ptrace::traced(way, &params),
        "saturate" => counts::saturate(&params),
        "one-of-each" => room::one_of_each(&params),
        "many" => births::many(&params),
        "end" => raw::end(0),
        "rename" => names::rename(),
        "grouped-threads" => groups::threads(&params),
        "users" => groups::users(&params),
        "named-threads" => names::threads(&params),
        "renamed-by-thread" => names::renamed_by_thread(),
        "renamed-by-thread-alone" => names::renamed_by_a_thread_alone(&params),
        "handled" => signals::handled(&params),
        "restarted" => signals::restarted(&params),
        "stopped" => signals::stopped(),
        "denied" => seccomp::denied(&params),
        "stopped-before" => stops::stopped(&params),
        "supervised" => stops::supervised(),
        "killed-before" => seccomp_before::killed(&params),
        "denied-before" => seccomp_before::denied(&params),
        "received" => received::run(),
        "seccomp-trap" => seccomp::trap(&params),
        "seccomp-trace" => seccomp::trace(&params),
        "seccomp-kill" => seccomp::kill(&params),
        "seccomp-user-notification" => seccomp::user_notification(&params),
        "in-waits" => signals::in_waits(&params),
        "short-cgroups" => cgroups::short(&params),
        "migrated" => filtered::migrated(&params),
        "migrated-thread" => filtered::migrated_thread(&params),
        "renamed-by-turns" => filtered::renamed_by_turns(&params),
        "execs-by-name" => filtered::execs_by_name(&params),
        "execs-of-threads-by-name" => filtered::execs_of_threads_by_name(&params),
        "some" => filtered::some(&params),
        "callers" => callers::run(&params),
        "callers-sleep" => callers::sleep(&params),
        "failing" => failing::targets(&params),
        "failing-many" => failing::many(&params),
        "refused" => failing::refused(&params),
        "known" => traced::known(&params),
        "messages" => traced::messages(),
        "unseen" => traced::unseen(&params),
        "numbered" => traced::numbered(&params),
        "last-words" => last_words::run(&params),
        "told" => traced::told(),
        "both-tables" => traced::both_tables(),
        "abis" => tables::abis(&params),
        "results-like-errnos" => tables::results_like_errnos(&params),
        "bogus" => tables::bogus(&params),
        other => panic!("there is no workload {other}"),
    };
    let mut text = serde_json::to_vec(&statement).expect("plain data");
    text.push(b'\n');
    std::io::stdout().write_all(&text).expect("an output");
    raw::end(0)
}

/// This process's id.
fn own_pid() -> u32 {
    std::process::id()
}

/// Forks. The child runs `child` and exits, with 0 if it returned true. Use it only in a process of
/// one thread, or for a child that does not allocate.
fn fork(child: impl FnOnce() -> bool) -> u32 {
    // SAFETY: see above.
    match unsafe { libc::fork() } {
        0 => raw::end(if child() { 0 } else { 1 }),
        pid => u32::try_from(pid).expect("a fork"),
    }
}

/// A child that sends its result through a pipe.
struct Started {
    pid: u32,
    results: std::io::PipeReader,
}

impl Started {
    /// Waits until the child has ended with 0, and returns its result.
    fn found_out<T: DeserializeOwned>(mut self) -> T {
        let mut text = String::new();
        self.results.read_to_string(&mut text).expect("a child of ours");
        reap(self.pid);
        serde_json::from_str(&text).expect("what the child wrote")
    }
}

/// Starts a child that sends its result through a pipe. Use it only in a process of one thread.
fn start_process<T: Serialize>(find_out: impl FnOnce() -> T) -> Started {
    let (results, to) = std::io::pipe().expect("a pipe");
    let pid = fork(|| serde_json::to_writer(&to, &find_out()).is_ok());
    Started { pid, results }
}

/// Runs a function in a child, and returns its result.
fn in_a_process<T: Serialize + DeserializeOwned>(find_out: impl FnOnce() -> T) -> T {
    start_process(find_out).found_out()
}

/// Waits for a child, which must end with 0.
fn reap(pid: u32) {
    let status = wait(pid);
    assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "{pid}: {status:#x}");
}

/// Waits for a child to end, and returns its status.
fn wait(pid: u32) -> i32 {
    let mut status = 0;
    // SAFETY: writes one integer.
    let waited = unsafe { libc::waitpid(pid.cast_signed(), &raw mut status, 0) };
    assert_eq!(waited, pid.cast_signed(), "a child of ours");
    status
}

/// Waits until a thread sleeps in a call, whose number /proc shows.
fn wait_until_in_call(pid: u32, tid: u32, number: libc::c_long) {
    let path = format!("/proc/{pid}/task/{tid}/syscall");
    let start = format!("{number} ");
    while !std::fs::read_to_string(&path).expect("a thread of ours").starts_with(&start) {
        std::thread::yield_now();
    }
}

/// The running thread's id.
fn own_tid() -> u32 {
    // SAFETY: always safe to call.
    unsafe { libc::gettid() }.cast_unsigned()
}
