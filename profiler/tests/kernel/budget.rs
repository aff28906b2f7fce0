//! Budgets: runs are checked against limits that come from the statement of a workload.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::Path, process::Output};

use crate::{
    run::{profiler_command, statement, workload_args},
    workload::{Calls, Statement},
};

const WORKLOAD: [&str; 3] = ["counts", "threads=3", "calls=40"];
const ONE_MORE: [&str; 3] = ["counts", "threads=3", "calls=41"];

fn stat(flags: &[&str], command: &[std::ffi::OsString]) -> Output {
    let mut profiler = profiler_command();
    profiler.arg("stat").args(flags).arg("--").args(command);
    profiler.output().expect("the profiler")
}

/// Runs the workload. Returns the output, the verdict, and the statement of the workload.
fn run(flags: &[&str], workload: &[&str]) -> (Output, String, Statement) {
    let flags = [&["-o", "/dev/null"], flags].concat();
    let output = stat(&flags, &workload_args(workload));
    let stated = statement(&String::from_utf8_lossy(&output.stdout));
    let verdict = String::from_utf8_lossy(&output.stderr).into_owned();
    (output, verdict, stated)
}

/// The stated calls of the plan by name. Neither the loader nor the runtime makes any of these
/// calls.
fn planned(statement: &Statement) -> Calls {
    let calls = statement.total().into_iter();
    let calls = calls.map(|(name, made)| (name.trim_start_matches("x86_64/").to_owned(), made));
    calls.filter(|(name, _)| !name.starts_with("exit")).collect()
}

/// A budget whose limits are exactly these calls, and its number of limits.
fn exactly(calls: &Calls) -> (String, usize) {
    let (mut text, mut limits) = (String::new(), 0);
    for (name, made) in calls {
        let errors: u64 = made.errnos.values().sum();
        writeln!(text, "[syscalls.{name}]\ncalls = {}\nerrors = {errors}", made.calls)
            .expect("a text takes everything");
        limits += 2 + made.errnos.len();
        for (errno, count) in &made.errnos {
            writeln!(text, "errnos.{errno} = {count}").expect("a text takes everything");
        }
    }
    (text, limits)
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).expect("a budget");
}

/// A budget of the stated calls is met. With one more round of calls, each limit is exceeded.
pub(crate) fn a_run_is_held_to_what_a_workload_states() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("budget.toml");
    let file = path.to_str().expect("UTF-8");
    let stated = statement(&String::from_utf8_lossy(
        &stat(&["-o", "/dev/null"], &workload_args(&WORKLOAD)).stdout,
    ));
    let calls = planned(&stated);
    assert_eq!(calls.len(), 20, "the plan has twenty kinds: {calls:#?}");
    let (text, limits) = exactly(&calls);
    write(&path, &text);
    let (output, verdict, _) = run(&["--budget", file], &WORKLOAD);
    assert_eq!(output.status.code(), Some(0), "{verdict}");
    let within = format!("profiler: budget {file}: the run is within {limits} limits\n");
    assert_eq!(verdict, within);

    let (output, verdict, more) = run(&["--budget", file], &ONE_MORE);
    assert_eq!(output.status.code(), Some(10), "{verdict}");
    for (name, made) in planned(&more) {
        let allowed = &calls[&name];
        assert_eq!(made.calls, allowed.calls + 3, "three threads make one more each");
        let line =
            format!("  {name}: {} calls, limit {}\n", grouped(made.calls), grouped(allowed.calls));
        assert!(verdict.contains(&line), "{line}{verdict}");
    }
}

fn grouped(n: u64) -> String {
    if n < 1_000 { n.to_string() } else { format!("{},{:03}", n / 1_000, n % 1_000) }
}

/// `--write-budget` writes the stated calls as limits, and the next run is within the budget.
pub(crate) fn a_run_writes_the_budget_of_the_next() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("budget.toml");
    let file = path.to_str().expect("UTF-8");
    let (output, verdict, stated) = run(&["--write-budget", file], &WORKLOAD);
    assert_eq!((output.status.code(), verdict.as_str()), (Some(0), ""));
    let text = fs::read_to_string(&path).expect("a budget");
    let written: toml::Table = text.parse().expect("TOML");
    assert_eq!(written["unlisted"].as_str(), Some("forbidden"));
    for (name, made) in planned(&stated) {
        let limits = &written["syscalls"][&name];
        let number = |key: &str| limits[key].as_integer().map(i64::cast_unsigned);
        assert_eq!(number("calls"), Some(made.calls), "{name}: {text}");
        assert_eq!(number("errors"), Some(made.errnos.values().sum()), "{name}");
        let errnos: BTreeMap<_, _> = match limits.get("errnos") {
            Some(errnos) => errnos
                .as_table()
                .expect("a table")
                .iter()
                .map(|(errno, count)| (errno.clone(), count.as_integer().map(i64::cast_unsigned)))
                .collect(),
            None => BTreeMap::new(),
        };
        let stated = made.errnos.iter().map(|(errno, &count)| (errno.clone(), Some(count)));
        assert_eq!(errnos, stated.collect(), "{name}");
        assert!(limits.get("p99").is_none(), "no time was asked for: {text}");
    }
    // A shell built-in makes the same calls in each run, and its exit code is passed on.
    let shell = ["sh", "-c", "exit 3"].map(Into::into);
    // Time limits are written only on request, because a preempted run would exceed them.
    let flags = ["-o", "/dev/null", "--write-budget", file, "--time-margin", "50%"];
    assert_eq!(stat(&flags, &shell).status.code(), Some(3));
    let text = fs::read_to_string(&path).expect("a budget");
    assert!(text.contains("p99 = \"") && !text.contains("getsid"), "{text}");
    assert_eq!(stat(&flags[..4], &shell).status.code(), Some(3));
    let text = fs::read_to_string(&path).expect("a budget");
    assert!(!text.contains("p99"), "{text}");
    let check = ["-o", "/dev/null", "--budget", file];
    let within = stat(&check, &shell);
    assert_eq!(within.status.code(), Some(3), "{}", String::from_utf8_lossy(&within.stderr));
    // Other calls are not in the budget.
    let (output, verdict, stated) = run(&["--budget", file], &["counts", "calls=1"]);
    assert_eq!(output.status.code(), Some(10), "{verdict}");
    let getsid = stated.total()["x86_64/getsid"].calls;
    let line = format!("  getsid: {getsid} calls, not in the budget\n");
    assert!(verdict.contains(&line), "{line}{verdict}");
}

/// Forbidden calls exceed a budget, in text and in JSON.
pub(crate) fn what_is_forbidden_exceeds_a_budget() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("budget.toml");
    let file = path.to_str().expect("UTF-8");
    write(&path, "forbidden = [\"getsid\", \"ptrace\"]\n");
    let json = directory.path().join("report.json");
    let flags = ["-f", "json", "-o", json.to_str().expect("UTF-8"), "--budget", file];
    let output = stat(&flags, &workload_args(&WORKLOAD));
    assert_eq!(output.status.code(), Some(10), "{output:?}");
    let stated = statement(&String::from_utf8_lossy(&output.stdout));
    let found = stated.total()["x86_64/getsid"].calls;
    let text = fs::read_to_string(json).expect("a report");
    let report: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let limit = |name: &str, found: u64| {
        serde_json::json!({
            "syscall": name, "limit": "forbidden", "allowed": 0, "found": found,
            "exceeded": found > 0,
        })
    };
    assert_eq!(
        report["budget"],
        serde_json::json!({
            "met": false, "uncounted": 0, "limits": [limit("getsid", found), limit("ptrace", 0)],
        })
    );
}

/// An invalid budget is refused before the command runs.
pub(crate) fn a_budget_that_cannot_be_checked_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("budget.toml");
    let file = path.to_str().expect("UTF-8");
    let ran = directory.path().join("ran");
    let touch = ["touch".into(), ran.clone().into_os_string()];
    for (text, flags, said) in [
        ("", &[][..], "the budget has no limit"),
        ("[syscalls.reed]\ncalls = 1", &[], "no ABI has a syscall with this name"),
        ("[syscalls.read]\np99 = \"1ms\"", &["--no-latency"], "limits times"),
        ("[syscalls.read]\ncalls = 1", &["--syscall", "write"], "which the filters exclude"),
    ] {
        write(&path, text);
        let flags = [&["--budget", file], flags].concat();
        let output = stat(&flags, &touch);
        assert_eq!(output.status.code(), Some(7), "{text}: {output:?}");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(error.contains(said), "{text}: {error}");
        assert!(!ran.exists(), "the command ran: {text}");
    }
    let output = stat(&["--budget", "/no/such/file"], &touch);
    assert_eq!(output.status.code(), Some(7), "{output:?}");
    let output = stat(&["--write-budget", "/no/such/directory/file"], &touch);
    assert_eq!(output.status.code(), Some(9), "{output:?}");
    assert!(!ran.exists(), "the command ran");
}
