//! Options that select what is shown: errors by name, rows with errors, calls that wait, and
//! histograms. Counts stay complete.

use std::{
    collections::BTreeMap,
    fs::File,
    io::Read as _,
    process::{Command, Stdio},
};

use nix::pty::openpty;

use crate::{
    run::{Mode, PROFILER, Stat, profiler_command, statement, wait_until, workload_args},
    workload::Statement,
};

const WORKLOAD: [&str; 3] = ["counts", "threads=4", "calls=200"];

/// The table of the workload's calls, and its statement.
fn table(mode: Mode, flags: &[&str]) -> (String, Statement) {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("table");
    let mut command = profiler_command();
    command.arg("stat").args(mode.flags()).args(flags).arg("-o").arg(&file).arg("--");
    let output = command.args(workload_args(&WORKLOAD)).output().expect("the profiler");
    assert!(output.status.success(), "{output:?}");
    let stated = statement(&String::from_utf8(output.stdout).expect("text"));
    (std::fs::read_to_string(file).expect("a table"), stated)
}

/// The cells of a line of a table, which are separated by at least two spaces.
fn cells(line: &str) -> Vec<&str> {
    line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect()
}

fn number(text: &str) -> u64 {
    text.replace(',', "").parse().unwrap_or_else(|_| panic!("no number: {text:?}"))
}

pub(crate) fn errors_are_named(mode: Mode) {
    let (text, statement) = table(mode, &["--show-errno"]);
    for (name, made) in statement.total() {
        let name = name.trim_start_matches("x86_64/");
        let line = text.lines().map(cells).find(|cells| cells.contains(&name));
        let line = line.unwrap_or_else(|| panic!("no row of {name}: {text}"));
        let after = line.iter().skip_while(|&&cell| cell != name).nth(1);
        let errors: Vec<(String, u64)> = after
            .map(|errors| errors.split(", ").filter_map(|error| error.split_once(' ')).collect())
            .unwrap_or_else(Vec::new)
            .into_iter()
            .map(|(errno, count)| (errno.to_owned(), number(count)))
            .collect();
        assert!(errors.is_sorted_by(|a, b| a.1 >= b.1), "{name}: {errors:?}");
        assert_eq!(errors.into_iter().collect::<BTreeMap<_, _>>(), made.errnos, "{name}: {text}");
    }
}

pub(crate) fn rows_are_chosen_by_their_errors(mode: Mode) {
    for (flags, wanted) in [
        (&["--errno", "ESRCH"][..], &["ESRCH"][..]),
        (&["--errno", "ENOTDIR,20", "--errno", "ENOENT"], &["ENOTDIR", "ENOENT"]),
        (&["--failed"], &[]),
    ] {
        let (report, statement) = Stat::new(mode).args(flags.iter().copied()).workload(&WORKLOAD);
        let (mut left_out, mut shown) = (0, 0);
        for (name, made) in statement.total() {
            let has_one = |errno: &&str| made.errnos.contains_key(*errno);
            let is_shown = if wanted.is_empty() {
                !made.errnos.is_empty()
            } else {
                wanted.iter().any(has_one)
            };
            let row = report.rows.iter().find(|row| row.name().as_ref() == Some(&name));
            assert_eq!(row.map(|row| row.made()), is_shown.then(|| made.clone()), "{name}");
            *(if is_shown { &mut shown } else { &mut left_out }) += made.calls;
        }
        assert!(shown > 0 && left_out > 0, "{flags:?}: {shown} shown, {left_out} left out");
        let hidden = report.hidden.as_ref().expect("a filter is set");
        // The loader also makes calls that are not stated.
        assert!(hidden.rows > 0 && hidden.calls >= left_out, "{hidden:?}");
        assert!(report.rows.iter().all(|row| row.errors > 0), "{flags:?}: {report:#?}");
        assert!(flags != ["--failed"] || (hidden.errors, hidden.denied) == (0, 0), "{hidden:?}");
        assert!(hidden.waits.is_none());
    }
    // The headline counts all calls, and a line says how many rows are not shown.
    let (text, _) = table(mode, &["--failed"]);
    let headline = text.lines().find(|line| line.contains(" syscalls in ")).expect("one");
    let errors = headline.split(", ").find_map(|part| part.strip_suffix(" with an error"));
    let rows = text.lines().map(cells).skip_while(|cells| !cells.contains(&"syscall"));
    let rows: Vec<_> = rows.skip(1).take_while(|cells| !cells.is_empty()).collect();
    let title = text.lines().map(cells).find(|cells| cells.contains(&"syscall")).expect("titles");
    let at = |name: &str| title.iter().position(|&title| title == name).expect("a column");
    // A row that waits by nature may be below a heading.
    let rows = rows.iter().filter(|cells| cells.len() > 2);
    let sum = |column: &str| rows.clone().map(|row| number(row[at(column)])).sum::<u64>();
    assert_eq!(sum("errors"), number(errors.expect("a count")), "{text}");
    let not_shown = text.lines().find(|line| line.starts_with("Not shown (--failed): "));
    let words: Vec<_> = not_shown.expect("a line").split(' ').collect();
    let with = words.iter().position(|&word| word == "with").expect("a count");
    let all = number(headline.split(' ').next().expect("a number"));
    assert_eq!(sum("calls") + number(words[with + 1]), all, "{text}");
}

/// With --no-waits, calls that wait are in no row of any grouping, and are summed up.
pub(crate) fn waits_are_left_out(mode: Mode) {
    for by in ["syscall", "process", "process,syscall"] {
        let flags = ["--no-waits", "--by", by];
        let (report, statement) = Stat::new(mode).args(flags).workload(&["sleeps"]);
        let hidden = report.hidden.as_ref().expect("a filter is set");
        let waits = hidden.waits.as_ref().expect("waits are left out");
        assert_eq!(
            (waits.calls, waits.estimated_total_ns),
            (hidden.calls, hidden.estimated_total_ns)
        );
        let sleeps = statement.timings.iter().filter(|timing| timing.syscall == "clock_nanosleep");
        let calls: usize = sleeps.clone().map(|timing| timing.asked_ns.len()).sum();
        let asked_ns: u64 = sleeps.flat_map(|timing| &timing.asked_ns).sum();
        assert!(waits.calls >= calls as u64, "{by}: {calls} in {waits:?}");
        assert!(waits.estimated_total_ns >= asked_ns, "{by}: {asked_ns} in {waits:?}");
        // The workload also reads the output of its children, which may wait.
        let is_of_read = |row: &&crate::report::Row| row.syscall.as_deref() == Some("read");
        let others = report.rows.iter().filter(|row| !is_of_read(row) && row.syscall.is_some());
        let shown_ns: u64 = others.map(|row| row.total_ns).sum();
        assert!(shown_ns < asked_ns, "{by}: {shown_ns}");
        let names = ["clock_nanosleep", "futex", "wait4"];
        let is_of_wait = |name: &String| names.contains(&name.as_str());
        assert!(!report.rows.iter().any(|row| row.syscall.as_ref().is_some_and(is_of_wait)));
        if by == "process" {
            // Each process also made calls that do not wait.
            assert!(report.rows.len() >= statement.timings.len(), "{report:#?}");
        }
    }
}

/// Each call is in a bucket between the requested time and the time that the workload measured.
pub(crate) fn buckets_are_the_latencies(mode: Mode) {
    let stat = Stat::new(mode).by_process_and_call().args(["--buckets"]);
    let (report, statement) = stat.workload(&["sleeps"]);
    for row in &report.rows {
        let buckets = row.buckets.as_ref().expect("they were asked for");
        assert_eq!(buckets.iter().map(|b| b.count).sum::<u64>(), row.timed, "{row:#?}");
        assert!(buckets.iter().all(|b| b.count > 0 && b.upper_ns.is_none_or(|u| b.lower_ns < u)));
        assert!(buckets.is_sorted_by(|a, b| a.upper_ns.is_some_and(|upper| upper <= b.lower_ns)));
        if let [first, .., last] = buckets[..] {
            assert!(first.lower_ns <= row.min_ns && row.max_ns > last.lower_ns, "{row:#?}");
        }
    }
    for timing in &statement.timings {
        let is_of = |row: &&crate::report::Row| {
            row.pid == Some(timing.pid) && row.syscall.as_ref() == Some(&timing.syscall)
        };
        let row = report.rows.iter().find(is_of).expect("a row of the calls");
        let mut so_far = 0;
        for bucket in row.buckets.as_ref().expect("they were asked for") {
            so_far += bucket.count as usize;
            let up_to = bucket.upper_ns.unwrap_or(u64::MAX);
            let within = |latencies: &[u64]| latencies.partition_point(|&ns| ns <= up_to);
            assert!(so_far >= within(&timing.took_ns), "{up_to}: {row:#?}");
            assert!(so_far <= within(&timing.asked_ns), "{up_to}: {row:#?}");
        }
    }
    let report = Stat::new(mode).command(["sh", "-c", ":"]).0;
    assert!(report.rows.iter().all(|row| row.buckets.is_none()));
}

pub(crate) fn a_terminal_is_told_that_it_counts() {
    let told = |args: &[&str], to_pipe: bool| {
        let terminal = openpty(None, None).expect("a terminal");
        let slave = || Stdio::from(terminal.slave.try_clone().expect("a descriptor"));
        let mut command = profiler_command();
        command.arg("stat").args(args).stdin(Stdio::null()).stderr(slave());
        command.stdout(if to_pipe { Stdio::piped() } else { Stdio::null() });
        let child = command.spawn().expect("the profiler");
        drop(command);
        drop(terminal.slave);
        if !args.contains(&"-d") && !args.contains(&"--") {
            wait_until("it attaches", || !crate::run::kernel_ids(child.id(), "link_id").is_empty());
            // The hint is printed before the profiler waits.
            wait_until("the profiler waits", || {
                let call = std::fs::read_to_string(format!("/proc/{}/syscall", child.id()));
                call.is_ok_and(|call| call.starts_with(&format!("{} ", libc::SYS_poll)))
            });
            // SAFETY: a child of ours that has not been waited for.
            unsafe { libc::kill(child.id().cast_signed(), libc::SIGINT) };
        }
        assert!(child.wait_with_output().expect("a child of ours").status.success(), "{args:?}");
        let mut text = Vec::new();
        // EIO once the other end is closed.
        let _ = File::from(terminal.master).read_to_end(&mut text);
        String::from_utf8_lossy(&text).into_owned()
    };
    assert!(told(&["-a"], false).contains("counting syscalls; Ctrl-C stops"));
    assert!(!told(&["-a"], true).contains("counting"));
    assert!(!told(&["-a", "-d", "0.1"], false).contains("counting"));
    let json = told(&["-f", "json", "--", "true"], true);
    assert!(json.starts_with("profiler: the JSON goes to standard error"), "{json}");
    let json = told(&["-f", "json", "--", "true"], false);
    assert!(json.starts_with('{'), "{json}");
    // A program that reads the JSON from a pipe gets nothing else.
    let args = ["stat", "-f", "json", "--", "true"];
    let output = Command::new(PROFILER).args(args).output().expect("the profiler");
    assert!(output.stderr.starts_with(b"{"), "{output:?}");
}

pub(crate) fn names_that_no_process_has_are_told() {
    let told = |comm: &str| {
        let args = ["stat", "--comm", comm, "-d", "0.2", "-o", "/dev/null"];
        let output = profiler_command().args(args).output().expect("the profiler");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stderr).expect("text")
    };
    // The name must be one that no process of another test has had before.
    let directory = tempfile::tempdir().expect("a directory");
    let own = format!("named-{}", std::process::id());
    let program = directory.path().join(&own);
    std::fs::copy("/bin/sleep", &program).expect("every host has one");
    let mut sleeps = std::process::Command::new(&program).arg("60").spawn().expect("it starts");
    let is_named = || {
        let comm = std::fs::read_to_string(format!("/proc/{}/comm", sleeps.id()));
        comm.is_ok_and(|comm| comm.trim_end() == own)
    };
    crate::run::wait_until("the exec is over", is_named);
    assert_eq!(told(&own), "");
    let said = told(&format!("{own},no-such-comm"));
    sleeps.kill().expect("it runs");
    sleeps.wait().expect("a child of ours");
    let expected = "profiler: no process named no-such-comm was seen; ";
    assert!(said.starts_with(expected), "{said}");
}
