//! Calls in flight: listed at once, with their thread and age, separate from calls that wait by
//! nature, and removed when they end.

use std::{
    ffi::OsString,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Duration,
};

use tempfile::TempDir;

use crate::{
    conformance::Skip,
    report::{InFlight, Report, kernel},
    run::{Mode, Running, Stat, statement, wait_until, workload_args},
    service::{Daemon, Name},
    workload::{Holding, READY, Statement, now},
};

/// More threads than a report lists per kind.
const WAITING: u64 = 300;

/// The workload `held`, which continues on command.
pub(crate) struct Stuck {
    child: Child,
    go: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    _directory: TempDir,
}

impl Stuck {
    pub(crate) fn start(waiting: u64) -> Self {
        Self::named(waiting, &[])
    }

    /// Starts the workload with further arguments, such as a name.
    pub(crate) fn named(waiting: u64, more: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let fifo = format!("fifo={}", directory.path().join("fifo").display());
        let waiting = format!("waiting={waiting}");
        let args = workload_args(&[&["held", &*fifo, &*waiting], more].concat());
        let mut command = Command::new(&args[0]);
        command.args(&args[1..]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("this executable");
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        let go = child.stdin.take();
        let mut this = Self { child, go, output, _directory: directory };
        assert_eq!(this.line().trim_end(), READY);
        this
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("a line");
        line
    }

    /// Lets the workload enter its calls, and waits until all its threads are in a call.
    pub(crate) fn enter(&mut self) -> Holding {
        self.go.as_mut().expect("not let go").write_all(b"\n").expect("it reads");
        let holding = serde_json::from_str(&self.line()).expect("what it printed");
        // The main thread waits for the end of its input.
        let main = format!("/proc/{0}/task/{0}/syscall", self.pid());
        let reading = format!("{} ", libc::SYS_read);
        wait_until("the workload reads on", || {
            std::fs::read_to_string(&main).expect("it runs").starts_with(&reading)
        });
        holding
    }

    /// Lets the calls return, and waits for the end of the workload.
    pub(crate) fn let_go(mut self) -> Statement {
        self.go = None;
        let mut text = String::new();
        self.output.read_to_string(&mut text).expect("text");
        assert!(self.child.wait().expect("a child of ours").success());
        statement(&text)
    }

    /// Kills the workload, and leaves a zombie until this value is dropped.
    #[cfg(any(debug_assertions, feature = "object-override"))]
    pub(crate) fn kill_unreaped(&mut self) {
        self.child.kill().expect("it runs");
    }

    fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("a child of ours");
    }
}

impl Drop for Stuck {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Watches a workload from outside, with a report every tenth of a second.
pub(crate) fn watch(mode: Mode, pid: u32, flags: &[&str]) -> Running {
    let pid = pid.to_string();
    let args = [&["--interval", "100ms", "--pid", &pid], flags].concat();
    Stat::new(mode).args(args).start().attached()
}

/// A report that began and ended during this call.
fn next_report(running: &Running) -> Report {
    let before = running.reports_so_far().len();
    wait_until("two reports are printed", || running.reports_so_far().len() >= before + 2);
    running.reports_so_far().swap_remove(before + 1)
}

pub(crate) fn in_call<'a>(report: &'a Report, syscall: &str) -> Vec<&'a InFlight> {
    report.in_flight.iter().filter(|call| call.syscall == syscall).collect()
}

#[track_caller]
fn assert_counts(report: &Report, works: u64, may_wait: u64, waits: u64) {
    let expected = [("works", works), ("may_wait", may_wait), ("waits", waits)];
    let expected = expected.map(|(kind, threads)| (kind.to_owned(), threads)).into();
    assert_eq!(report.in_flight_by_kind, expected);
}

/// If the entry was not timed, the age counts from the first reading, and is marked as a lower
/// bound.
pub(crate) fn untimed_is_seen(mode: Mode) {
    let mut stuck = Stuck::start(1);
    let running = watch(mode, stuck.pid(), &["--no-latency"]);
    let holding = stuck.enter();
    let age = |report: &Report| {
        let call = &report.in_flight[0];
        assert_eq!((call.syscall.as_str(), call.tid), ("creat", holding.tid));
        assert!(call.at_least, "{call:?}");
        assert_counts(report, 1, 1, 1);
        call.age_ns
    };
    let first = age(&next_report(&running));
    let pause = Duration::from_millis(300);
    std::thread::sleep(pause);
    let second = age(&next_report(&running));
    // The age grows by at least the elapsed time, and never exceeds the true age.
    assert!(second >= first + pause.as_nanos() as u64, "{first} and then {second}");
    assert!(second <= now() - holding.before_ns, "{second}");
    stuck.let_go();
    running.end();
}

/// The next report lists the call first, with an age that agrees with the workload's own clock.
pub(crate) fn a_call_that_lasts_is_seen_at_once(mode: Mode) {
    [&[][..], &["--sample", "auto"]].iter().for_each(|flags| lasting_is_seen(mode, flags));
}

fn lasting_is_seen(mode: Mode, flags: &[&str]) {
    let mut stuck = Stuck::start(WAITING);
    let running = watch(mode, stuck.pid(), flags);
    let holding = stuck.enter();
    // Check at once, and again after a while.
    for wait in [Duration::ZERO, Duration::from_millis(500)] {
        std::thread::sleep(wait);
        let from = now();
        let report = next_report(&running);
        let until = now();
        let call = &report.in_flight[0];
        assert_eq!((call.syscall.as_str(), call.kind.as_str()), ("creat", "works"));
        assert_eq!((call.pid, call.tid), (Some(holding.pid), holding.tid));
        assert_ne!(holding.pid, holding.tid, "a thread of its own");
        assert_eq!((call.comm.as_str(), call.abi.as_str(), call.nr), (own_name(), "x86_64", 85));
        let bounds = from - holding.after_ns..=until - holding.before_ns;
        assert!(bounds.contains(&call.age_ns), "{} is not in {bounds:?}", call.age_ns);
        assert_counts(&report, 1, 1, WAITING);
        // The maximum number of listed calls per kind.
        assert_eq!(in_call(&report, "futex").len(), 256);
        assert_eq!(in_call(&report, "creat").len(), 1);
    }
    let statement = stuck.let_go();
    // The profiler ends by itself, because the process has ended.
    let reports = running.end().reports();
    let last = reports.last().expect("a report at the end");
    // If the kernel skips programs, the end of a thread can be missed, and its `exit` stays in
    // flight. The report says how many events may be missing.
    let missed = last.loss();
    assert!(last.in_flight.len() as u64 <= missed, "{:?}, lost {missed}", last.in_flight);
    assert!(last.in_flight.iter().all(|call| call.syscall == "exit"), "{:?}", last.in_flight);
    if missed == 0 {
        assert_counts(last, 0, 0, 0);
    }
    let creat: u64 = reports
        .iter()
        .flat_map(|report| &report.rows)
        .filter(|row| row.syscall.as_deref() == Some("creat"))
        .map(|row| row.returned)
        .sum();
    assert_eq!(creat, statement.total()["x86_64/creat"].calls);
}

/// At the end of a run, the call is in the list and in its row.
pub(crate) fn what_does_not_return_is_listed_at_the_end(mode: Mode) {
    let mut stuck = Stuck::start(3);
    let pid = stuck.pid().to_string();
    let running = Stat::new(mode).args(["--pid", &pid]).start().attached();
    let holding = stuck.enter();
    let from = now();
    let report = running.interrupt();
    let until = now();
    assert_counts(&report, 1, 1, 3);
    assert_eq!(report.row("x86_64", "creat").in_flight, 1);
    let [call] = in_call(&report, "creat")[..] else { panic!("{:?}", report.in_flight) };
    assert_eq!((call.pid, call.tid), (Some(holding.pid), holding.tid));
    let bounds = from - holding.after_ns..=until - holding.before_ns;
    assert!(bounds.contains(&call.age_ns), "{} is not in {bounds:?}", call.age_ns);
    stuck.let_go();
}

/// A call that returns leaves the list, and the others stay. The calls of a process leave the list
/// when the process ends.
pub(crate) fn a_killed_thread_s_call_disappears(mode: Mode) {
    let (mut stuck, mut other) = (Stuck::start(2), Stuck::start(0));
    let pids = format!("{},{}", stuck.pid(), other.pid());
    let running = Stat::new(mode).args(["--interval", "100ms", "--pid", &pids]).start().attached();
    let (killed, goes_on) = (stuck.enter(), other.enter());
    let tids = |report: &Report| -> Vec<u32> {
        // The thread that entered first has the older call.
        in_call(report, "creat").iter().map(|call| call.tid).collect()
    };
    let report = next_report(&running);
    assert_eq!(tids(&report), [killed.tid, goes_on.tid]);
    assert_counts(&report, 2, 2, 2);
    stuck.kill();
    let report = next_report(&running);
    assert_eq!(tids(&report), [goes_on.tid]);
    assert_counts(&report, 1, 1, 0);
    other.let_go();
    running.end();
}

/// Threads without a record are only counted.
pub(crate) fn threads_without_a_record_are_counted(mode: Mode) {
    let mut stuck = Stuck::start(64);
    // Two records: one for the main thread, and one for a waiting thread.
    let running = watch(mode, stuck.pid(), &["--max-threads", "2"]);
    stuck.enter();
    let report = next_report(&running);
    assert_counts(&report, 1, 1, 64);
    assert_eq!(report.in_flight.len(), 2, "as many as there are records: {report:#?}");
    stuck.let_go();
    let reports = running.end().reports();
    assert_counts(reports.last().expect("a report at the end"), 0, 0, 0);
}

/// The daemon's gauges have the number of calls, and the age of the oldest.
pub(crate) fn the_daemon_has_its_age(mode: Mode) {
    const CALL: &str = "{abi=\"x86_64\",syscall=\"creat\",kind=\"works\"}";
    let name = Name::new();
    let daemon = Daemon::start_watching(mode, &name);
    let mut stuck = Stuck::named(0, &[&name.arg()]);
    let holding = stuck.enter();
    let gauges = || {
        let metrics = daemon.metrics();
        let of = |name: &str| metrics.get(&format!("{name}{CALL}")).copied();
        (of("profiler_syscalls_in_flight"), of("profiler_syscall_in_flight_oldest_seconds"))
    };
    for wait in [Duration::ZERO, Duration::from_millis(500)] {
        std::thread::sleep(wait);
        let from = now();
        let (threads, age) = gauges();
        let until = now();
        assert_eq!(threads, Some(1.0));
        let age = age.expect("the call has not returned");
        let seconds = |ns: u64| ns as f64 / 1e9;
        let bounds = seconds(from - holding.after_ns)..=seconds(until - holding.before_ns);
        assert!(bounds.contains(&age), "{age} is not in {bounds:?}");
    }
    stuck.let_go();
    assert_eq!(gauges(), (None, None), "no syscall is in flight, so there are no series");
    daemon.end();
}

/// Whether calls that entered before the attach are listed. This requires task storage, a task
/// iterator and `bpf_task_pt_regs`.
pub(crate) fn before_is_seen(mode: Mode) -> Result<(), Skip> {
    let seen = mode != Mode::Fallback && kernel() >= (5, 15);
    if seen { Ok(()) } else { Err(Skip::NothingBefore) }
}

/// The next report, with the number of calls that entered before the attach.
#[track_caller]
pub(crate) fn report_with_before(running: &Running, mode: Mode) -> Result<Report, Skip> {
    let report = next_report(running);
    assert_eq!(report.in_flight_before.is_some(), before_is_seen(mode).is_ok());
    assert!(report.in_flight_before.is_some() || !report.in_flight.iter().any(|c| c.at_least));
    before_is_seen(mode).map(|()| report)
}

/// Calls that entered before the attach are listed by kind, with the time since the attach as a
/// lower bound of the age. They are in no row, and leave the list when they return.
pub(crate) fn in_flight_before(mode: Mode) -> Result<(), Skip> {
    let mut stuck = Stuck::start(WAITING);
    let holding = stuck.enter();
    let before_attaching = now();
    let running = watch(mode, stuck.pid(), &[]);
    let attached = now();
    for wait in [Duration::ZERO, Duration::from_millis(500)] {
        std::thread::sleep(wait);
        let from = now();
        let report = report_with_before(&running, mode)?;
        let until = now();
        let call = &report.in_flight[0];
        assert_eq!((call.syscall.as_str(), call.kind.as_str()), ("creat", "works"));
        assert_eq!((call.pid, call.tid), (Some(holding.pid), holding.tid));
        assert_eq!((call.comm.as_str(), call.abi.as_str(), call.nr), (own_name(), "x86_64", 85));
        assert!(call.at_least);
        let bounds = from - attached..=until - before_attaching;
        assert!(bounds.contains(&call.age_ns), "{} is not in {bounds:?}", call.age_ns);
        assert_counts(&report, 1, 1, WAITING);
        assert_eq!(report.in_flight_before, Some(WAITING + 2));
        assert!(report.in_flight.iter().all(|call| call.at_least), "{report:#?}");
        assert_eq!(report.rows.iter().map(|row| row.calls).sum::<u64>(), 0, "{report:#?}");
    }
    stuck.let_go();
    let reports = running.end().reports();
    let last = reports.last().expect("a report at the end");
    assert_eq!((&last.in_flight[..], last.in_flight_before), (&[][..], Some(0)));
    assert_counts(last, 0, 0, 0);
    let of_creat = |report: &Report| report.rows.iter().any(|row| row.nr == Some(libc::SYS_creat));
    assert!(!reports.iter().any(of_creat), "it never entered");
    Ok(())
}

/// The calls of a killed process leave the list, and the others stay.
pub(crate) fn in_flight_before_and_killed(mode: Mode) -> Result<(), Skip> {
    let (mut stuck, mut other) = (Stuck::start(2), Stuck::start(0));
    let (killed, goes_on) = (stuck.enter(), other.enter());
    let pids = format!("{},{}", stuck.pid(), other.pid());
    let running = Stat::new(mode).args(["--interval", "100ms", "--pid", &pids]).start().attached();
    let tids = |report: &Report| -> Vec<u32> {
        let mut tids: Vec<u32> = in_call(report, "creat").iter().map(|call| call.tid).collect();
        tids.sort_unstable();
        tids
    };
    let report = report_with_before(&running, mode)?;
    let mut both = vec![killed.tid, goes_on.tid];
    both.sort_unstable();
    assert_eq!((tids(&report), report.in_flight_before), (both, Some(6)));
    stuck.kill();
    let report = report_with_before(&running, mode)?;
    assert_eq!((tids(&report), report.in_flight_before), (vec![goes_on.tid], Some(2)));
    other.let_go();
    running.end();
    Ok(())
}

/// A shell is in `read` when the profiler attaches, and then execs a program that reads.
pub(crate) fn in_flight_before_an_exec(mode: Mode) -> Result<(), Skip> {
    const LINES: &str = "echo ready; read line; exec sh -c 'echo ready; read line'";
    let args = ["sh", "-c", LINES].map(OsString::from);
    exec_leaves_nothing(mode, &args, &["read"])
}

/// A thread execs and takes the id of its leader. The leader is in a call that never returns.
pub(crate) fn in_flight_before_a_thread_s_exec(mode: Mode) -> Result<(), Skip> {
    let args = workload_args(&["exec-by-thread", "calls=1", "told=1"]);
    exec_leaves_nothing(mode, &args, &["read", "pause"])
}

/// Attaches while the threads of a command are in the calls `before`. The command then execs a
/// program that reads. Only that read is in flight, and its entry was counted.
fn exec_leaves_nothing(mode: Mode, args: &[OsString], before: &[&str]) -> Result<(), Skip> {
    let mut program = Reading::start(args);
    let pid = program.child.id();
    program.wait_until_reading();
    let running = watch(mode, pid, &[]);
    let report = report_with_before(&running, mode)?;
    let calls: Vec<_> = report.in_flight.iter().map(|c| (c.syscall.as_str(), c.at_least)).collect();
    assert_eq!(calls, before.iter().map(|&call| (call, true)).collect::<Vec<_>>());
    assert!(report.in_flight.iter().all(|call| call.pid == Some(pid)));
    program.let_read();
    program.wait_until_reading();
    let report = report_with_before(&running, mode)?;
    let [call] = &report.in_flight[..] else { panic!("one thread: {report:#?}") };
    assert_eq!((call.tid, call.syscall.as_str(), call.at_least), (pid, "read", false));
    assert_eq!(report.in_flight_before, Some(0));
    drop(program);
    running.end();
    Ok(())
}

/// Only the exit shows that the call has ended: a shell reads, and then loops without a call.
pub(crate) fn in_flight_before_user_time(mode: Mode) -> Result<(), Skip> {
    const LINES: &str = "echo ready; read line; while :; do :; done";
    let mut program = Reading::start(&["sh", "-c", LINES].map(OsString::from));
    program.wait_until_reading();
    let pid = program.child.id();
    let running = watch(mode, pid, &[]);
    assert_eq!(report_with_before(&running, mode)?.in_flight_before, Some(1));
    program.let_read();
    wait_until("it has left", || threads_calls(pid).is_empty());
    let report = report_with_before(&running, mode)?;
    assert_eq!((&report.in_flight[..], report.in_flight_before), (&[][..], Some(0)));
    let calls = |report: &Report| report.rows.iter().map(|row| row.calls).sum::<u64>();
    assert_eq!(running.reports_so_far().iter().map(calls).sum::<u64>(), 0, "it made none");
    drop(program);
    running.end();
    Ok(())
}

/// The calls that the threads of a process sleep in, by number.
fn threads_calls(pid: u32) -> Vec<i64> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("it runs");
    tasks
        .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("syscall")).ok())
        .filter_map(|call| call.split(' ').next()?.parse().ok())
        .collect()
}

/// A command that prints when it is ready, and reads a line. Dropping this value kills it.
pub(crate) struct Reading {
    pub(crate) child: Child,
    pub(crate) output: BufReader<ChildStdout>,
}

impl Reading {
    pub(crate) fn start(args: &[OsString]) -> Self {
        let mut command = Command::new(&args[0]);
        command.args(&args[1..]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("a command");
        let output = BufReader::new(child.stdout.take().expect("a pipe"));
        Self { child, output }
    }

    pub(crate) fn wait_until_reading(&mut self) {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("a line");
        assert_eq!(line.trim_end(), READY);
        let pid = self.child.id();
        wait_until("a thread reads", || threads_calls(pid).contains(&libc::SYS_read));
    }

    pub(crate) fn let_read(&mut self) {
        self.child.stdin.as_mut().expect("a pipe").write_all(b"\n").expect("it reads");
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The call is in the gauge of calls in flight, and in that of calls that entered before the
/// attach.
pub(crate) fn in_flight_before_the_daemon(mode: Mode) -> Result<(), Skip> {
    const CALL: &str = "abi=\"x86_64\",syscall=\"creat\"";
    before_is_seen(mode)?;
    let name = Name::new();
    let mut stuck = Stuck::named(0, &[&name.arg()]);
    stuck.enter();
    let before_attaching = now();
    let daemon = Daemon::start_watching(mode, &name);
    let attached = now();
    let gauges = || {
        let metrics = daemon.metrics();
        assert!(!metrics.contains_key(&format!("profiler_syscalls_total{{{CALL}}}")));
        ["syscalls_in_flight", "syscalls_in_flight_before", "syscall_in_flight_oldest_seconds"]
            .map(|name| metrics.get(&format!("profiler_{name}{{{CALL},kind=\"works\"}}")).copied())
    };
    std::thread::sleep(Duration::from_millis(500));
    let from = now();
    let [threads, before, age] = gauges();
    let until = now();
    assert_eq!((threads, before), (Some(1.0), Some(1.0)));
    let seconds = |ns: u64| ns as f64 / 1e9;
    let bounds = seconds(from - attached)..=seconds(until - before_attaching);
    assert!(age.is_some_and(|age| bounds.contains(&age)), "{age:?} is not in {bounds:?}");
    stuck.let_go();
    // No call of this syscall was ever counted, so it has no series any more.
    assert_eq!(gauges(), [None; 3]);
    daemon.end();
    Ok(())
}

/// The name of this process in the kernel: that of the executable, cut to 15 bytes.
pub(crate) fn own_name() -> &'static str {
    static NAME: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    NAME.get_or_init(|| {
        let own = std::env::current_exe().expect("an executable");
        let name = own.file_name().expect("a name").to_string_lossy().into_owned();
        name[..name.len().min(15)].to_owned()
    })
}
