//! The profiler in a pid namespace does not count its own calls, and in a time namespace shows the
//! right ages.

use std::{
    os::unix::{fs::symlink, process::CommandExt as _},
    path::Path,
    process::{Command, Output},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use tempfile::TempDir;

use crate::{
    in_flight::{Stuck, own_name},
    report::Report,
    run::{Mode, PROFILER, Stat, wait_until},
    service::{Daemon, Name},
    workload::now,
};

/// The profiler under a unique name, so that a filter by name selects its calls.
struct Named {
    directory: TempDir,
    name: String,
}

impl Named {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        // Other tests run at the same time.
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("own-{}-{number}", std::process::id());
        symlink(PROFILER, directory.path().join(&name)).expect("a link");
        Self { directory, name }
    }

    /// The profiler in a pid namespace.
    fn in_pid_namespace(&self, proc: Proc) -> Command {
        let program = self.directory.path().join(&self.name);
        let mut command = Command::new("unshare");
        match proc {
            Proc::Own => command.args(["-p", "-f", "--mount-proc"]).arg(program),
            Proc::Host => command.args(["-p", "-f"]).arg(program),
            Proc::Hidden => command
                .args([
                    "-m",
                    "-p",
                    "-f",
                    "sh",
                    "-c",
                    "mount -t tmpfs none /proc; exec \"$@\"",
                    "sh",
                ])
                .arg(program),
        };
        command
    }
}

/// The contents of `/proc`.
#[derive(Clone, Copy, Debug)]
enum Proc {
    /// The /proc of the pid namespace.
    Own,
    /// The /proc of the host.
    Host,
    /// Nothing.
    Hidden,
}

/// Many drains make many calls of the profiler itself.
fn reports(output: &Output) -> Vec<Report> {
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout.clone()).expect("text");
    text.lines().map(Report::parse_interval).collect()
}

/// The profiler does not count its own calls, regardless of its process id.
pub(crate) fn own_calls_do_not_count_in_a_pid_namespace(mode: Mode) {
    let named = Named::new();
    let calls = |proc, flags: &[&str]| {
        let mut command = named.in_pid_namespace(proc);
        command.args(["stat", "-a", "-i", "20ms", "-d", "400ms", "--comm", &named.name]);
        command.args(["--format", "json"]).args(mode.flags()).args(flags);
        let reports = reports(&command.output().expect("unshare"));
        assert!(reports.len() > 1, "{proc:?}: {} reports", reports.len());
        reports.iter().flat_map(|report| &report.rows).map(|row| row.calls).sum::<u64>()
    };
    for proc in [Proc::Own, Proc::Host, Proc::Hidden] {
        assert_eq!(calls(proc, &[]), 0, "{proc:?}");
    }
    // With --include-self, the calls are counted.
    assert!(calls(Proc::Own, &["--include-self"]) > 100);
}

/// The daemon does not count its own calls, which each scrape makes.
pub(crate) fn a_daemon_does_not_count_itself_in_a_pid_namespace(mode: Mode) {
    let named = Named::new();
    let count = |flags: &[&str]| {
        let flags = [&["--comm", &named.name], flags].concat();
        let command = named.in_pid_namespace(Proc::Own);
        let daemon = Daemon::start_command(command, mode, "20ms", &flags);
        daemon.metrics();
        let calls: f64 = daemon
            .metrics()
            .iter()
            .filter(|(series, _)| series.starts_with("profiler_syscalls_total{"))
            .map(|(_, calls)| calls)
            .sum();
        // The child is `unshare`, which does not pass signals on.
        let children = format!("/proc/{0}/task/{0}/children", daemon.pid());
        let children = std::fs::read_to_string(children).expect("it runs");
        let pid = children.trim().parse().expect("one child");
        // SAFETY: a process that was started above.
        assert_eq!(unsafe { libc::kill(pid, libc::SIGTERM) }, 0);
        daemon.ended();
        calls
    };
    assert_eq!(count(&[]), 0.0);
    assert!(count(&["--include-self"]) > 10.0);
}

/// If process ids differ from those of the host, the profiler refuses `-p` instead of watching
/// another process.
pub(crate) fn a_process_is_refused_in_a_pid_namespace() {
    let named = Named::new();
    for proc in [Proc::Own, Proc::Host, Proc::Hidden] {
        for args in [&["stat", "--", "sh", "-c", "exit 0"][..], &["stat", "-p", "1"]] {
            let output = named.in_pid_namespace(proc).args(args).output().expect("unshare");
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(4), "{proc:?} {args:?}: {stderr}");
            assert!(stderr.contains("pid namespace"), "{proc:?} {args:?}: {stderr}");
        }
    }
}

/// Without `/proc`, ids are still right.
pub(crate) fn a_process_is_watched_without_proc(mode: Mode) {
    let output = Command::new("unshare")
        .args(["-m", "sh", "-c", "mount -t tmpfs none /proc; exec \"$@\"", "sh", PROFILER])
        .args(["stat", "--format", "json"])
        .args(mode.flags())
        .args(["--", "sh", "-c", "exit 0"])
        .output()
        .expect("unshare");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
}

/// Offsets of `CLOCK_MONOTONIC` and `CLOCK_BOOTTIME` to the clocks of the host, seconds. The kernel
/// refuses times below 0, so a negative offset is bounded by the uptime.
fn offsets() -> [i64; 2] {
    let up = i64::try_from(now() / 1_000_000_000).expect("seconds");
    [864_000, -up / 2]
}

/// The profiler in a time namespace with this offset. `None` if the kernel has no time namespaces
/// (Linux 5.6, `CONFIG_TIME_NS`).
fn in_time_namespace(offset: i64) -> Option<Command> {
    const CLONE_NEWTIME: libc::c_int = 0x80;
    if !Path::new("/proc/self/ns/time_for_children").exists() {
        println!("this kernel has no time namespaces");
        return None;
    }
    let mut command = Command::new(PROFILER);
    let failed = |result: libc::c_int| match result {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    };
    // SAFETY: between fork and exec, calls into the kernel alone, but for the memory of a
    // short text.
    unsafe {
        command.pre_exec(move || {
            failed(libc::unshare(CLONE_NEWTIME))?;
            std::fs::write(
                "/proc/self/timens_offsets",
                format!("monotonic {offset} 0\nboottime {offset} 0\n"),
            )?;
            // An exec enters the namespace only from Linux 6.1 on.
            let path = c"/proc/self/ns/time_for_children";
            let namespace = libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC);
            failed(libc::setns(namespace, CLONE_NEWTIME))
        });
    }
    Some(command)
}

/// The age of a call in flight agrees with the workload's clock, although the profiler's clock
/// differs.
pub(crate) fn ages_are_right_in_a_time_namespace(mode: Mode) {
    for offset in offsets() {
        let Some(command) = in_time_namespace(offset) else { return };
        let mut stuck = Stuck::start(1);
        let pid = stuck.pid().to_string();
        let running = Stat::of(command, mode).args(["-i", "100ms", "-p", &pid]).start().attached();
        let namespace = |pid| std::fs::read_link(format!("/proc/{pid}/ns/time")).expect("it runs");
        assert_ne!(namespace(running.pid()), namespace(std::process::id()));
        let holding = stuck.enter();
        for wait in [Duration::ZERO, Duration::from_millis(300)] {
            std::thread::sleep(wait);
            let from = now();
            let before = running.reports_so_far().len();
            wait_until("two reports are printed", || running.reports_so_far().len() >= before + 2);
            let report = running.reports_so_far().swap_remove(before + 1);
            let until = now();
            let call = &report.in_flight[0];
            assert_eq!((call.syscall.as_str(), call.comm.as_str()), ("creat", own_name()));
            assert_is_about(call.age_ns, from - holding.after_ns, until - holding.before_ns);
        }
        stuck.let_go();
        running.end();
    }
}

/// The ages of calls that entered before the attach are right too, and so is the daemon's gauge.
pub(crate) fn a_daemon_s_ages_are_right_in_a_time_namespace(mode: Mode) {
    for offset in offsets() {
        let Some(command) = in_time_namespace(offset) else { return };
        let name = Name::new();
        let mut stuck = Stuck::named(0, &[&name.arg()]);
        let daemon = Daemon::start_command(command, mode, "100ms", &name.filter());
        let holding = stuck.enter();
        let from = now();
        let metrics = daemon.metrics();
        let until = now();
        let gauge = "profiler_syscall_in_flight_oldest_seconds\
                     {abi=\"x86_64\",syscall=\"creat\",kind=\"works\"}";
        let age = (metrics[gauge] * 1e9) as u64;
        assert_is_about(age, from - holding.after_ns, until - holding.before_ns);
        stuck.let_go();
        daemon.end();
    }
}

/// Compares two ages. Two clocks that are read in succession differ by about a microsecond. The
/// tolerance is larger for a busy machine.
#[track_caller]
fn assert_is_about(age_ns: u64, least: u64, most: u64) {
    const APART: u64 = 1_000_000;
    let bounds = least.saturating_sub(APART)..=most + APART;
    assert!(bounds.contains(&age_ns), "{age_ns} is not in {bounds:?}");
}
