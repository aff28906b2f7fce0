//! `cargo xtask containers`: runs a program with known calls under real container runtimes and
//! systemd, and checks that the profiler reports its calls under the right container and unit.
//!
//! This is slow, and requires root and packages, so CI does not run it. Everything runs in a
//! separate mount namespace. The state of the runtimes is in memory, and is removed at the end.

mod measure;
mod part;
mod units;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
};

use self::part::Part;
use crate::{
    debian, privilege,
    workspace::{cargo, find_program, succeed, target_dir},
};

/// Check containers and units on real runtimes: runc, containerd, Podman, Docker, systemd
///
/// Missing runtimes are skipped, and the table says why.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Install what is missing first (Debian, as root)
    #[arg(long)]
    install: bool,
}

/// How often each process makes each call. The calls of one process take less than a millisecond.
const CALLS: u64 = 50;
/// How many processes make the calls, in succession.
const PROCESSES: u64 = 20;

/// A program with three calls that nothing else makes: one succeeds, one fails with EINVAL, and
/// seccomp denies the third.
const KNOWN: &str = r#"
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
int main(int argc, char **argv) {
    int calls = atoi(argv[1]), processes = atoi(argv[2]);
    for (int p = 0; p < processes; p++) {
        if (fork() == 0) {
            for (int n = 0; n < calls; n++) {
                syscall(SYS_sched_get_priority_min, 0);
                syscall(SYS_timer_getoverrun, -1);
                syscall(SYS_sched_get_priority_max, 0);
            }
            _exit(0);
        }
        wait(NULL);
    }
    return argc != 3;
}
"#;

/// The seccomp profile that denies the third call, in the format of the runtimes.
const SECCOMP: &str = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[
{"names":["sched_get_priority_max"],"action":"SCMP_ACT_ERRNO"}]}"#;

/// Directories with the state of runtimes. This command mounts file systems in memory there.
const STATE: [&str; 6] = [
    "/run/systemd",
    "/run/containerd",
    "/run/containers",
    "/run/libpod",
    "/var/lib/containers",
    "/var/lib/docker",
];

/// The cgroups that the runtimes create below the root of each hierarchy, and do not remove.
const CGROUPS: [&str; 8] = [
    "machine.slice",
    "user.slice",
    "libpod_parent",
    "docker",
    "default",
    "payload",
    "supervisor",
    units::SLICE,
];

/// What all runtimes use.
struct Setup {
    profiler: PathBuf,
    directory: PathBuf,
    /// A root directory that has only the program, which is statically linked.
    root: PathBuf,
    /// The mount point of cgroup version 2.
    cgroups: PathBuf,
}

impl Setup {
    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// The arguments of the program.
    fn arguments() -> [String; 2] {
        [CALLS.to_string(), PROCESSES.to_string()]
    }
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    ensure!(privilege::is_root(), "runtimes need root: run this again as root");
    if args.install {
        let missing =
            Part::ALL.into_iter().filter(|part| find_program(&[part.program()]).is_none());
        debian::install(&missing.map(Part::package).collect::<Vec<_>>())?;
    }
    succeed(cargo().args(["build", "--package", "profiler"]))?;
    let directory = tempfile::tempdir()?;
    let setup = Setup {
        profiler: target_dir().join("debug/profiler"),
        directory: directory.path().to_owned(),
        root: directory.path().join("root"),
        cgroups: cgroup_mount()?,
    };
    // systemd-nspawn requires these directories.
    for name in ["usr", "etc", "tmp", "proc", "sys", "dev", "run"] {
        fs::create_dir_all(setup.root.join(name))?;
    }
    fs::write(setup.root.join("etc/os-release"), "ID=none\n")?;
    let source = setup.path("known.c");
    fs::write(&source, KNOWN)?;
    let program = setup.root.join("known");
    succeed(Command::new("cc").args(["-static", "-O1", "-o"]).args([&program, &source]))?;
    fs::write(setup.path("seccomp.json"), SECCOMP)?;
    let cgroups = missing_cgroups()?;
    let made = hide_state()?;
    let mut table = Vec::new();
    for part in Part::ALL {
        let verdict = match find_program(&[part.program()]) {
            Some(_) => measure::measure(part, &setup),
            None => Ok(Verdict::Skipped(format!("{} is not installed", part.program()))),
        };
        table.push((part, verdict));
    }
    for path in made {
        let _ = nix::mount::umount(&path);
        let _ = fs::remove_dir(path);
    }
    for _ in 0..100 {
        // The last process may not have left its cgroup yet.
        cgroups.iter().filter(|path| path.exists()).for_each(|path| part::remove_empty(path));
        if !cgroups.iter().any(|path| path.exists()) {
            break;
        }
        thread::sleep(Duration::from_millis(20));
    }
    println!("| part | verdict |\n| --- | --- |");
    let mut failed = 0;
    for (part, verdict) in table {
        let told = match verdict {
            Ok(Verdict::Passed(what)) => format!("ok: {what}"),
            Ok(Verdict::Skipped(why)) => format!("skipped: {why}"),
            Err(error) => {
                failed += 1;
                format!("FAILED: {error:#}")
            }
        };
        println!("| {} | {told} |", part.name());
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The result of a runtime.
enum Verdict {
    Passed(String),
    Skipped(String),
}

/// The [`CGROUPS`] that do not exist, in each hierarchy.
fn missing_cgroups() -> Result<Vec<PathBuf>> {
    let mounts = fs::read_to_string("/proc/mounts")?;
    let of_line = |line: &str| {
        let mut fields = line.split(' ').skip(1);
        let point = fields.next()?;
        matches!(fields.next()?, "cgroup" | "cgroup2").then(|| PathBuf::from(point))
    };
    let points = mounts.lines().filter_map(of_line);
    let all = points.flat_map(|point| CGROUPS.map(|name| point.join(name)));
    Ok(all.filter(|path| !path.exists()).collect())
}

fn cgroup_mount() -> Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/mounts")?;
    let of_line = |line: &str| {
        let mut fields = line.split(' ').skip(1);
        let point = fields.next()?;
        (fields.next()? == "cgroup2").then(|| PathBuf::from(point))
    };
    mounts.lines().find_map(of_line).context("cgroups of version 2 are not mounted")
}

/// Mounts empty file systems on the directories with the state of runtimes. Returns the directories
/// that it created.
fn hide_state() -> Result<Vec<PathBuf>> {
    unshare(CloneFlags::CLONE_NEWNS).context("cannot make a mount namespace")?;
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
    let mut made = Vec::new();
    for path in STATE.map(Path::new) {
        if !path.exists() {
            fs::create_dir_all(path)?;
            made.push(path.to_owned());
        }
        mount(Some("tmpfs"), path, Some("tmpfs"), MsFlags::empty(), none)?;
    }
    // systemd checks this directory before it runs the manager of a user (sd_booted(3)).
    fs::create_dir_all("/run/systemd/system")?;
    Ok(made)
}
