//! How a run ends, and with which exit code.

use std::{
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    process::{Command, Stdio},
};

use crate::run::{Ended, Mode, PROFILER, Running, Stat, profiler_command, wait_until};

fn shell(script: &str) -> Stat {
    Stat::new(Mode::Main).args(["--", "sh", "-c", script])
}

fn code_of(script: &str) -> Option<i32> {
    let ended = shell(script).start().end();
    // The calls of the command are counted, regardless of how it ended.
    ended.report().row("x86_64", "execve");
    ended.code()
}

/// Tests exit codes with a meaning in the profiler or in shells, and the bounds. A unit test of
/// `stat/command.rs` tests all exit codes.
pub(crate) fn a_command_s_exit_code_is_passed_on() {
    for code in (0..=11).chain([42, 125, 126, 127, 128, 129, 254, 255]) {
        assert_eq!(code_of(&format!("exit {code}")), Some(code));
    }
}

pub(crate) fn a_command_s_death_by_signal_is_passed_on() {
    let deaths = [("HUP", 1), ("INT", 2), ("KILL", 9), ("SEGV", 11), ("PIPE", 13), ("TERM", 15)];
    for (name, signal) in deaths {
        assert_eq!(code_of(&format!("kill -{name} $$")), Some(128 + signal), "{name}");
    }
}

/// A command that prints when it is ready, and then waits.
fn waiting(script: &str) -> Running {
    let mut running = shell(script).start();
    assert_eq!(running.line(), "ready");
    running
}

fn signalled(script: &str, signal: libc::c_int) -> Ended {
    let running = waiting(script);
    running.signal(signal);
    running.end()
}

/// The command gets the signal. When the command ends, the report is printed.
pub(crate) fn a_signal_reaches_the_command() {
    let signals = [
        ("INT", libc::SIGINT),
        ("TERM", libc::SIGTERM),
        ("HUP", libc::SIGHUP),
        ("QUIT", libc::SIGQUIT),
    ];
    for (name, signal) in signals {
        let script = format!("trap 'exit 42' {name}; echo ready; while :; do sleep 0.01; done");
        let handled = signalled(&script, signal);
        assert_eq!(handled.code(), Some(42), "{name}");
        assert!(handled.report().row("x86_64", "execve").calls > 0);
        // With a program that does not change signal handlers, as shells do.
        let died = signalled("echo ready; exec sleep 60", signal);
        assert_eq!(died.code(), Some(128 + signal), "{name}");
        died.report();
    }
}

/// A second interrupt prints the report, and the command continues.
pub(crate) fn a_second_interrupt_ends_the_run() {
    let script = "trap '' INT; echo $$; while :; do sleep 0.01; done";
    let mut running = shell(script).start();
    let command: i32 = running.line().parse().expect("a pid");
    running.signal(libc::SIGINT);
    // Two signals at the same time would count as one.
    std::thread::sleep(std::time::Duration::from_millis(300));
    running.signal(libc::SIGINT);
    let ended = running.end_beside(command);
    assert_eq!(ended.code(), Some(0));
    assert!(ended.report().row("x86_64", "execve").calls > 0);
}

/// Without a command, a signal ends the run, and the report is printed.
pub(crate) fn a_signal_ends_a_run_without_a_command() {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        let running = Stat::new(Mode::Main).args(["--all"]).start().attached();
        running.signal(signal);
        let ended = running.end();
        assert_eq!(ended.code(), Some(0), "{signal}: {:?}", ended.output);
        ended.report();
    }
}

/// The run ends before its duration is over, and the report is printed.
pub(crate) fn the_end_of_the_watched_process_ends_the_run() {
    let mut watched = Command::new("sh")
        .args(["-c", "read line; true"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("a shell");
    let running = Stat::new(Mode::Main)
        .args(["--duration", "60s", "--pid", &watched.id().to_string()])
        .start()
        .attached();
    drop(watched.stdin.take());
    assert!(watched.wait().expect("a child of ours").code().is_some());
    let ended = running.end();
    assert_eq!(ended.code(), Some(0));
    let report = ended.report();
    assert!(report.window_ns < 60_000_000_000);
    assert_eq!(report.row("x86_64", "exit_group").never_returned, 1);
}

/// The run also ends if the process is a zombie, which makes no further calls.
pub(crate) fn an_unreaped_end_of_the_watched_process_ends_the_run() {
    let mut watched = Command::new("sh")
        .args(["-c", "read line"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("a shell");
    let running = Stat::new(Mode::Main)
        .args(["--duration", "60s", "--pid", &watched.id().to_string()])
        .start()
        .attached();
    drop(watched.stdin.take());
    let ended = running.end();
    watched.wait().expect("a child of ours");
    assert!(ended.report().window_ns < 60_000_000_000, "it went on beside a zombie");
}

pub(crate) fn a_duration_ends_the_run() {
    let ended = Stat::new(Mode::Main).args(["--all", "--duration", "300ms"]).start().end();
    assert_eq!(ended.code(), Some(0));
    assert!(ended.report().window_ns >= 300_000_000);
}

pub(crate) fn a_process_that_is_not_there() {
    // Above PID_MAX_LIMIT.
    let ended = Stat::new(Mode::Main).args(["--pid", "999999999"]).start().end();
    assert_eq!(ended.code(), Some(6));
    assert!(ended.stderr().contains("there is no process 999999999"), "{}", ended.stderr());
}

pub(crate) fn a_command_that_is_not_there() {
    for command in ["no-such-command", "/no/such/command"] {
        let ended = Stat::new(Mode::Main).args(["--", command]).start().end();
        assert_eq!(ended.code(), Some(127));
        assert!(ended.stderr().contains(command), "{}", ended.stderr());
    }
}

pub(crate) fn a_command_that_cannot_be_run() {
    let directory = tempfile::tempdir().expect("a directory");
    let text = directory.path().join("text");
    std::fs::write(&text, "no program").expect("a file");
    for command in [text.as_path(), directory.path()] {
        let ended = Stat::new(Mode::Main).args(["--".as_ref(), command.as_os_str()]).start().end();
        assert_eq!(ended.code(), Some(126), "{}", ended.stderr());
        assert!(ended.stderr().contains("cannot run"), "{}", ended.stderr());
        assert_eq!(ended.output.status.signal(), None);
    }
}

/// Starts the profiler with these signals ignored, as `nohup` and some supervisors do.
fn ignoring(signals: &'static [libc::c_int], args: &[&str]) -> Command {
    let mut command = profiler_command();
    command.args(args).stdout(Stdio::null()).stderr(Stdio::null());
    // SAFETY: signal(2) is safe between fork and exec.
    unsafe {
        command.pre_exec(move || {
            for &signal in signals {
                libc::signal(signal, libc::SIG_IGN);
            }
            Ok(())
        })
    };
    command
}

pub(crate) fn the_command_s_end_is_seen_though_sigchld_was_ignored() {
    let args = ["stat", "--", "sh", "-c", "exit 7"];
    let mut running = ignoring(&[libc::SIGCHLD], &args).spawn().expect("the profiler");
    wait_until("it ends", || running.try_wait().expect("a child of ours").is_some());
    assert_eq!(running.wait().expect("a child of ours").code(), Some(7));
}

pub(crate) fn a_signal_that_was_ignored_stays_so() {
    let args = ["stat", "--all", "--duration", "1s"];
    let mut running = ignoring(&[libc::SIGHUP], &args).spawn().expect("the profiler");
    // The time of the signal does not matter.
    let pid = running.id().cast_signed();
    for _ in 0..8 {
        std::thread::sleep(std::time::Duration::from_millis(100));
        // The run may already have ended, if this thread had to wait for a CPU.
        if running.try_wait().expect("a child of ours").is_some() {
            break;
        }
        // SAFETY: a child of this process that has not been reaped.
        assert_eq!(unsafe { libc::kill(pid, libc::SIGHUP) }, 0);
    }
    assert_eq!(running.wait().expect("a child of ours").code(), Some(0), "it ended by SIGHUP");
}

/// If file descriptors run out at any point, the message names the limit, and blames neither a
/// missing privilege nor the verifier.
pub(crate) fn too_few_open_files_are_told(mode: Mode) {
    for limit in (8..128).step_by(7) {
        let script = format!("ulimit -n {limit} && exec \"$@\"");
        let output = Command::new("sh")
            .args(["-c", &script, "sh", PROFILER, "stat", "-d", "10ms"])
            .args(mode.flags())
            .output()
            .expect("a shell");
        let stderr = String::from_utf8_lossy(&output.stderr);
        match output.status.code() {
            Some(0) => {}
            Some(1) => assert!(stderr.contains("ulimit -n"), "{limit}: {stderr}"),
            code => panic!("{limit}: {code:?} {stderr}"),
        }
    }
}

/// `-p` refuses the id of a thread, and names its process.
pub(crate) fn a_thread_is_no_process() {
    let (send, id) = std::sync::mpsc::channel();
    let (end, wait) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::spawn(move || {
        send.send(nix::unistd::gettid()).expect("it waits");
        let _ = wait.recv();
    });
    let id = id.recv().expect("an id").to_string();
    for command in [&["stat"][..], &["top", "-b"]] {
        let output = Command::new(PROFILER).args(command).args(["-p", &id]).output();
        let output = output.expect("the profiler");
        let stderr = String::from_utf8_lossy(&output.stderr);
        let own = format!("{id} is not a process, but a thread of process {}", std::process::id());
        assert!(stderr.contains(&own), "{stderr}");
        assert_eq!(output.status.code(), Some(6));
    }
    drop(end);
    thread.join().expect("no panic");
}
