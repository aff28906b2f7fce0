//! `profiler seccomp`: a profile allows exactly what a workload states, and `check` finds exactly what
//! is new.

use std::{collections::BTreeSet, fs, path::Path, process::Output};

use serde_json::Value;

use crate::{
    run::{profiler_command, statement, workload_args},
    workload::{Statement, kernel_release},
};

const WORKLOAD: [&str; 3] = ["counts", "threads=3", "calls=40"];

/// Runs `profiler seccomp` with a workload as the command, and returns what the workload stated.
fn seccomp(flags: &[&str], workload: &[&str]) -> (Output, Statement) {
    let mut profiler = profiler_command();
    profiler.arg("seccomp").args(flags).arg("--").args(workload_args(workload));
    let output = profiler.output().expect("the profiler");
    let stated = statement(&String::from_utf8_lossy(&output.stdout));
    (output, stated)
}

fn json(path: &Path) -> Value {
    let text = fs::read_to_string(path).expect("a file of the profiler");
    serde_json::from_str(&text).expect("JSON")
}

/// The syscalls of x86_64 that a workload states.
fn stated_names(statement: &Statement) -> BTreeSet<String> {
    let calls = statement.total().into_iter();
    let names = calls.filter(|(_, made)| made.calls + made.denied > 0).map(|(name, _)| name);
    names.filter_map(|name| name.strip_prefix("x86_64/").map(str::to_owned)).collect()
}

/// The names in the rules of a profile with this action.
fn named(profile: &Value, action: &str) -> BTreeSet<String> {
    let rules = profile["syscalls"].as_array().expect("rules").iter();
    let rules = rules.filter(|rule| rule["action"] == action);
    let names = rules.flat_map(|rule| rule["names"].as_array().expect("names").clone());
    names.map(|name| name.as_str().expect("text").to_owned()).collect()
}

/// The observation has the counts that the workload states, and the profile allows each call.
pub(crate) fn a_profile_allows_what_a_workload_states() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("profile.json");
    let file = path.to_str().expect("UTF-8");
    let (output, stated) = seccomp(&["generate", "-o", file], &WORKLOAD);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && told.contains("No call was lost."), "{told}");
    let profile = json(&path);
    let allowed = named(&profile, "SCMP_ACT_ALLOW");
    let names = stated_names(&stated);
    assert!(!names.is_empty() && names.is_subset(&allowed), "{names:?} of {allowed:?}");
    let refused = named(&profile, "SCMP_ACT_ERRNO");
    assert!(refused.is_disjoint(&allowed) && refused.contains("mount"), "{refused:?}");
    let observation = json(&directory.path().join("profile.json.observation.json"));
    assert_eq!(observation["watched"]["lost"], 0);
    let seen = observation["calls"].as_array().expect("calls");
    for (name, made) in stated.total() {
        let Some(name) = name.strip_prefix("x86_64/").filter(|name| !name.starts_with("exit"))
        else {
            continue;
        };
        let found = seen.iter().find(|seen| seen["syscall"] == name && seen["abi"] == "x86_64");
        let found = found.unwrap_or_else(|| panic!("{name} was not seen: {seen:#?}"));
        // The loader and the runtime call more.
        let calls = found["calls"].as_u64().expect("a number");
        assert!(calls >= made.calls, "{name}: {calls}, stated {}", made.calls);
        assert_eq!(found["denied"], made.denied, "{name}");
    }
}

/// What was seen is allowed, and what is new would be denied: its calls are counted exactly.
pub(crate) fn a_check_finds_what_is_new() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("profile.json");
    let file = path.to_str().expect("UTF-8");
    seccomp(&["generate", "-o", file], &WORKLOAD);
    let report = directory.path().join("report.json");
    let report_file = report.to_str().expect("UTF-8");
    let flags = ["check", file, "--format", "json", "-o", report_file];
    let (output, _) = seccomp(&flags, &WORKLOAD);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(json(&report)["denied"], Value::Array(Vec::new()));

    let (output, stated) = seccomp(&flags, &["messages"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let denied = json(&report)["denied"].as_array().expect("rows").clone();
    let pid = stated.processes[0].pid;
    for name in ["sendmmsg", "recvmmsg", "pselect6"] {
        let rows: Vec<_> = denied.iter().filter(|row| row["syscall"] == name).collect();
        let [row] = rows[..] else { panic!("{name}: {denied:#?}") };
        assert_eq!((&row["calls"], &row["pid"]), (&1.into(), &pid.into()), "{row:#?}");
        assert_eq!(row["by_arguments"], false);
        // pselect6 is of Linux 2.6.19, which each C library requires; so are the others.
        assert_eq!(row["action"], "denied with EPERM", "{row:#?}");
    }
    assert!(denied.iter().all(|row| row["syscall"] != "read"), "{denied:#?}");
}

/// A call that was not seen is denied, each one has a line, and the sum is what the workload states.
/// If the profile ends the process, its one call is counted too.
pub(crate) fn a_profile_is_enforced_and_denials_are_counted() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("profile.json");
    let file = path.to_str().expect("UTF-8");
    let unseen = ["unseen", "calls=7"];
    for (deny, code, calls, action) in
        [("errno", 0, 7, "denied with EPERM"), ("kill", 128 + 31, 1, "kills the process")]
    {
        seccomp(&["generate", "--deny", deny, "-o", file], &WORKLOAD);
        let (output, _) = seccomp(&["run", file], &WORKLOAD);
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{told}");
        assert_eq!(told.trim(), "The profile denied no call.");

        let mut profiler = profiler_command();
        profiler.args(["seccomp", "run", file, "--"]).args(workload_args(&unseen));
        let output = profiler.output().expect("the profiler");
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{told}");
        // Before Linux 5.17, the kernel does not say in which call seccomp ended a process.
        if deny == "kill" && kernel_release() < (5, 17) {
            assert!(told.contains("This kernel does not say"), "{told}");
            continue;
        }
        let rows: Vec<_> = told.lines().filter(|line| line.contains(action)).collect();
        let [row] = rows[..] else { panic!("{told}") };
        let words: Vec<_> = row.split_whitespace().take(3).collect();
        assert_eq!(words, [calls.to_string().as_str(), "getitimer", "x86_64"], "{told}");
        if deny == "errno" {
            let lines = told.lines().filter(|line| line.starts_with("profiler: denied: "));
            let lines: Vec<_> = lines.collect();
            assert_eq!(lines.len(), 7, "{told}");
            let is_whole = |line: &&str| {
                line.contains(" getitimer(ITIMER_REAL, 0x")
                    && line.ends_with(") = -1 EPERM (Operation not permitted)")
            };
            assert!(lines.iter().all(is_whole), "{told}");
        }
    }
}
