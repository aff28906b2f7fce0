//! Messages without privilege. Two capabilities are enough.

use std::{
    os::unix::fs::PermissionsExt as _,
    process::{Command, Output},
};

use crate::{
    in_flight,
    report::Report,
    run::{Mode, PROFILER},
};

/// The user id of nobody.
const NOBODY: &str = "65534";

/// Runs a copy of the profiler as nobody, because nobody cannot read the original.
pub(crate) fn as_nobody(capabilities: &str, args: &[&str]) -> Output {
    let directory = tempfile::tempdir().expect("a directory");
    let for_all = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(directory.path(), for_all.clone()).expect("a directory of ours");
    let profiler = directory.path().join("profiler");
    std::fs::copy(PROFILER, &profiler).expect("the profiler");
    std::fs::set_permissions(&profiler, for_all).expect("a file of ours");
    let mut command = Command::new("setpriv");
    command.args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"]);
    command.arg(format!("--inh-caps=-all{capabilities}"));
    command.arg(format!("--ambient-caps=-all{capabilities}"));
    command.current_dir("/").arg(profiler).args(args).output().expect("setpriv of util-linux")
}

pub(crate) fn without_any_it_names_what_is_missing() {
    let output = as_nobody("", &["stat", "--all", "--duration", "1s"]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("CAP_BPF and CAP_PERFMON"), "{said}");
    assert!(said.contains("setcap cap_bpf,cap_perfmon=ep"), "{said}");
    assert!(output.stdout.is_empty());
}

/// If the programs cannot attach, the prepared command does not run.
pub(crate) fn without_any_a_command_does_not_run() {
    let output = as_nobody("", &["stat", "--", "sh", "-c", "echo it ran"]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
}

pub(crate) fn with_one_of_two_it_names_the_other() {
    for (has, lacks) in [("bpf", "CAP_PERFMON"), ("perfmon", "CAP_BPF")] {
        let output = as_nobody(&format!(",+{has}"), &["stat", "--all", "--duration", "1s"]);
        assert_eq!(output.status.code(), Some(3), "{output:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        let first = said.lines().next().unwrap_or_default();
        assert!(first.contains(lacks), "{said}");
        assert!(!first.contains(&format!("CAP_{}", has.to_uppercase())), "{said}");
    }
}

pub(crate) fn two_capabilities_suffice(mode: Mode) {
    let mut args = vec!["stat", "--format", "json", "--output", "-"];
    args.extend(mode.flags());
    args.extend(["--", "sh", "-c", "exit 5"]);
    let output = as_nobody(",+bpf,+perfmon", &args);
    assert_eq!(output.status.code(), Some(5), "{output:?}");
    let report = Report::parse(&String::from_utf8_lossy(&output.stdout));
    assert_eq!(report.row("x86_64", "exit_group").never_returned, 1);
    report.nothing_overflowed();
    // The two capabilities are enough to list these calls.
    assert_eq!(report.in_flight_before.is_some(), in_flight::before_is_seen(mode).is_ok());
}
