//! Standard streams that cannot be written: a full disk, a closed descriptor, a reader that closed
//! its end.

use std::process::{Command, Output};

/// What each command prints to standard output, without the kernel side.
const PRINTING: [&str; 11] = [
    "--help",
    "--version",
    "help stat",
    "stat -h",
    "doctor",
    "doctor --format json",
    "syscalls",
    "syscalls openat --format json",
    "metrics --explain",
    "completions bash",
    "daemon --check-config --config ../deploy/profiler.toml",
];

/// Invalid command lines, and their exit codes.
const REFUSED: [(&str, i32); 7] = [
    ("", 2),
    ("--no-such-flag", 2),
    ("stat --interval soon", 2),
    ("syscalls no-such-call", 2),
    ("stat --output /dev/null --pid 999999999", 6),
    ("stat --output /dev/null -- no-such-command", 127),
    ("daemon --check-config --config /no/such/file", 7),
];

/// Runs the profiler in a shell, which can close descriptors.
fn run(args: &str, redirections: &str) -> Output {
    let script = format!(r#""$0" {args} {redirections}"#);
    let profiler = env!("CARGO_BIN_EXE_profiler");
    Command::new("sh").args(["-c", &script, profiler]).output().expect("a shell")
}

fn code(args: &str, redirections: &str) -> Option<i32> {
    run(args, redirections).status.code()
}

#[test]
fn output_that_cannot_be_written_is_an_error_of_its_own() {
    for args in PRINTING {
        for redirections in [">/dev/full", ">&-", "</dev/null >&0", "<&- >&- "] {
            let output = run(args, redirections);
            assert_eq!(output.status.code(), Some(9), "{args} {redirections}");
            let message = String::from_utf8_lossy(&output.stderr);
            let expected = "profiler: cannot write standard output: ";
            assert!(message.starts_with(expected), "{args} {redirections}: {message}");
        }
        let unread = [">/dev/full 2>/dev/full", ">&- 2>&-", ">/dev/full 2>&-"];
        for redirections in unread {
            assert_eq!(code(args, redirections), Some(9), "{args} {redirections}");
        }
    }
}

#[test]
fn a_refusal_that_nobody_can_read_keeps_its_code() {
    for (args, expected) in REFUSED {
        for redirections in ["2>/dev/full", "2>&-", ">&- 2>&-", "<&- >&- 2>&-", "2</dev/null"] {
            assert_eq!(code(args, redirections), Some(expected), "{args} {redirections}");
        }
    }
}

#[test]
fn a_reader_that_has_gone_away_is_no_failure() {
    for args in PRINTING {
        let expected = code(args, ">/dev/null");
        let script = format!(r#""$0" {args}"#);
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let profiler = env!("CARGO_BIN_EXE_profiler");
        let mut command = Command::new("sh");
        let output = command.args(["-c", &script, profiler]).stdout(writer).output();
        let output = output.expect("a shell");
        assert_eq!(output.status.code(), expected, "{args}");
        if expected == Some(0) {
            assert!(output.stderr.is_empty(), "{args}: {output:?}");
        }
    }
}
