//! The daemon on the running kernel: its metrics equal the statements of workloads, it drops its
//! privileges, and it ends in time.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    process::{Child, ChildStderr, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use crate::{
    confinement::assert_confined,
    report::{LOST, Report, Row, kernel_skips_programs},
    run::{Held, Mode, Stat, kernel_ids, profiler_command, wait_until},
    workload::Statement,
};

/// Series and their values, as `name{labels}`.
pub(crate) type Series = BTreeMap<String, f64>;

/// A name that only the processes of one test have. A daemon that watches this name serves exact
/// figures on a busy host too.
pub(crate) struct Name(String);

impl Name {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        // The kernel keeps 15 bytes.
        Self(format!("t{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)))
    }

    /// The argument that gives a workload this name.
    pub(crate) fn arg(&self) -> String {
        format!("name={}", self.0)
    }

    /// The filter of a daemon that watches it.
    pub(crate) fn filter(&self) -> [&str; 2] {
        ["--comm", &self.0]
    }
}

/// A running daemon, on its own port.
pub(crate) struct Daemon {
    child: Child,
    address: SocketAddr,
    /// Reads the log to its end, and returns the lines that no test may cause.
    log: Option<JoinHandle<Vec<String>>>,
}

/// How long [`Daemon::metrics`] waits before it scrapes.
pub(crate) const METRICS_PAUSE: Duration = Duration::from_millis(200);

/// In the log if the kernel refuses the arena object. The daemon then works with arrays, at a
/// higher cost, so no other test would notice.
const REFUSAL: &str = "refuses the arena";

impl Daemon {
    /// Starts a daemon that watches the whole host.
    pub(crate) fn start(mode: Mode) -> Self {
        Self::start_with(mode, "200ms", &[])
    }

    /// Starts a daemon that watches the processes with a name.
    pub(crate) fn start_watching(mode: Mode, name: &Name) -> Self {
        Self::start_with(mode, "200ms", &name.filter())
    }

    /// Starts a daemon with this interval and these flags.
    pub(crate) fn start_with(mode: Mode, interval: &str, flags: &[&str]) -> Self {
        Self::start_command(profiler_command(), mode, interval, flags)
    }

    /// Starts a daemon by `command`.
    pub(crate) fn start_command(
        command: Command,
        mode: Mode,
        interval: &str,
        flags: &[&str],
    ) -> Self {
        let (mut daemon, log) = Self::start_unread(command, mode, interval, flags);
        // Continue to read, so that the daemon does not drop messages because the pipe is full.
        daemon.log = Some(std::thread::spawn(move || {
            log.lines().map_while(Result::ok).filter(|line| line.contains(REFUSAL)).collect()
        }));
        wait_until("the daemon is ready", || daemon.is_ready());
        daemon
    }

    /// Starts a daemon, and returns it with its log, which nobody reads from then on.
    pub(crate) fn start_unread(
        mut command: Command,
        mode: Mode,
        interval: &str,
        flags: &[&str],
    ) -> (Self, BufReader<ChildStderr>) {
        command.args(["daemon", "--interval", interval, "--listen", "127.0.0.1:0"]);
        command.args(flags).args(mode.flags()).stdout(Stdio::null()).stderr(Stdio::piped());
        command.env_remove("JOURNAL_STREAM").env("NO_COLOR", "1");
        let mut child = command.spawn().expect("the profiler");
        let mut log = BufReader::new(child.stderr.take().expect("a pipe"));
        let mut text = String::new();
        let address = loop {
            let read = text.len();
            let length = log.read_line(&mut text).expect("text");
            assert_ne!(length, 0, "it ended before it served: {text}");
            assert!(!text.contains(REFUSAL), "{text}");
            if let Some((_, rest)) = text[read..].split_once("://") {
                let address = rest.split('/').next().expect("a first part");
                break address.parse().expect("an address and a port");
            }
        };
        (Self { child, address, log: None }, log)
    }

    pub(crate) fn is_ready(&self) -> bool {
        get(self.address, "/-/ready").0 == 200
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Makes the daemon reload its configuration.
    pub(crate) fn reload(&self) {
        // SAFETY: a child of ours that has not been waited for.
        assert_eq!(unsafe { libc::kill(self.child.id().cast_signed(), libc::SIGHUP) }, 0);
    }

    /// Scrapes the daemon, with all events until now.
    ///
    /// An answer may be made from a reading that is a tenth of a second old, so this waits for
    /// longer than that. If drains are slow, as in a debug build on a busy host, an answer may
    /// be older: up to 25 times the CPU time of a drain, so that drains use at most 4 % of a CPU.
    /// Then this waits for the second drain from now, which begins after this call.
    pub(crate) fn metrics(&self) -> Series {
        std::thread::sleep(METRICS_PAUSE);
        let deadline = Instant::now() + Duration::from_secs(20);
        let mut drains_before = None;
        loop {
            let asked = Instant::now();
            let series = self.scrape();
            let drain = |what: &str| series[&format!("profiler_drain_duration_seconds_{what}")];
            let (drains, seconds) = (drain("count"), drain("sum"));
            let is_quick = asked.elapsed() < METRICS_PAUSE && seconds / drains < 0.004;
            if is_quick || drains >= *drains_before.get_or_insert(drains) + 2.0 {
                return series;
            }
            assert!(Instant::now() < deadline, "no drain in 20 seconds");
            std::thread::sleep(METRICS_PAUSE);
        }
    }

    fn scrape(&self) -> Series {
        let (status, body) = get(self.address, "/metrics");
        assert_eq!(status, 200);
        body.lines()
            .filter(|line| !line.starts_with('#'))
            .map(|line| {
                let (series, value) = line.rsplit_once(' ').expect("a series and its value");
                (series.to_owned(), value.parse().expect("a number"))
            })
            .collect()
    }

    /// Same as [`assert_added`], but waits until the daemon has read all stated calls. In a debug
    /// build with many threads, an answer may come from an older drain.
    #[track_caller]
    pub(crate) fn assert_adds(&self, before: &Series, statement: &Statement, names: &[&str]) {
        let deadline = Instant::now() + Duration::from_secs(20);
        let mut after = self.metrics();
        while calls(&after, names) < calls(before, names) + stated(statement, names)
            && Instant::now() < deadline
        {
            after = self.metrics();
        }
        assert_added(before, &after, statement, names);
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends the daemon, and returns how long that took.
    pub(crate) fn end(mut self) -> Duration {
        self.stop()
    }

    /// Waits for the end of the daemon, which something else has requested.
    pub(crate) fn ended(mut self) {
        let status = self.child.wait().expect("a child of ours");
        assert!(status.success(), "{status}");
    }

    /// Likewise.
    pub(crate) fn stop(&mut self) -> Duration {
        let asked = Instant::now();
        // SAFETY: a child of ours that has not been waited for.
        assert_eq!(unsafe { libc::kill(self.child.id().cast_signed(), libc::SIGTERM) }, 0);
        let status = self.child.wait().expect("a child of ours");
        assert!(status.success(), "{status}");
        let took = asked.elapsed();
        if let Some(log) = self.log.take() {
            let refusals = log.join().expect("a log that can be read");
            assert!(refusals.is_empty(), "the kernel refused an object: {refusals:?}");
        }
        took
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Only if a test failed before `end`.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Status and body of an answer.
pub(crate) fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).expect("it listens");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.split(' ').nth(1).expect("a status").parse().expect("a number");
    (status, body.to_owned())
}

/// Calls of the workload that other programs rarely make. A package manager makes some of them.
pub(crate) const RARE: [&str; 8] = [
    "chroot",
    "getsid",
    "inotify_rm_watch",
    "mincore",
    "msync",
    "sched_getparam",
    "sched_rr_get_interval",
    "truncate",
];

/// Calls of these names that a daemon has counted.
fn calls(metrics: &Series, names: &[&str]) -> f64 {
    let of_name = |name: &&str| {
        let series = format!("profiler_syscalls_total{{abi=\"x86_64\",syscall=\"{name}\"}}");
        metrics.get(&series).copied().unwrap_or(0.0)
    };
    names.iter().map(of_name).sum()
}

/// The number of stated calls of these names.
fn stated(statement: &Statement, names: &[&str]) -> f64 {
    let total = statement.total();
    names.iter().map(|name| total[&format!("x86_64/{name}")].calls as f64).sum()
}

/// Threads of the host, those of the kernel included.
pub(crate) fn threads_alive() -> u64 {
    let load = std::fs::read_to_string("/proc/loadavg").expect("/proc");
    let of_all = load.split(['/', ' ']).nth(4);
    of_all.and_then(|count| count.parse().ok()).expect("a count of threads")
}

/// Upper bound of the calls of other processes, by name.
type Foreign = BTreeMap<String, u64>;

/// Upper bound of the lost calls that a daemon reports. 0, except on kernels that skip programs.
#[track_caller]
pub(crate) fn loss(metrics: &Series) -> f64 {
    let is_of = |series: &str| {
        series.starts_with("profiler_lost_calls_total") || series == "profiler_lost_calls_unseen"
    };
    let loss = metrics.iter().filter(|(series, _)| is_of(series)).map(|(_, value)| value).sum();
    assert!(loss == 0.0 || kernel_skips_programs(), "{loss} calls were lost");
    if loss > 0.0 {
        println!("{LOST} {loss} or fewer calls");
    }
    loss
}

/// Checks that the stated calls were added to each series. For a daemon that watches only the
/// workload.
#[track_caller]
pub(crate) fn assert_added(before: &Series, after: &Series, statement: &Statement, names: &[&str]) {
    assert_added_beside(before, after, statement, names, &Foreign::new());
}

/// Same as [`assert_added`], if other processes made calls of these names too.
#[track_caller]
fn assert_added_beside(
    before: &Series,
    after: &Series,
    statement: &Statement,
    names: &[&str],
    foreign: &Foreign,
) {
    let added = |series: &str| {
        let at = |all: &Series| all.get(series).copied().unwrap_or(0.0);
        at(after) - at(before)
    };
    let loss = loss(after);
    for name in names {
        let call = format!("x86_64/{name}");
        let made = &statement.total()[&call];
        let of_others = foreign.get(*name).copied().unwrap_or(0) as f64;
        let as_stated = |series: &str, stated: f64| {
            let (added, most) = (added(series), stated + of_others);
            assert!(
                (stated - loss..=most).contains(&added),
                "{series}: {added}, stated {stated}, by others {of_others} or fewer"
            );
        };
        let labels = format!("abi=\"x86_64\",syscall=\"{name}\"");
        let calls = made.calls as f64;
        as_stated(&format!("profiler_syscalls_total{{{labels}}}"), calls);
        as_stated(&format!("profiler_syscall_duration_seconds_count{{{labels}}}"), calls);
        let longest = format!("profiler_syscall_duration_seconds_bucket{{{labels},le=\"+Inf\"}}");
        as_stated(&longest, calls);
        for (errno, &count) in &made.errnos {
            let series = format!("profiler_syscall_errors_total{{{labels},errno=\"{errno}\"}}");
            as_stated(&series, count as f64);
        }
    }
}

/// The metrics have every call of eight threads and a hundred processes.
pub(crate) fn serves_exact_counts(mode: Mode) {
    let name = Name::new();
    let daemon = Daemon::start_watching(mode, &name);
    let before = daemon.metrics();
    let workload = ["counts", "threads=8", "calls=500", "processes=100", &name.arg()];
    let statement = Held::start(&workload).go();
    let after = daemon.metrics();
    assert_added(&before, &after, &statement, &RARE);
    assert!(!after.keys().any(|series| series.contains("pid=")));
    daemon.end();
}

/// The same with the whole host. Another profiler reports how many of these calls other processes
/// make meanwhile, for example a package manager.
pub(crate) fn serves_exact_counts_of_the_host(mode: Mode) {
    let daemon = Daemon::start(mode);
    let rare = RARE.join(",");
    let witness = Stat::new(Mode::Main).args(["--all", "--syscall", &rare]).by_process_and_call();
    let witness = witness.start().attached();
    let before = daemon.metrics();
    let statement = Held::start(&["counts", "threads=8", "calls=500", "processes=100"]).go();
    let after = daemon.metrics();
    let foreign = foreign(&witness.interrupt(), &statement);
    assert_added_beside(&before, &after, &statement, &RARE, &foreign);
    daemon.end();
}

/// The calls of processes that are not in the statement, by name.
fn foreign(report: &Report, statement: &Statement) -> Foreign {
    let own: BTreeSet<u32> = statement.processes.iter().map(|process| process.pid).collect();
    let is_own = |row: &&Row| row.pid.is_some_and(|pid| own.contains(&pid));
    let mut foreign = Foreign::new();
    for row in report.rows.iter().filter(|row| !is_own(row)) {
        let (Some(name), comm) = (&row.syscall, row.comm.as_deref().unwrap_or("?")) else {
            continue;
        };
        println!("note: {comm} ({:?}) made {} calls of {name} meanwhile", row.pid, row.calls);
        *foreign.entry(name.clone()).or_default() += row.calls;
    }
    foreign
}

/// SIGTERM ends the daemon within two seconds, and nothing stays in the kernel.
pub(crate) fn ends_in_time(mode: Mode) {
    let daemon = Daemon::start(mode);
    let pid = daemon.child.id();
    assert!(!kernel_ids(pid, "link_id").is_empty(), "it is attached");
    let took = daemon.end();
    assert!(took < Duration::from_secs(2), "{took:?}");
}

/// After attaching, the daemon has no capability, or only CAP_BPF on kernels that require it for
/// every use of a map.
pub(crate) fn gives_up_its_privileges(mode: Mode) {
    let name = Name::new();
    let daemon = Daemon::start_watching(mode, &name);
    assert_confined(daemon.child.id(), 65534);
    // The daemon continues to work without capabilities.
    let before = daemon.metrics();
    let workload = ["counts", "threads=1", "calls=100", "processes=20", &name.arg()];
    let statement = Held::start(&workload).go();
    assert_added(&before, &daemon.metrics(), &statement, &RARE);
    daemon.end();
}
