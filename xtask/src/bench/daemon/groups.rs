//! Measures a daemon with a group of metrics by container, while many processes in many cgroups
//! make calls.

use std::{
    fs,
    path::{Path, PathBuf},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use super::{
    Args, BETWEEN_SCRAPES, CALLS, Load, PROCESSES,
    client::Request,
    report::{Figure, Section, quantiles},
    watch,
    watched::Daemon,
};

/// Number of containers.
const CONTAINERS: usize = 100;

/// The goal: 99 of 100 scrapes should be answered within this time, in milliseconds.
const GOAL_MS: f64 = 30.0;

/// Number of different calls with which a group has 10,000 series.
const CALLS_OF_WIDE: &str = "40";

/// Cgroups of version 2, with the paths of Docker. Dropping this value removes them.
pub(super) struct Cgroups(Vec<PathBuf>);

impl Cgroups {
    pub(super) fn new() -> Result<Self> {
        let mounts = fs::read_to_string("/proc/mounts")?;
        let mount = mounts.lines().find_map(|line| {
            let mut fields = line.split(' ').skip(1);
            let point = fields.next()?;
            (fields.next()? == "cgroup2").then_some(point)
        });
        let mount = Path::new(mount.context("cgroups of version 2 are not mounted")?);
        let root = mount.join(format!("profiler-bench-{}", std::process::id()));
        let docker = root.join("docker");
        let mut this = Self(vec![root, docker.clone()]);
        this.0.extend((0..CONTAINERS).map(|n| docker.join(format!("{n:012x}{n:052x}"))));
        for path in &this.0 {
            fs::create_dir(path).with_context(|| format!("cannot make {}", path.display()))?;
        }
        Ok(this)
    }

    /// Moves the processes of a load into the cgroups.
    pub(super) fn fill(&self, load: &Load) -> Result<()> {
        let load = load.0.id();
        let children = fs::read_to_string(format!("/proc/{load}/task/{load}/children"))?;
        for (n, process) in children.split_whitespace().enumerate() {
            fs::write(self.0[2 + n % CONTAINERS].join("cgroup.procs"), process)?;
        }
        Ok(())
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        for path in self.0.iter().rev() {
            // The last process may not have left the cgroup yet.
            for _ in 0..1_000 {
                if fs::remove_dir(path).is_ok() {
                    break;
                }
                sleep(Duration::from_millis(1));
            }
        }
    }
}

/// A configuration with a group by container whose limit allows all containers.
pub(super) struct Config(tempfile::NamedTempFile);

impl Config {
    pub(super) fn new() -> Result<Self> {
        let config = tempfile::NamedTempFile::new()?;
        let group = "[[metrics.groups]]\nname = \"containers\"\nby = [\"container\"]\ntop = 1000\n";
        fs::write(config.path(), group)?;
        Ok(Self(config))
    }

    pub(super) fn flags(&self) -> Result<[&str; 2]> {
        Ok([
            "--config",
            self.0.path().to_str().context("the path of the configuration is not UTF-8")?,
        ])
    }
}

/// Starts a process in each container. Their calls give the group 10,000 series.
pub(super) fn wide_load(cgroups: &Cgroups) -> Result<Load> {
    let processes = CONTAINERS.to_string();
    let load = Load::start(&["--processes", &processes, "--calls", CALLS_OF_WIDE])?;
    cgroups.fill(&load)?;
    sleep(Duration::from_secs(3));
    Ok(load)
}

pub(super) fn measure(profiler: &Path, args: &Args) -> Result<Vec<Section>> {
    let config = Config::new()?;
    let flags = config.flags()?;
    Ok(vec![steady(profiler, args, &flags)?, scrape(profiler, args, &flags)?])
}

fn steady(profiler: &Path, args: &Args, flags: &[&str]) -> Result<Section> {
    let cgroups = Cgroups::new()?;
    let daemon = Daemon::start(profiler, flags)?;
    let load = Load::start(&["--processes", &PROCESSES.to_string()])?;
    cgroups.fill(&load)?;
    let mut figures = watch(&daemon, args.seconds)?;
    let metrics = daemon.metrics()?;
    drop(load);
    figures[0].set_goal(1.0);
    figures[1].set_goal(48.0);
    let gauge = |name: &str| {
        let series = format!("profiler_group_{name}{{group=\"containers\"}}");
        metrics.get(&series).copied().unwrap_or(0.0)
    };
    ensure!(gauge("members") >= CONTAINERS as f64, "the processes are not in their containers");
    figures.push(Figure::count("series of the group", gauge("series")));
    Ok(Section {
        title: format!(
            "Groups by container: {PROCESSES} processes in {CONTAINERS} cgroups, {CALLS} calls per \
             second each"
        ),
        figures,
    })
}

fn scrape(profiler: &Path, args: &Args, flags: &[&str]) -> Result<Section> {
    let cgroups = Cgroups::new()?;
    let daemon = Daemon::start(profiler, flags)?;
    let load = wide_load(&cgroups)?;
    let section = formats(&daemon, args, "over TCP");
    drop(load);
    section
}

/// Times the responses in each format, plain and compressed.
pub(super) fn formats(daemon: &Daemon, args: &Args, what: &str) -> Result<Section> {
    const PATH: &str = "/metrics";
    let (text, protobuf) = (Request::text(PATH), Request::protobuf(PATH));
    let (_, page) = daemon.client().ask(&text)?;
    let samples = page.split(|&byte| byte == b'\n');
    let samples = samples.filter(|line| !line.is_empty() && line[0] != b'#').count();
    let mut figures = Vec::new();
    for (request, [median, most, bytes]) in [
        (text, ["text, median", "text, 99th percentile", "text, size"]),
        (
            text.compressed(),
            ["text with gzip, median", "text with gzip, 99th percentile", "text with gzip, size"],
        ),
        (protobuf, ["protobuf, median", "protobuf, 99th percentile", "protobuf, size"]),
        (
            protobuf.compressed(),
            [
                "protobuf with gzip, median",
                "protobuf with gzip, 99th percentile",
                "protobuf with gzip, size",
            ],
        ),
    ] {
        let mut size = 0;
        let mut times = Vec::new();
        for _ in 0..args.scrapes {
            sleep(BETWEEN_SCRAPES);
            let asked = Instant::now();
            let (status, body) = daemon.client().ask(&request)?;
            times.push(asked.elapsed());
            ensure!(status == 200, "status {status}");
            size = body.len() as u64;
        }
        let [p50, p99] = quantiles(times);
        figures.extend([
            Figure::time(median, p50),
            Figure::time(most, p99).goal(GOAL_MS),
            Figure::bytes(bytes, size),
        ]);
    }
    Ok(Section {
        title: format!("/metrics of {samples} samples {what}, {} times each", args.scrapes),
        figures,
    })
}
