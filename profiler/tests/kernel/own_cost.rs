//! The profiler's own cost: the kernel's statistics, which are exact from before the attach, and
//! the cost of its process.

use std::{
    io,
    os::fd::{FromRawFd as _, OwnedFd},
    process::Command,
};

use serde::Deserialize;

use crate::{
    privilege::as_nobody,
    report::{Report, kernel_skips_programs},
    run::{Held, Mode, PROFILER, Stat, capabilities_are_bounded, wait_until},
    service::{Daemon, Name, RARE, Series, assert_added},
    workload::Statement,
};

/// The object `self` of `profiler stat --self --format json`.
#[derive(Deserialize, Debug, Clone)]
#[serde(deny_unknown_fields)]
pub(crate) struct Own {
    cpus: u64,
    programs_untimed: Option<String>,
    programs_ns: Option<u64>,
    programs_share: Option<f64>,
    ns_per_call: Option<f64>,
    programs: Vec<Program>,
    cpu_user_ns: u64,
    cpu_system_ns: u64,
    cpu_share: Option<f64>,
    cpu_to_attach_ns: u64,
    resident_bytes: u64,
    peak_resident_bytes: u64,
    kernel_memory_bytes: u64,
    drains: u64,
    drain_total_ns: u64,
    drain_median_ns: u64,
    drain_max_ns: u64,
    drain_last_ns: u64,
}

#[derive(Deserialize, Debug, Clone)]
#[serde(deny_unknown_fields)]
struct Program {
    program: String,
    copies: u64,
    runs: Option<u64>,
    run_ns: Option<u64>,
    mean_ns: Option<f64>,
    skipped: Option<u64>,
    jited_bytes: u64,
    verified_instructions: Option<u64>,
}

/// The maximum drift between the scheduler's clock, which measures CPU time, and the clock of all
/// other times: 500 ppm, the maximum slew of the time of day (`MAXFREQ`, kernel/time/ntp.c).
const SLEW: f64 = 1.0005;

/// The resolution of CPU time in an interval. User and system time are whole microseconds. Work
/// between reading the CPU time and reading the clock counts for the next interval.
const RESOLUTION_NS: f64 = 50_000.0;

impl Own {
    #[track_caller]
    fn of(report: &Report) -> &Self {
        let own = report.own.as_ref().expect("it was asked for");
        own.check();
        own
    }

    /// Checks properties of every measurement.
    #[track_caller]
    fn check(&self) {
        let Self { programs, .. } = self;
        let names: Vec<_> = programs.iter().map(|program| program.program.as_str()).collect();
        assert_eq!(names[..2], ["sys_enter", "sys_exit"], "these run at every call");
        for program in programs {
            assert!(program.jited_bytes > 0 && program.copies > 0, "{program:?}");
            assert_ne!(program.verified_instructions, Some(0), "{program:?}");
            assert_eq!(program.runs.is_some(), self.programs_untimed.is_none(), "{program:?}");
            assert_eq!(program.mean_ns.is_some(), program.runs.unwrap_or(0) > 0, "{program:?}");
            assert!(program.skipped.unwrap_or(0) == 0 || kernel_skips_programs(), "{program:?}");
        }
        let times = programs.iter().map(|program| program.run_ns);
        assert_eq!(times.sum::<Option<u64>>(), self.programs_ns, "{self:#?}");
        if let Some(share) = self.programs_share {
            assert!(share > 0.0 && share <= SLEW, "{self:#?}");
        }
        // The profiler has one thread. In a short interval that consists only of a drain, the
        // resolution matters.
        let cpu_ns = (self.cpu_user_ns + self.cpu_system_ns) as f64;
        let share = self.cpu_share.expect("time has passed");
        assert!(share <= SLEW || cpu_ns - cpu_ns / share <= RESOLUTION_NS, "{self:#?}");
        assert!(self.cpu_user_ns + self.cpu_system_ns > 0 && self.cpu_to_attach_ns > 0);
        assert!(self.resident_bytes > 0 && self.peak_resident_bytes >= self.resident_bytes);
        assert!(self.kernel_memory_bytes > 0 && self.cpus > 0);
        assert!(self.drains > 0 && self.drain_last_ns <= self.drain_max_ns, "{self:#?}");
        assert!(self.drain_median_ns <= self.drain_max_ns, "{self:#?}");
        assert!(self.drain_total_ns >= self.drain_max_ns, "{self:#?}");
        assert!(self.drain_total_ns <= self.drain_max_ns * self.drains, "{self:#?}");
    }

    #[track_caller]
    fn runs(&self, name: &str) -> u64 {
        let program = self.programs.iter().find(|program| program.program == name);
        program.expect("a program").runs.expect("it was timed")
    }
}

fn calls(report: &Report) -> u64 {
    report.rows.iter().map(|row| row.calls).sum()
}

/// The number of runs of the entry program equals the number of calls in all rows.
///
/// This is exact on a busy host too. The statistics are on before the program attaches, and both
/// numbers are read after it is detached. The whole host is watched, including the profiler itself.
#[track_caller]
fn assert_runs_are_calls(runs: u64, calls: u64) {
    if kernel_skips_programs() {
        // Several copies run at each call.
        assert!(runs >= calls, "{runs} runs, {calls} calls");
    } else {
        assert_eq!(runs, calls, "runs, and calls");
    }
}

fn of_all(mode: Mode) -> Stat {
    Stat::with_privileged_command(mode).args(["--all", "--include-self", "--self"])
}

/// Runs equal calls, for a workload and the rest of the host.
pub(crate) fn runs_are_calls(mode: Mode) {
    let running = of_all(mode).start().attached();
    let statement = Held::start(&["counts", "threads=4", "calls=500", "processes=50"]).go();
    let report = running.interrupt();
    let own = Own::of(&report);
    assert_runs_are_calls(own.runs("sys_enter"), calls(&report));
    assert!(calls(&report) >= stated(&statement));
    let left: u64 = report.rows.iter().map(|row| row.returned + row.restarted).sum();
    assert!(own.runs("sys_exit") >= left, "{left} calls left: {own:#?}");
    assert!(own.runs("process_fork") >= 50 && own.runs("process_exit") >= 50, "{own:#?}");
    assert_eq!(own.programs_untimed, None);
    assert!(own.ns_per_call.is_some_and(|ns| ns > 0.0), "{own:#?}");
}

fn stated(statement: &Statement) -> u64 {
    statement.total().values().map(|made| made.calls).sum()
}

/// The sum of runs over all intervals equals the runs of the whole run.
pub(crate) fn runs_of_intervals_are_calls(mode: Mode) {
    let running = of_all(mode).args(["--interval", "20ms"]).start().attached();
    Held::start(&["counts", "threads=2", "calls=5000", "processes=2"]).go();
    running.signal(libc::SIGINT);
    let reports = running.end().reports();
    assert!(reports.len() > 2, "the workload is too short for this test");
    let runs = reports.iter().map(|report| Own::of(report).runs("sys_enter")).sum();
    assert_runs_are_calls(runs, reports.iter().map(calls).sum());
    let drains: u64 = reports.iter().map(|report| Own::of(report).drains).sum();
    assert!(drains >= reports.len() as u64);
}

/// With a command, the rows have only its calls, but the programs run at every call of the host.
pub(crate) fn a_command_s_calls_are_runs(mode: Mode) {
    let stat = Stat::with_privileged_command(mode).args(["--self"]);
    let (report, statement) = stat.workload(&["counts", "threads=2", "calls=2000"]);
    report.has_exactly(&statement);
    let own = Own::of(&report);
    assert!(own.runs("sys_enter") >= calls(&report), "{own:#?}");
    assert!(own.programs_ns.is_some_and(|ns| ns <= (report.window_ns * own.cpus) * 1001 / 1000));
}

/// Without `--self`, the report has no cost.
pub(crate) fn without_the_flag_there_is_none(mode: Mode) {
    let (report, _) = Stat::new(mode).workload(&["counts", "calls=10"]);
    assert!(report.own.is_none());
}

/// With only CAP_BPF and CAP_PERFMON, the programs are not timed, and the report says why.
pub(crate) fn without_cap_sys_admin_it_says_what_is_missing(mode: Mode) {
    assert_eq!(sysctl(), "0", "kernel.bpf_stats_enabled: then nobody needs a privilege");
    let run = |format: &str| {
        let mut args = vec!["stat", "--self", "--format", format, "--output", "-"];
        args.extend(mode.flags());
        args.extend(["--", "sh", "-c", "exit 0"]);
        let output = as_nobody(",+bpf,+perfmon", &args);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("text")
    };
    let report = Report::parse(&run("json"));
    let own = Own::of(&report);
    let why = own.programs_untimed.as_deref().expect("a reason");
    assert!(why.contains("CAP_SYS_ADMIN") && why.contains("kernel.bpf_stats_enabled=1"), "{why}");
    let unknown = (own.programs_ns, own.programs_share, own.ns_per_call);
    assert_eq!(unknown, (None, None, None), "and not nothing");
    let table = run("table");
    assert!(table.contains("programs  not timed: requires CAP_SYS_ADMIN"), "{table}");
}

fn sysctl() -> String {
    let text = std::fs::read_to_string("/proc/sys/kernel/bpf_stats_enabled");
    text.expect("Linux 5.1").trim_end().to_owned()
}

/// `top` shows the cost in a separate line.
pub(crate) fn top_shows_it(mode: Mode) {
    let mut command = Command::new(PROFILER);
    command.args(["top", "--batch", "--self", "--interval", "200ms", "--iterations", "1"]);
    let output = command.args(mode.flags()).output().expect("the profiler");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("text");
    let line = text.lines().nth(3).expect("a fourth line");
    assert!(line.starts_with("programs ") && line.contains(" a call  "), "{text}");
}

/// Enables the kernel's statistics until the descriptor is dropped, as `bpftool prog profile` and
/// the sysctl do.
fn keep_statistics() -> OwnedFd {
    const BPF_ENABLE_STATS: libc::c_long = 32;
    // BPF_STATS_RUN_TIME, the only type there is, in the first field of `union bpf_attr`.
    let run_time = 0_u32;
    // SAFETY: the kernel reads four bytes of a live integer.
    let fd = unsafe {
        libc::syscall(libc::SYS_bpf, BPF_ENABLE_STATS, &raw const run_time, size_of::<u32>())
    };
    assert!(fd >= 0, "bpf(BPF_ENABLE_STATS): {}", io::Error::last_os_error());
    // SAFETY: the descriptor was just opened, and nothing else owns it.
    unsafe { OwnedFd::from_raw_fd(i32::try_from(fd).expect("a descriptor")) }
}

const ENABLED: &str = "profiler_program_statistics_enabled";
const RUNS: &str = "profiler_program_runs_total{program=\"sys_enter\"}";
const SECONDS: &str = "profiler_program_run_seconds_total{program=\"sys_enter\"}";
const JITED: &str = "profiler_program_jited_bytes{program=\"sys_exit\"}";

/// Without `--bpf-stats`, a daemon exports runs only while another process enables the statistics.
/// Afterwards, the metrics are absent.
pub(crate) fn a_daemon_exports_runs_while_they_are_counted(mode: Mode) {
    let name = Name::new();
    let daemon = Daemon::start_watching(mode, &name);
    let absent = |metrics: &Series| {
        assert_eq!(metrics[ENABLED], 0.0);
        for series in [RUNS, SECONDS, JITED] {
            assert!(!metrics.contains_key(series), "{series}");
        }
    };
    absent(&daemon.metrics());
    let kept = keep_statistics();
    let before = daemon.metrics();
    assert_eq!(before[ENABLED], 1.0);
    let statement = Held::start(&["counts", "threads=2", "calls=500", &name.arg()]).go();
    let after = daemon.metrics();
    assert_added(&before, &after, &statement, &RARE);
    assert!(after[RUNS] - before[RUNS] >= stated(&statement) as f64);
    assert!(after[SECONDS] > before[SECONDS]);
    drop(kept);
    absent(&daemon.metrics());
    daemon.end();
}

/// With `--bpf-stats`, the statistics are on from the start, although the daemon drops the
/// capability. If it never had the capability, it serves all other metrics.
pub(crate) fn a_daemon_s_flag_has_them_counted(mode: Mode) {
    let daemon = Daemon::start_with(mode, "200ms", &["--bpf-stats"]);
    let metrics = daemon.metrics();
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid()));
    let status = status.expect("a running process");
    let held = status.lines().find_map(|line| line.strip_prefix("CapEff:\t")).expect("a line");
    const CAP_SYS_ADMIN: u64 = 1 << 21;
    assert_eq!(u64::from_str_radix(held, 16).expect("hexadecimal") & CAP_SYS_ADMIN, 0);
    let timed = !capabilities_are_bounded();
    assert_eq!(metrics[ENABLED], f64::from(u8::from(timed)));
    for series in [RUNS, JITED] {
        assert_eq!(metrics.contains_key(series), timed, "{series}");
    }
    if timed {
        // By then, the daemon has answered scrapes, which make many calls.
        assert!(metrics[RUNS] > 10.0 && metrics[SECONDS] > 0.0 && metrics[JITED] > 0.0);
    }
    daemon.end();
}

/// Ticks per second in /proc/PID/stat.
const TICKS: f64 = 100.0;

/// The daemon's CPU time and memory equal those that the kernel reports for its process.
pub(crate) fn a_daemon_s_process_is_as_the_kernel_has_it(mode: Mode) {
    let daemon = Daemon::start_with(mode, "10ms", &[]);
    let seconds = || {
        let stat =
            std::fs::read_to_string(format!("/proc/{}/stat", daemon.pid())).expect("it runs");
        let fields: Vec<&str> = stat.rsplit(')').next().expect("a last part").split(' ').collect();
        // Fields 14 and 15, of which the first here is 2.
        let ticks = |at: usize| fields[at].parse::<f64>().expect("a number");
        (ticks(12) + ticks(13)) / TICKS
    };
    // Drains of a debug build on a busy host are further apart than configured.
    let drains = |metrics: &Series| metrics["profiler_drain_duration_seconds_count"];
    wait_until("it has drained ten times", || drains(&daemon.metrics()) >= 10.0);
    let before = seconds();
    let metrics = daemon.metrics();
    let after = seconds();
    let cpu = |mode: &str| metrics[&format!("profiler_cpu_seconds_total{{mode=\"{mode}\"}}")];
    let own = cpu("user") + cpu("system");
    // Two numbers are rounded down to ticks.
    assert!((before..=after + 2.0 / TICKS).contains(&own), "{before} {own} {after}");
    let resident = metrics["profiler_resident_memory_bytes"];
    assert!(resident > 0.0 && metrics["profiler_peak_resident_memory_bytes"] >= resident);
    // The duration of the previous scrape.
    assert!(metrics["profiler_scrape_duration_seconds_count"] >= 1.0);
    assert!(metrics["profiler_scrape_duration_seconds_sum"] > 0.0);
    let last = metrics["profiler_last_drain_duration_seconds"];
    assert!(last > 0.0 && last <= metrics["profiler_drain_duration_seconds_sum"]);
    daemon.end();
}
