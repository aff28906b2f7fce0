//! A signal during the attach ends each command at once, and leaves nothing in the kernel.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader, Read as _},
    os::unix::{net::UnixDatagram, process::ExitStatusExt as _},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{
    detach::assert_gone,
    run::{LINKS, Mode, PROFILER, kernel_ids, profiler_command, wait_until},
};

/// The maximum time from a signal to the end of a command that has a CPU for itself. It usually takes
/// some milliseconds. If maps of a gigabyte are being allocated or freed, it takes up to 0.4 s,
/// because the kernel does neither in parts.
const IN_TIME: Duration = Duration::from_secs(1);

/// How many threads share a CPU, at least 1. A command that needs 0.4 s of a CPU takes so many times
/// as long.
fn threads_per_cpu() -> u32 {
    let stat = fs::read_to_string("/proc/stat").expect("/proc");
    let running = stat.lines().find_map(|line| line.strip_prefix("procs_running "));
    let running: u32 = running.and_then(|n| n.parse().ok()).expect("a number");
    let cpus = std::thread::available_parallelism().expect("CPUs").get();
    running.div_ceil(u32::try_from(cpus).expect("few CPUs")).max(1)
}

/// Flags for tables whose allocation dominates the attach, if they are arrays: 256 MiB of records
/// and 1 GiB of figures.
const LARGE: [&str; 4] = ["--max-threads", "1048576", "--max-memory", "1024"];

/// The moments of the signal: a kind of kernel objects, and the number that the command has.
const MOMENTS: [(&str, usize); 5] =
    [("map_id", 1), ("map_id", 8), ("map_id", 16), ("prog_id", 1), ("prog_id", 6)];

/// How a command ended at a signal.
struct Ended {
    status: ExitStatus,
    took: Duration,
    /// The maximum that is allowed for `took`.
    limit: Duration,
    stderr: String,
    /// The ids of its kernel objects when it got the signal.
    held: BTreeMap<&'static str, Vec<u32>>,
}

/// Runs a command, and sends a signal once the command has this many objects of a kind. `None` if
/// the command ended before that was seen.
fn interrupt(
    mut command: Command,
    args: &[&str],
    (kind, count): (&str, usize),
    signal: Signal,
) -> Option<Ended> {
    command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the profiler");
    let mut is_over = false;
    wait_until("it attaches", || {
        is_over = child.try_wait().expect("a child of ours").is_some();
        is_over || kernel_ids(profiler(&child), kind).len() >= count
    });
    if is_over {
        return None;
    }
    let profiler = profiler(&child);
    let held = ["prog_id", "map_id", "link_id"].map(|kind| (kind, kernel_ids(profiler, kind)));
    let before = threads_per_cpu();
    let asked = Instant::now();
    kill(Pid::from_raw(profiler.cast_signed()), signal).expect("it runs");
    let status = child.wait().expect("a child of ours");
    let took = asked.elapsed();
    let limit = IN_TIME * before.max(threads_per_cpu());
    let mut stderr = String::new();
    child.stderr.take().expect("a pipe").read_to_string(&mut stderr).expect("text");
    Some(Ended { status, took, limit, stderr, held: held.into() })
}

/// The process id of the profiler: that of the started process, or of its child if that is
/// `unshare`.
fn profiler(child: &Child) -> u32 {
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", child.id()));
    children.ok().and_then(|pids| pids.trim().parse().ok()).unwrap_or(child.id())
}

/// Interrupts a command at each of [`MOMENTS`]. Returns the ends for which `is_early` says that the
/// command was not attached yet.
fn interrupt_at_each_moment(
    command: impl Fn() -> Command,
    args: &[&str],
    is_early: impl Fn(&Ended) -> bool,
) -> Vec<Ended> {
    let signals = [Signal::SIGTERM, Signal::SIGINT].into_iter().cycle();
    let ended = MOMENTS.into_iter().zip(signals).filter_map(|(moment, signal)| {
        let ended = interrupt(command(), args, moment, signal)?;
        let Ended { took, limit, held, stderr, .. } = &ended;
        assert!(
            took < limit,
            "{args:?} at {moment:?}: {took:?} after {signal}, limit {limit:?}: {stderr}"
        );
        assert_gone(held);
        Some(ended)
    });
    let early: Vec<_> = ended.filter(is_early).collect();
    // Some moments are missed, because creating maps can take less time than one check.
    assert!(early.len() > 1, "{args:?}: {} of {} moments", early.len(), MOMENTS.len());
    early
}

fn with_large_tables<'a>(args: &[&'a str], mode: Mode) -> Vec<&'a str> {
    [args, mode.flags(), &LARGE].concat()
}

/// `stat`, `top` and `doctor` end by the signal, like a program that does not handle it.
pub(crate) fn a_command_ends_while_it_attaches(mode: Mode) {
    ends_by_the_signal(&with_large_tables(&["stat", "-a"], mode));
    ends_by_the_signal(&with_large_tables(&["top", "-b"], mode));
}

/// The same for `doctor`.
pub(crate) fn doctor_ends_while_it_attaches() {
    ends_by_the_signal(&["doctor"]);
}

fn ends_by_the_signal(args: &[&str]) {
    let is_early = |ended: &Ended| ended.status.signal().is_some();
    for ended in interrupt_at_each_moment(profiler_command, args, is_early) {
        assert_eq!(ended.stderr, "", "{args:?}");
    }
}

/// The first process of a pid namespace, as in a container, ends too, although it ignores signals
/// by default.
pub(crate) fn a_first_process_ends_while_it_attaches() {
    let unshare = || {
        let mut command = Command::new("unshare");
        command.args(["--pid", "--fork", "--mount-proc", PROFILER]);
        command
    };
    let args = with_large_tables(&["stat", "-a"], Mode::Arrays);
    let is_early = |ended: &Ended| !ended.status.success();
    for ended in interrupt_at_each_moment(unshare, &args, is_early) {
        let code = ended.status.code();
        let codes = [Signal::SIGTERM, Signal::SIGINT].map(|signal| Some(128 + signal as i32));
        assert!(codes.contains(&code), "{}: {}", ended.status, ended.stderr);
    }
}

/// The daemon ends with success and notifies its service manager, as at any other time.
pub(crate) fn a_daemon_ends_while_it_attaches(mode: Mode) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("notify");
    let manager = UnixDatagram::bind(&path).expect("a socket");
    manager.set_nonblocking(true).expect("a socket of ours");
    let told = || {
        let mut text = [0; 512];
        let length = manager.recv(&mut text).ok()?;
        Some(String::from_utf8_lossy(&text[..length]).into_owned())
    };
    let command = || {
        let mut command = profiler_command();
        command.env("NOTIFY_SOCKET", &path).env_remove("JOURNAL_STREAM");
        command
    };
    let args = with_large_tables(&["daemon", "--listen", "127.0.0.1:0"], mode);
    interrupt_at_each_moment(command, &args, |ended| {
        let messages: Vec<_> = std::iter::from_fn(told).collect();
        assert!(messages.iter().any(|text| text.starts_with("STOPPING=1")), "{messages:?}");
        assert!(ended.status.success(), "{}: {}", ended.status, ended.stderr);
        let early = ended.stderr.contains("before the programs were attached");
        assert!(early || messages[0].starts_with("READY=1"), "{messages:?}");
        early
    });
}

/// A reload request during the attach neither ends the daemon nor makes it fail. A signal handler
/// would make it fail, because the verifier stops at a signal.
pub(crate) fn a_daemon_is_reloaded_after_it_has_attached(mode: Mode) {
    let mut command = profiler_command();
    command.args(["daemon", "--listen", "127.0.0.1:0"]).args(mode.flags());
    command.stdout(Stdio::null()).stderr(Stdio::piped()).env_remove("JOURNAL_STREAM");
    let mut child = command.spawn().expect("the profiler");
    let pid = Pid::from_raw(child.id().cast_signed());
    // Before that, the default action of the signal would end the daemon.
    wait_until("it attaches", || !kernel_ids(child.id(), "prog_id").is_empty());
    wait_until("it is at work", || {
        kill(pid, Signal::SIGHUP).expect("it runs");
        kernel_ids(child.id(), "link_id").len() >= LINKS
    });
    let mut log = BufReader::new(child.stderr.take().expect("a pipe")).lines();
    let reloaded = log.any(|line| line.expect("text").contains("configuration reloaded"));
    kill(pid, Signal::SIGTERM).expect("it runs");
    let status = child.wait().expect("a child of ours");
    assert!(reloaded && status.success(), "{status}");
}
