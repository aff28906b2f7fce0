//! Output without a reader, and output that cannot be written.

use std::{
    fs::File,
    io::{Read as _, pipe},
    os::fd::AsFd as _,
    process::{Child, Command, Stdio},
    time::Duration,
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::run::{PROFILER, kernel_ids, profiler_command, wait_until};

/// Commands that print forever, with a short interval or an interval of an hour.
const ENDLESS: [&[&str]; 6] = [
    &["stat", "--all", "--interval", "50ms"],
    &["stat", "--all", "--interval", "50ms", "--format", "json"],
    &["stat", "--all", "--interval", "1h"],
    &["stat", "--all"],
    &["top", "--batch", "--interval", "50ms"],
    &["top", "--batch", "--interval", "1h"],
];

fn started(args: &[&str], stdout: impl Into<Stdio>, stderr: impl Into<Stdio>) -> Child {
    let mut command = profiler_command();
    command.args(args).stdin(Stdio::null()).stdout(stdout).stderr(stderr);
    command.spawn().expect("the profiler")
}

fn attached(child: &Child) -> bool {
    !kernel_ids(child.id(), "link_id").is_empty()
}

#[track_caller]
fn code(mut child: Child) -> Option<i32> {
    wait_until("it ends", || child.try_wait().expect("a child of ours").is_some());
    child.wait().expect("a child of ours").code()
}

fn full() -> File {
    File::options().write(true).open("/dev/full").expect("every host has it")
}

/// A run ends when the reader is gone, even if nothing is printed for an hour.
pub(crate) fn a_run_ends_when_nobody_reads_it() {
    for args in ENDLESS {
        let (mut reader, writer) = pipe().expect("a pipe");
        let mut child = started(args, writer, Stdio::piped());
        wait_until("it attaches", || attached(&child));
        if args.contains(&"50ms") {
            reader.read_exact(&mut [0; 100]).expect("output");
        }
        drop(reader);
        let mut stderr = child.stderr.take().expect("a pipe");
        assert_eq!(code(child), Some(0), "{args:?}");
        let mut message = String::new();
        stderr.read_to_string(&mut message).expect("text");
        assert_eq!(message, "", "{args:?}");
    }
}

/// The report goes to standard error, whose reader closes its end. The command continues.
pub(crate) fn a_command_outlives_the_reader_of_the_report() {
    for interval in ["50ms", "1h"] {
        let (reader, writer) = pipe().expect("a pipe");
        let script = "read line; exit 7";
        let args = ["stat", "--interval", interval, "--", "sh", "-c", script];
        let mut command = profiler_command();
        let mut child =
            command.args(args).stdin(Stdio::piped()).stderr(writer).spawn().expect("the profiler");
        drop(command);
        wait_until("it attaches", || attached(&child));
        drop(reader);
        wait_until("it detaches", || !attached(&child));
        assert!(child.try_wait().expect("a child of ours").is_none(), "the command goes on");
        drop(child.stdin.take());
        assert_eq!(code(child), Some(7));
    }
}

pub(crate) fn a_report_that_cannot_be_written_is_an_error_of_its_own() {
    let cases: [&[&str]; 4] = [
        &["stat", "--all", "--duration", "100ms"],
        &["stat", "--all", "--interval", "50ms"],
        &["top", "--batch", "--interval", "50ms"],
        &["top", "--batch", "--interval", "50ms", "--iterations", "1"],
    ];
    for args in cases {
        assert_eq!(code(started(args, full(), Stdio::null())), Some(9), "{args:?}");
        // The error message cannot be written either.
        assert_eq!(code(started(args, full(), full())), Some(9), "{args:?}");
        let closed = Command::new("sh")
            .args(["-c", r#"exec "$0" "$@" >&-"#, PROFILER])
            .args(args)
            .stderr(Stdio::null())
            .status()
            .expect("a shell");
        assert_eq!(closed.code(), Some(9), "{args:?} >&-");
    }
}

pub(crate) fn a_command_outlives_a_report_that_cannot_be_written() {
    let directory = tempfile::tempdir().expect("a directory");
    let marker = directory.path().join("ended");
    let script = format!("sleep 0.5; echo >{}; exit 7", marker.display());
    let args = ["stat", "--interval", "50ms", "--", "sh", "-c", &script];
    assert_eq!(code(started(&args, Stdio::null(), full())), Some(9));
    assert!(marker.exists(), "the command was left behind");
}

/// With a full pipe and a reader that does not read, a signal ends the run.
pub(crate) fn a_signal_ends_a_run_whose_reader_does_not_read() {
    for args in [
        &["stat", "--all", "--interval", "10ms", "--format", "json"][..],
        &["top", "--batch", "--interval", "10ms"],
    ] {
        let (reader, writer) = pipe().expect("a pipe");
        let ours = writer.try_clone().expect("a descriptor");
        let child = started(args, writer, Stdio::null());
        wait_until("the pipe is full", || {
            let mut fds = [PollFd::new(ours.as_fd(), PollFlags::POLLOUT)];
            poll(&mut fds, PollTimeout::ZERO).expect("a pipe") == 0
        });
        std::thread::sleep(Duration::from_millis(100));
        // SAFETY: a child of ours that has not been waited for.
        unsafe { libc::kill(child.id().cast_signed(), libc::SIGTERM) };
        assert_eq!(code(child), Some(9), "{args:?}");
        drop(reader);
    }
}
