//! A command that runs as another user.

use std::{collections::HashMap, os::unix::fs::PermissionsExt as _, process::Command};

use crate::{
    privilege::as_nobody,
    run::{Mode, PROFILER, Stat, capabilities_are_bounded, statement},
};

/// The user id of nobody.
const NOBODY: &str = "65534";

/// A shell command that prints its own /proc/PID/status.
const SHOW_STATUS: [&str; 3] =
    ["sh", "-c", "while read -r line; do echo \"$line\"; done </proc/self/status"];

/// The fields of /proc/PID/status.
fn status(text: &str) -> HashMap<String, String> {
    let field = |line: &str| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_owned(), value.split_whitespace().collect::<Vec<_>>().join(" ")))
    };
    text.lines().filter_map(field).collect()
}

/// The sets that give a process privileges are empty.
#[track_caller]
fn has_no_capabilities(status: &HashMap<String, String>) {
    for set in ["CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(u64::from_str_radix(&status[set], 16), Ok(0), "{set}: {status:?}");
    }
}

pub(crate) fn a_command_runs_as_a_user(mode: Mode) -> Result<(), String> {
    if capabilities_are_bounded() {
        return Err("the capabilities to change users are not there".into());
    }
    let as_user = || Stat::new(mode).args(["-u", NOBODY]);
    let (_, output) = as_user().command(SHOW_STATUS);
    let seen = status(&String::from_utf8(output.stdout).expect("text"));
    for ids in ["Uid", "Gid"] {
        assert_eq!(seen[ids], [NOBODY; 4].join(" "), "{seen:?}");
    }
    assert_eq!(seen["Groups"], NOBODY, "{seen:?}");
    has_no_capabilities(&seen);

    let script = "echo $USER $LOGNAME; test -n \"$HOME$SHELL\" && test \"$HOME\" != /root";
    let (_, output) = as_user().command(["sh", "-c", script]);
    let words = String::from_utf8(output.stdout).expect("text");
    let [user, logname] = words.split_whitespace().collect::<Vec<_>>()[..] else {
        panic!("two names: {words}");
    };
    assert_eq!(user, logname);

    // nobody cannot read this executable, so copy it.
    let directory = tempfile::tempdir().expect("a directory");
    let for_all = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(directory.path(), for_all.clone()).expect("a directory of ours");
    let workload = directory.path().join("workload");
    std::fs::copy(std::env::current_exe().expect("an executable"), &workload).expect("a copy");
    std::fs::set_permissions(&workload, for_all).expect("a file of ours");
    let workload = workload.to_str().expect("text");
    let command = [workload, "workload", "counts", "threads=2", "calls=200", "processes=3"];
    let (report, output) = as_user().command(command);
    let statement = statement(&String::from_utf8(output.stdout).expect("text"));
    report.has_exactly(&statement);
    report.nothing_overflowed();
    // The calls that change the user are not counted for the command.
    let calls = ["setgroups", "setresgid", "setresuid", "prctl"];
    let of_change = |row: &&crate::report::Row| {
        row.syscall.as_ref().is_some_and(|name| calls.contains(&name.as_str()))
    };
    assert!(!report.rows.iter().any(|row| of_change(&row)), "{report:#?}");
    Ok(())
}

pub(crate) fn ambient_capabilities_are_dropped() {
    let capabilities = ",+bpf,+perfmon,+setuid,+setgid";
    let args = ["stat", "-u", "1", "-o", "/dev/null", "--"];
    let output = as_nobody(capabilities, &[&args[..], &SHOW_STATUS].concat());
    assert!(output.status.success(), "{output:?}");
    let seen = status(&String::from_utf8(output.stdout).expect("text"));
    assert_eq!(seen["Uid"], "1 1 1 1", "{seen:?}");
    has_no_capabilities(&seen);
}

/// The command has the same capabilities as without the profiler.
pub(crate) fn without_a_user_capabilities_are_as_without_the_profiler() {
    let args = ["stat", "-o", "/dev/null", "--"];
    let output = as_nobody(",+bpf,+perfmon", &[&args[..], &SHOW_STATUS].concat());
    assert!(output.status.success(), "{output:?}");
    let seen = status(&String::from_utf8(output.stdout).expect("text"));
    let capabilities = ",+bpf,+perfmon";
    let mut command = Command::new("setpriv");
    command.args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"]);
    command.arg(format!("--inh-caps=-all{capabilities}"));
    command.arg(format!("--ambient-caps=-all{capabilities}"));
    let output = command.args(SHOW_STATUS).output().expect("setpriv");
    let alone = status(&String::from_utf8(output.stdout).expect("text"));
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(seen[set], alone[set], "{set}");
    }
}

pub(crate) fn who_may_not_change_user_is_told() {
    let output = as_nobody(",+bpf,+perfmon", &["stat", "-u", "1", "--", "echo", "it ran"]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("CAP_SETUID and CAP_SETGID"), "{said}");
    // If the programs cannot attach, the process of the command ends, even if the profiler cannot
    // kill it because it belongs to another user.
    let args = ["stat", "-u", "1", "--", "sh", "-c", "echo it ran"];
    let output = as_nobody(",+bpf,+setuid,+setgid", &args);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    let args = ["stat", "-u", "no-such-user", "--", "echo", "it ran"];
    let output = Command::new(PROFILER).args(args).output().expect("the profiler");
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
}
