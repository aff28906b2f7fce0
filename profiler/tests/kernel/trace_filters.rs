//! Filters of `profiler trace`, which the kernel side decides.

use std::{
    fs,
    process::{Command, Output, Stdio},
};

use crate::{
    conformance::Cgroups,
    run::{Held, Mode, profiler_command, workload_args},
    trace::{Event, Events, Trace},
    workload::WANTED,
};

/// The calls of the workload `counts` in a trace with these flags, and the events.
fn of_counts(flags: &[&str]) -> (Events, crate::workload::Statement) {
    Trace::new().args(flags).workload(&["counts", "calls=60"])
}

fn calls(events: &Events) -> impl Iterator<Item = &Event> {
    events.0.iter().filter(|event| event.event == "call")
}

/// Only the calls that the filter names are followed, and all of these.
pub(crate) fn by_name() {
    let (events, mut statement) = of_counts(&["--syscall", "getsid,flock,exit_group"]);
    for process in &mut statement.processes {
        process.calls.retain(|name, _| {
            ["x86_64/getsid", "x86_64/flock", "x86_64/exit_group"].contains(&name.as_str())
        });
    }
    assert_eq!(statement.processes[0].calls.len(), 3);
    events.has_exactly(&statement);
    let named = |event: &Event| ["getsid", "flock", "exit_group"].iter().any(|n| event.is_call(n));
    assert!(calls(&events).all(named), "{events:#?}");

    let (events, mut statement) = of_counts(&["--exclude-syscall", "getsid"]);
    statement.processes[0].calls.remove("x86_64/getsid");
    events.has_exactly(&statement);
    assert_eq!(events.calls("getsid").count(), 0);
}

/// Only calls that failed, and all of these.
pub(crate) fn by_failure() {
    let (events, statement) = of_counts(&["--failed"]);
    assert!(calls(&events).all(|event| event.errno.is_some()), "{events:#?}");
    let pid = statement.processes[0].pid;
    for (name, made) in &statement.processes[0].calls {
        let name = name.strip_prefix("x86_64/").expect("64-bit code");
        for (errno, stated) in &made.errnos {
            let of_errno = |event: &&Event| event.errno.as_ref() == Some(errno);
            let printed = events.of(pid).filter(|event| event.is_call(name)).filter(of_errno);
            assert_eq!(printed.count() as u64, *stated, "{name} {errno}");
        }
    }
    // Denied calls have failed, and restarted calls have not.
    let (events, statement) = Trace::new().args(["--failed"]).workload(&["denied", "calls=4"]);
    events.has_exactly(&statement);
    let (events, _) = Trace::new().args(["--failed"]).workload(&["restarted", "calls=3"]);
    assert_eq!(events.calls("readv").count(), 0, "{events:#?}");
}

/// Only calls that failed with one of these errors, and all of these.
pub(crate) fn by_errno() {
    let (events, statement) = of_counts(&["--errno", "ESRCH,EFAULT"]);
    let errnos = ["ESRCH", "EFAULT"];
    let is_named =
        |event: &Event| event.errno.as_ref().is_some_and(|e| errnos.contains(&e.as_str()));
    assert!(calls(&events).all(is_named), "{events:#?}");
    let pid = statement.processes[0].pid;
    for errno in errnos {
        let made = statement.processes[0].calls.values();
        let stated: u64 = made.filter_map(|made| made.errnos.get(errno)).sum();
        let of_errno = |event: &&Event| event.errno.as_deref() == Some(errno);
        // The loader and the runtime make no call that fails with these errors.
        assert_eq!(events.of(pid).filter(of_errno).count() as u64, stated, "{errno}");
        assert!(stated > 0);
    }
}

/// Only calls that last.
pub(crate) fn by_duration() {
    let script = "sleep 0.3; sleep 0.01";
    let ended = Trace::new().args(["--slower", "200ms"]).command(["sh", "-c", script]);
    assert_eq!(ended.code(), Some(0), "{:?}", ended.output);
    let events = ended.events();
    let slow = |event: &Event| event.duration_ns.is_some_and(|ns| ns >= 200_000_000);
    // A call in which a thread ends has no duration.
    assert!(calls(&events).filter(|e| !e.in_flight).all(slow), "{events:#?}");
    let sleeps = events.0.iter().filter(|e| e.is_call("clock_nanosleep") || e.is_call("nanosleep"));
    assert_eq!(sleeps.count(), 1, "{events:#?}");
}

/// Only the calls of processes with this name, which change it.
pub(crate) fn by_name_of_the_process() {
    let (events, statement) = Trace::new()
        .args(["--comm", &format!("nobody,{WANTED}")])
        .workload(&["renamed-by-turns", "rounds=3", "threads=2", "calls=20"]);
    events.has_exactly(&statement);
}

/// Only the calls of a cgroup, to which processes move, and which they leave.
pub(crate) fn by_cgroup() {
    let cgroups = match Cgroups::new(Mode::Main) {
        Ok(cgroups) => cgroups,
        Err(skip) => return println!("not tested: {skip}"),
    };
    let (inside, outside) = (cgroups.arg("inside", "in/deep"), cgroups.arg("outside", "in-not"));
    let args = ["migrated", "rounds=3", "threads=2", "calls=20", &inside, &outside];
    let trace = Trace::new().args(["--cgroup", &cgroups.path("in")]);
    let (events, statement) = trace.workload(&args);
    events.has_exactly(&statement);
}

/// On the whole host, the calls of a cgroup. No other process is followed.
pub(crate) fn by_cgroup_on_the_whole_host() {
    let cgroups = match Cgroups::new(Mode::Main) {
        Ok(cgroups) => cgroups,
        Err(skip) => return println!("not tested: {skip}"),
    };
    let held = Held::start(&["numbered", "threads=4", "calls=50"]);
    let procs = cgroups.0.join("in").join("cgroup.procs");
    fs::write(procs, held.pid().to_string()).expect("a cgroup of ours");
    let running = Trace::new().args(["--all", "--cgroup", &cgroups.path("in")]).start().attached();
    let pid = held.pid();
    let statement = held.go();
    let ended = running.interrupt();
    assert_eq!((ended.code(), ended.stderr().as_str()), (Some(0), ""));
    let events = ended.events();
    assert!(events.0.iter().all(|event| event.pid == pid), "no other process is in it");
    for thread in &statement.processes {
        let numbers = events.calls("lseek").filter(|event| event.tid == thread.pid);
        assert_eq!(numbers.count(), 50);
    }
}

fn refused(flags: &[&str]) -> Output {
    let mut command = profiler_command();
    command.arg("trace").args(flags).stdin(Stdio::null());
    command.args(["-d", "100ms", "-a"]).output().expect("the profiler")
}

/// What the kernel side does not support yet is refused, with what to do instead.
pub(crate) fn that_are_not_supported_are_refused() {
    for (flag, name) in [
        ("--unit", "cron.service"),
        ("--container", "0123456789ab"),
        ("--pod", "01234567-89ab-cdef-0123-456789abcdef"),
    ] {
        let output = refused(&[flag, name]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{flag}: {output:?}");
        assert!(said.contains("--cgroup"), "{flag}: {said}");
        assert!(output.stdout.is_empty(), "{output:?}");
    }
}

/// A flag of another workload's arguments is no filter: a command has its own.
pub(crate) fn do_not_stop_a_command() {
    let ended = Trace::new().args(["--comm", "nobody"]).command(workload_args(&["end"]));
    assert_eq!(ended.code(), Some(0), "{:?}", ended.output);
    assert_eq!(ended.text, "", "nothing has this name");
    assert!(
        Command::new("sh").args(["-c", "exit 0"]).status().is_ok_and(|status| status.success())
    );
}
