//! The programs that are measured. Each is this test's own executable, run as
//! `kernel workload NAME [key=value]...`; each prints a [`Statement`] of what it did.

mod counts;
mod lives;
mod names;
mod plan;
mod raw;
mod signals;
mod sleeps;
mod statement;
mod tables;

use std::{
    collections::HashMap,
    io::{Read as _, Write as _},
};

pub(crate) use names::RENAMED;
pub(crate) use statement::{Calls, Made, Process, Statement, Timing};

/// The argument that makes this executable a workload.
pub(crate) const WORKLOAD: &str = "workload";

/// Arguments of a workload.
struct Params(HashMap<String, String>);

impl Params {
    fn number(&self, key: &str) -> u64 {
        self.0.get(key).map_or(0, |value| value.parse().expect("a number"))
    }

    fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// With `hold=1`: says that it is ready, and waits for its input to end.
    fn hold(&self) {
        if self.has("hold") {
            println!("ready");
            wait_for_end_of_input();
        }
    }
}

/// What the workload prints, on a line of its own, when it is ready to be measured.
pub(crate) const READY: &str = "ready";

fn wait_for_end_of_input() {
    std::io::stdin().read_to_end(&mut Vec::new()).expect("an input");
}

/// Runs a workload, and ends.
pub(crate) fn run(mut args: impl Iterator<Item = String>) -> ! {
    let name = args.next().expect("a workload's name");
    let split = |arg: String| arg.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned()));
    let params = Params(args.filter_map(split).collect());
    let statement = match name.as_str() {
        "counts" => counts::run(&params),
        "burn" => counts::burn(&params),
        "sleeps" => sleeps::run(),
        "forks" => lives::forks(&params),
        "exec-by-thread" => lives::exec_by_thread(&params),
        "killed" => lives::killed(&params),
        "rename" => names::rename(),
        "named-threads" => names::threads(&params),
        "renamed-by-thread" => names::renamed_by_thread(),
        "handled" => signals::handled(&params),
        "restarted" => signals::restarted(&params),
        "stopped" => signals::stopped(),
        "denied" => signals::denied(&params),
        "abis" => tables::abis(&params),
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

/// Forks; the child runs `child` and ends, with 0 if that is true. Only for
/// processes of one thread, or children that allocate nothing.
fn fork(child: impl FnOnce() -> bool) -> u32 {
    // SAFETY: see above.
    match unsafe { libc::fork() } {
        0 => raw::end(if child() { 0 } else { 1 }),
        pid => u32::try_from(pid).expect("a fork"),
    }
}

/// Waits for a child, which has to end with 0.
fn reap(pid: u32) {
    let status = wait(pid);
    assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "{pid}: {status:#x}");
}

/// Waits for a child to end, and gives its status.
fn wait(pid: u32) -> i32 {
    let mut status = 0;
    // SAFETY: writes one integer.
    let waited = unsafe { libc::waitpid(pid.cast_signed(), &raw mut status, 0) };
    assert_eq!(waited, pid.cast_signed(), "a child of ours");
    status
}

/// Waits until a thread, asleep, is in a call: the kernel shows its number.
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
