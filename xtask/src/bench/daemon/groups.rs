//! Measures a daemon with a group of metrics by container, while many processes in many cgroups
//! make calls.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    thread::sleep,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

use super::{
    Args, CALLS, Load, PROCESSES,
    report::{Figure, Section},
    time_scrapes, watch,
    watched::Daemon,
};

/// Number of containers.
const CONTAINERS: usize = 100;

/// Number of different calls with which a group has 10,000 series.
const CALLS_OF_WIDE: &str = "40";

/// Cgroups of version 2, with the paths of Docker. Dropping this value removes them.
struct Cgroups(Vec<PathBuf>);

impl Cgroups {
    fn new() -> Result<Self> {
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
    fn fill(&self, load: &Load) -> Result<()> {
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

pub(super) fn measure(profiler: &Path, args: &Args) -> Result<Vec<Section>> {
    let mut config = tempfile::NamedTempFile::new()?;
    let group = "[[metrics.groups]]\nname = \"containers\"\nby = [\"container\"]\ntop = 1000\n";
    config.write_all(group.as_bytes())?;
    let flags =
        ["--config", config.path().to_str().context("the path of the configuration is not UTF-8")?];
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
            "Groups by container: {PROCESSES} processes in {CONTAINERS} cgroups, {CALLS} calls each a \
             second"
        ),
        figures,
    })
}

fn scrape(profiler: &Path, args: &Args, flags: &[&str]) -> Result<Section> {
    let cgroups = Cgroups::new()?;
    let daemon = Daemon::start(profiler, flags)?;
    let processes = CONTAINERS.to_string();
    let load = Load::start(&["--processes", &processes, "--calls", CALLS_OF_WIDE])?;
    cgroups.fill(&load)?;
    sleep(Duration::from_secs(3));
    let section = time_scrapes(&daemon, args.scrapes, ("/metrics with groups,", 30.0));
    drop(load);
    section
}
