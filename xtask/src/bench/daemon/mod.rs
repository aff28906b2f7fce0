//! `cargo xtask bench daemon`: measures the cost of the user side, on the executable that users
//! run.

mod client;
mod groups;
pub(crate) mod load;
mod report;
mod storm;
mod top;
mod watched;
#[cfg(feature = "bench")]
mod web;

use std::{
    env, fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use clap::ValueEnum;

use self::{
    report::{Figure, Report, Section, quantiles},
    storm::{Storm, Times},
    watched::Daemon,
};
use super::start::{become_root, executable};
use crate::workspace::output;

/// `cargo xtask bench daemon`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Measure only this part
    #[arg(long, value_enum, value_name = "PART")]
    only: Vec<Part>,
    /// How long the daemon is measured under each load, seconds
    #[arg(long, value_name = "N", default_value_t = 15, value_parser = clap::value_parser!(u64).range(2..=3600))]
    seconds: u64,
    /// Processes of the larger loads
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1_000..=100_000))]
    processes: u32,
    /// Scrapes of each size
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    scrapes: u32,
    /// Measure this executable [default: build one]
    #[arg(long, value_name = "FILE")]
    profiler: Option<PathBuf>,
    /// Write the figures to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// The parts of the measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// The time from the start until attached, and until the first frames of `top`
    Start,
    /// 1,000 processes that each make 20 different calls per second
    Steady,
    /// Ten times as many processes, first all idle, then all active
    Growth,
    /// The duration of scrapes of /metrics
    Scrape,
    /// A group of metrics by container: its cost, and scrapes with 10,000 series
    Groups,
    /// Scrapes with 10,000 series over TLS with a password; 200 scrapes per second over TLS
    Web,
    /// Processes that start and end as fast as possible
    Storm,
}

/// Processes and calls of the usual load.
const PROCESSES: u32 = 1_000;
const CALLS: u32 = 20;

/// Flags for tables with space for all figures of the larger loads.
const ROOM: [&str; 4] = ["--max-threads", "131072", "--max-memory", "1024"];

/// How often a start is measured. There is a pause between two starts, because attaching waits for
/// a grace period if programs were detached shortly before (tracepoint.c).
const STARTS: u32 = 7;
const BETWEEN_STARTS: Duration = Duration::from_secs(1);

/// The time between two scrapes. It exceeds the time for which the daemon reuses a response, so
/// that each scrape triggers a drain.
const BETWEEN_SCRAPES: Duration = Duration::from_millis(110);

/// The sysctl that makes the kernel time programs.
const STATS: &str = "/proc/sys/kernel/bpf_stats_enabled";

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let parts = if args.only.is_empty() { Part::value_variants() } else { &args.only };
    // The client over TLS requires the feature `bench`.
    #[cfg(not(feature = "bench"))]
    if parts.contains(&Part::Web) {
        return super::start_with_feature();
    }
    become_root()?;
    let profiler = executable(args.profiler.as_deref())?;
    let mut sections = Vec::new();
    for part in parts {
        eprintln!("{part:?} ...");
        match part {
            Part::Start => sections.push(start(&profiler)?),
            Part::Steady => sections.push(steady(&profiler, args)?),
            Part::Growth => sections.extend(growth(&profiler, args)?),
            Part::Scrape => sections.extend(scrape(&profiler, args)?),
            Part::Groups => sections.extend(groups::measure(&profiler, args)?),
            #[cfg(feature = "bench")]
            Part::Web => sections.extend(web::measure(&profiler, args)?),
            // Not reached: the command was started again with the feature above.
            #[cfg(not(feature = "bench"))]
            Part::Web => {}
            Part::Storm => sections.push(storm(&profiler, args)?),
        }
    }
    let report = Report { machine: machine()?, sections };
    print!("{report}");
    if let Some(file) = &args.json {
        fs::write(file, serde_json::to_string_pretty(&report)? + "\n")
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn machine() -> Result<String> {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo")?;
    let model = cpuinfo.lines().find(|line| line.starts_with("model name"));
    let model = model.and_then(|line| line.split_once(": ")).map_or("unknown CPU", |(_, m)| m);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let (cpus, date) = (thread_count()?, output(Command::new("date").arg("+%F"))?);
    Ok(format!("Linux {}, {model}, {cpus} CPUs, {date}.", kernel.trim_end()))
}

fn thread_count() -> Result<usize> {
    Ok(std::thread::available_parallelism()?.get())
}

/// A load. Dropping this value ends the load.
struct Load(Child);

impl Load {
    fn start(args: &[&str]) -> Result<Self> {
        let mut child = command(args)?.stdout(Stdio::piped()).spawn()?;
        let output = child.stdout.take().context("no pipe")?;
        let load = Self(child);
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        ensure!(line == "ready\n", "the load has not started: {line:?}");
        Ok(load)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        // Its children set a signal for the death of their parent.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn command(args: &[&str]) -> Result<Command> {
    let mut command = Command::new(env::current_exe()?);
    command.arg("bench-daemon-load").args(args);
    Ok(command)
}

fn start(profiler: &Path) -> Result<Section> {
    let mut times = [const { Vec::new() }; 3];
    for _ in 0..STARTS {
        sleep(BETWEEN_STARTS);
        times[0].push(Daemon::start(profiler, &[])?.attached_after);
        sleep(BETWEEN_STARTS);
        let (frame, figures) = top::frames(profiler)?;
        times[1].push(frame);
        times[2].push(figures);
    }
    let [attached, frame, figures] = times.map(|times| quantiles(times)[0]);
    Ok(Section {
        title: format!("Start, the median of {STARTS}"),
        figures: vec![
            Figure::time("daemon attached", attached).goal(150.0),
            Figure::time("first frame of `top`", frame).goal(300.0),
            Figure::time("first figures of `top`", figures),
        ],
    })
}

fn steady(profiler: &Path, args: &Args) -> Result<Section> {
    let daemon = Daemon::start(profiler, &[])?;
    let load = Load::start(&["--processes", &PROCESSES.to_string()])?;
    let mut figures = watch(&daemon, args.seconds)?;
    drop(load);
    for (figure, goal) in
        figures.iter_mut().zip([Some(0.5), Some(40.0), None, None, None, Some(64.0)])
    {
        if let Some(goal) = goal {
            figure.set_goal(goal);
        }
    }
    Ok(Section { title: format!("{PROCESSES} processes, {CALLS} calls per second each"), figures })
}

fn growth(profiler: &Path, args: &Args) -> Result<Vec<Section>> {
    let (processes, threads) = (args.processes, 2);
    let mut sections = Vec::new();
    for active in [0, PROCESSES, processes] {
        let daemon = Daemon::start(profiler, &ROOM)?;
        let (p, t, a) = (processes.to_string(), threads.to_string(), active.to_string());
        let load = Load::start(&["--processes", &p, "--threads", &t, "--active", &a])?;
        let mut figures = watch(&daemon, args.seconds)?;
        drop(load);
        if active == processes {
            // CPU, and resident memory in MiB.
            figures[0].set_goal(5.0);
            figures[1].set_goal(300.0);
        }
        sections.push(Section {
            title: format!(
                "{processes} processes of {threads} threads, {active} processes active",
            ),
            figures,
        });
    }
    Ok(sections)
}

/// Measures the daemon without scrapes.
fn watch(daemon: &Daemon, seconds: u64) -> Result<Vec<Figure>> {
    // The first drains read the figures so far.
    sleep(Duration::from_secs(3));
    let drains = |metrics: &std::collections::BTreeMap<String, f64>| {
        let of = |what| metrics.get(&format!("profiler_drain_duration_seconds_{what}")).copied();
        (of("sum").unwrap_or(0.0), of("count").unwrap_or(0.0))
    };
    let before = drains(&daemon.metrics()?);
    let (started, cpu) = (Instant::now(), daemon.cpu_time()?);
    sleep(Duration::from_secs(seconds));
    let busy = daemon.cpu_time()?.saturating_sub(cpu);
    let share = busy.as_secs_f64() / started.elapsed().as_secs_f64();
    let memory = daemon.memory()?;
    let metrics = daemon.metrics()?;
    let after = drains(&metrics);
    let drain = Duration::from_secs_f64((after.0 - before.0) / (after.1 - before.1).max(1.0));
    let gauge = |name: &str| metrics.get(name).copied().unwrap_or(0.0);
    Ok(vec![
        Figure::core("CPU", share),
        Figure::bytes("resident", memory.all()),
        Figure::bytes("of which heap and stacks", memory.own),
        Figure::bytes("of which executable and libraries", memory.files),
        Figure::bytes("of which the kernel's maps", memory.maps),
        Figure::bytes("kernel memory", gauge("profiler_kernel_memory_bytes") as u64),
        Figure::time("a drain", drain),
        Figure::time(
            "maximum time between two drains",
            Duration::from_secs_f64(gauge("profiler_drain_interval_seconds")),
        ),
        Figure::count("lost", lost(&metrics)),
        Figure::count("calls in no process", gauge("profiler_overflowed_calls_total")),
    ])
}

fn lost(metrics: &std::collections::BTreeMap<String, f64>) -> f64 {
    let of_loss = |name: &str| {
        ["profiler_lost_calls", "profiler_accounting_breaches"].iter().any(|l| name.starts_with(l))
    };
    metrics.iter().filter(|(name, _)| of_loss(name)).map(|(_, value)| value).sum()
}

fn scrape(profiler: &Path, args: &Args) -> Result<Vec<Section>> {
    let mut sections = Vec::new();
    for (wide, goal) in [(false, 5.0), (true, 50.0)] {
        let daemon = Daemon::start(profiler, &[])?;
        let mut of_load = vec!["--processes", "10"];
        if wide {
            of_load.push("--wide");
            of_load.extend(["--calls", "40"]);
        }
        let load = Load::start(&of_load)?;
        sections.push(time_scrapes(&daemon, args.scrapes, ("/metrics of", goal))?);
        drop(load);
    }
    Ok(sections)
}

/// Times scrapes of /metrics. `what` begins the title. `goal` is the goal of the 99th percentile,
/// milliseconds.
fn time_scrapes(daemon: &Daemon, scrapes: u32, (what, goal): (&str, f64)) -> Result<Section> {
    let mut times = Vec::new();
    let mut series = 0;
    for _ in 0..scrapes {
        sleep(BETWEEN_SCRAPES);
        let asked = Instant::now();
        let (status, body) = daemon.get("/metrics")?;
        times.push(asked.elapsed());
        ensure!(status == 200, "status {status}");
        series = body.lines().filter(|line| !line.starts_with('#')).count();
    }
    let [p50, p99] = quantiles(times);
    Ok(Section {
        title: format!("{what} {series} series, {scrapes} times"),
        figures: vec![Figure::time("p50", p50), Figure::time("p99", p99).goal(goal)],
    })
}

fn storm(profiler: &Path, args: &Args) -> Result<Section> {
    let (processes, calls) = (args.processes.to_string(), CALLS.to_string());
    let arguments = ["--storm", "--processes", &processes, "--calls", &calls];
    let storm =
        || -> Result<Storm> { Ok(serde_json::from_str(&output(&mut command(&arguments)?)?)?) };
    let unwatched = storm()?;
    let daemon = Daemon::start(profiler, &[])?;
    let watched = storm()?;
    // Measured separately, because timing the programs costs time itself.
    let counted = Stats::enable()?;
    let before = daemon.programs_ran()?.0;
    storm()?;
    let ran = daemon.programs_ran()?.0.saturating_sub(before);
    drop(counted);
    sleep(Duration::from_secs(2));
    let metrics = daemon.metrics()?;
    // Each process also makes calls to read its context switches and to end.
    let first_seen = f64::from(args.processes) * f64::from(CALLS + 2);
    let preempted = |of: &Times| (of.preempted as f64 * 1e6 / of.calls as f64).round();
    let slower = |a: u32, b: u32| f64::from(a) - f64::from(b);
    let overflowed = metrics.get("profiler_overflowed_calls_total").copied().unwrap_or(0.0);
    let ms = |storm: &Storm| Duration::from_secs_f64(storm.seconds);
    Ok(Section {
        title: format!("{processes} short-lived processes, each makes {calls} calls twice"),
        figures: vec![
            Figure::time("all processes, nothing attached", ms(&unwatched)),
            Figure::time("all processes, watched", ms(&watched)),
            Figure::count("lost calls", lost(&metrics)).goal(0.0),
            Figure::count("calls in no process", overflowed),
            Figure::nanoseconds(
                "eBPF programs, per first call of a process",
                ran.as_nanos() as f64 / first_seen,
            )
            .goal(5_000.0),
            Figure::nanoseconds(
                "added to a first call, median",
                slower(watched.first.ns[0], unwatched.first.ns[0]),
            )
            .goal(5_000.0),
            Figure::nanoseconds(
                "added to a first call, 99th percentile",
                slower(watched.first.ns[1], unwatched.first.ns[1]),
            )
            .goal(5_000.0),
            Figure::count("preempted per million first calls", preempted(&watched.first)),
            Figure::count("the same, nothing attached", preempted(&unwatched.first)),
            Figure::nanoseconds(
                "added to a second call, median",
                slower(watched.again.ns[0], unwatched.again.ns[0]),
            ),
        ],
    })
}

/// The kernel times programs until this value is dropped.
struct Stats(String);

impl Stats {
    fn enable() -> Result<Self> {
        let before = fs::read_to_string(STATS)?;
        fs::write(STATS, "1")?;
        Ok(Self(before))
    }
}

impl Drop for Stats {
    fn drop(&mut self) {
        let _ = fs::write(STATS, self.0.trim_end());
    }
}
