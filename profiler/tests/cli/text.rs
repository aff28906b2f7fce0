//! Untrusted text never reaches the terminal unchanged: from an argument, a path, or a
//! configuration file.

use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
    process::{Command, Output},
};

/// Text that sets the title of a terminal, reverses the direction of text, starts a new line, and
/// is not UTF-8.
const HOSTILE: &[u8] =
    b"a\x1b]0;title\x07\x1b[2J\xe2\x80\xae\xe2\x81\xa6\xe2\x80\x8b\xe2\x80\xa8\nINJECTED\xffz";

fn hostile(before: &str, after: &str) -> OsString {
    OsString::from_vec([before.as_bytes(), HOSTILE, after.as_bytes()].concat())
}

/// The same text as valid UTF-8.
fn hostile_text() -> String {
    String::from_utf8_lossy(HOSTILE).into_owned()
}

fn run(args: &[&OsStr]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_profiler"));
    command.args(args).env_remove("JOURNAL_STREAM").output().expect("the profiler")
}

/// Whether a terminal executes the character. Uses its own table instead of the profiler's.
fn is_obeyed(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
}

#[track_caller]
fn assert_harmless(args: &[&OsStr]) -> String {
    let output = run(args);
    let printed = [output.stdout, output.stderr].concat();
    let printed = String::from_utf8(printed).unwrap_or_else(|_| panic!("{args:?}: not UTF-8"));
    assert!(!printed.is_empty(), "{args:?}: nothing is printed");
    let obeyed: Vec<char> = printed.chars().filter(|&c| c != '\n' && is_obeyed(c)).collect();
    assert!(obeyed.is_empty(), "{args:?}: {obeyed:?} in {printed:?}");
    assert!(!printed.lines().any(|line| line.starts_with("INJECTED")), "{args:?}: {printed}");
    printed
}

#[test]
fn arguments_are_made_harmless() {
    let text = OsString::from(hostile_text());
    let bytes = hostile("", "");
    for value in [&text, &bytes] {
        assert_harmless(&[value]);
        assert_harmless(&["stat".as_ref(), value]);
        let mut flag = OsString::from("--");
        flag.push(value);
        assert_harmless(&["stat".as_ref(), &flag]);
        for flag in [
            "--pid",
            "--duration",
            "--interval",
            "--sort",
            "--by",
            "--format",
            "--syscall",
            "--exclude-syscall",
            "--comm",
            "--errno",
            "--user",
            "--cgroup",
            "--unit",
            "--container",
            "--pod",
            "--max-threads",
            "--sample",
        ] {
            assert_harmless(&["stat".as_ref(), flag.as_ref(), value]);
        }
        for flag in ["--listen", "--config", "--interval"] {
            assert_harmless(&["daemon".as_ref(), "--check-config".as_ref(), flag.as_ref(), value]);
        }
        assert_harmless(&["doctor".as_ref(), "--format".as_ref(), value]);
        assert_harmless(&["syscalls".as_ref(), value]);
        assert_harmless(&["syscalls".as_ref(), "--abi".as_ref(), value]);
        assert_harmless(&["help".as_ref(), value]);
    }
}

#[test]
fn paths_and_commands_are_made_harmless() {
    let missing = hostile("/no/such/", "");
    for args in [
        &["stat".as_ref(), "-o".as_ref(), missing.as_os_str()][..],
        &["stat".as_ref(), "-o".as_ref(), "/dev/null".as_ref(), "--".as_ref(), &missing],
        &["stat".as_ref(), "--".as_ref(), &hostile("", "")],
        &["stat".as_ref(), "--".as_ref(), &hostile("/", "")],
        &["daemon".as_ref(), "--config".as_ref(), &missing],
    ] {
        let printed = assert_harmless(args);
        assert!(printed.contains("]0;title"), "what can be shown of it is: {printed}");
    }
}

#[test]
fn what_a_file_says_is_made_harmless() {
    let directory = tempfile::tempdir().expect("a directory");
    // A hostile path.
    let file = directory.path().join(OsStr::from_bytes(b"\x1b]0;t\x07\xe2\x80\xae.toml"));
    let raw = hostile_text().replace(['\u{fffd}', '\n'], "");
    let escaped = r"a\u001b]0;title\u0007\u202e\u2066\u200b\u2028\nINJECTED";
    let check = |text: &str| {
        std::fs::write(&file, text).expect("a file");
        let args = ["daemon", "--check-config", "--config"].map(OsStr::new);
        assert_harmless(&[&args[..], &[file.as_os_str()]].concat())
    };
    for text in [
        format!("\"{escaped}\" = 1\n"),
        format!("\"{raw}\" = 1\n"),
        format!("{raw} = 1\n"),
        format!("listen = \"{escaped}\"\n"),
        format!("listen = \"{raw}\"\n"),
        format!("interval = \"{escaped}\"\n"),
        format!("log_level = \"{escaped}\"\n"),
        format!("comms = [\"{escaped}\"]\n"),
        format!("syscalls = [\"{escaped}\"]\n"),
        format!("[\"{escaped}\"]\n"),
        format!("# {raw}\nlisten = \"\n"),
    ] {
        check(&text);
    }
}
