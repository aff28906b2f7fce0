//! Runs the program with each runtime.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::{Value, json};

use super::{Setup, units::Unit};
use crate::workspace::{output, succeed};

/// A container id that no real container has.
const ID: &str = "5eed0c0b8f0d4e1c9a7b6c5d4e3f2a1b0c9d8e7f6a5b4c3d2e1f0a9b8c7d6e5f";
/// The name of the containers.
const NAME: &str = "profiler-known";

/// A runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Runc,
    Containerd,
    Podman,
    Docker,
    Nspawn,
    Systemd,
    Unit(Unit),
}

/// A process that is ended when this is dropped.
pub(super) struct Server {
    child: Child,
    /// Ends the process.
    signal: Signal,
}

impl Server {
    pub(super) fn start(command: &mut Command, log: &Path) -> Result<Self> {
        let log = fs::File::create(log)?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().with_context(|| format!("cannot run {command:?}"))?;
        Ok(Self { child, signal: Signal::SIGTERM })
    }

    pub(super) fn ended_by(self, signal: Signal) -> Self {
        let mut server = self;
        server.signal = signal;
        server
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Ok(pid) = i32::try_from(self.child.id()) {
            let _ = kill(Pid::from_raw(pid), self.signal);
        }
        let _ = self.child.wait();
    }
}

/// Waits until something is true.
pub(super) fn wait_until(what: &str, mut is_true: impl FnMut() -> bool) -> Result<()> {
    let start = Instant::now();
    while !is_true() {
        ensure!(start.elapsed() < Duration::from_secs(60), "{what}: not within a minute");
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

impl Part {
    pub(super) const ALL: [Self; 10] = [
        Self::Runc,
        Self::Containerd,
        Self::Podman,
        Self::Docker,
        Self::Nspawn,
        Self::Systemd,
        Self::Unit(Unit::Service),
        Self::Unit(Unit::Running),
        Self::Unit(Unit::Instance),
        Self::Unit(Unit::OfUser),
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Runc => "runc",
            Self::Containerd => "containerd (ctr)",
            Self::Podman => "Podman",
            Self::Docker => "Docker",
            Self::Nspawn => "systemd-nspawn",
            Self::Systemd => "systemd (a unit of a user's manager)",
            Self::Unit(unit) => unit.title(),
        }
    }

    pub(super) fn program(self) -> &'static str {
        match self {
            Self::Runc => "runc",
            Self::Containerd => "ctr",
            Self::Podman => "podman",
            Self::Docker => "dockerd",
            Self::Nspawn => "systemd-nspawn",
            Self::Systemd | Self::Unit(_) => "systemctl",
        }
    }

    pub(super) fn package(self) -> &'static str {
        match self {
            Self::Runc => "runc",
            Self::Containerd => "containerd",
            Self::Podman => "podman",
            Self::Docker => "docker.io",
            Self::Nspawn => "systemd-container",
            Self::Systemd | Self::Unit(_) => "systemd",
        }
    }

    /// The dimension of the calls, which is also the name of the filter, and their value in it: the
    /// name of a unit, or the name or id of a container.
    pub(super) fn place(self) -> (&'static str, &'static str) {
        match self {
            Self::Runc | Self::Containerd => ("container", ID),
            Self::Podman | Self::Docker | Self::Nspawn => ("container", NAME),
            Self::Systemd => ("unit", "profiler-known.service"),
            Self::Unit(unit) => ("unit", unit.name()),
        }
    }

    /// The slice and the user of the unit, if the part is one.
    pub(super) fn slice_and_user(self) -> Option<(&'static str, Option<u32>)> {
        match self {
            Self::Unit(unit) => Some(unit.place()),
            _ => None,
        }
    }

    /// Starts the servers that the runtime requires.
    pub(super) fn prepare(self, setup: &Setup) -> Result<Vec<Server>> {
        match self {
            Self::Runc => {
                let bundle = setup.path("bundle");
                fs::create_dir_all(&bundle)?;
                succeed(Command::new("runc").arg("spec").current_dir(&bundle))?;
                let path = bundle.join("config.json");
                let mut config: Value = serde_json::from_str(&fs::read_to_string(&path)?)?;
                let [calls, processes] = Setup::arguments();
                config["process"]["args"] = json!(["/known", calls, processes]);
                config["process"]["terminal"] = json!(false);
                // Raising limits requires CAP_SYS_RESOURCE.
                config["process"]["rlimits"] = json!([]);
                config["root"]["path"] = json!(setup.root);
                config["linux"]["seccomp"] = serde_json::from_str(super::SECCOMP)?;
                fs::write(path, config.to_string())?;
                Ok(Vec::new())
            }
            Self::Containerd => {
                let socket = setup.path("containerd.sock");
                let mut command = Command::new("containerd");
                command.arg("--address").arg(&socket).arg("--root").arg(setup.path("containerd"));
                command.args(["--state", "/run/containerd"]);
                let server = Server::start(&mut command, &setup.path("containerd.log"))?;
                let is_up = || {
                    let mut ctr = Command::new("ctr");
                    ctr.arg("--address").arg(&socket).arg("version");
                    ctr.output().is_ok_and(|output| output.status.success())
                };
                wait_until("containerd answers", is_up)?;
                Ok(vec![server])
            }
            Self::Docker => {
                let mut command = Command::new("dockerd");
                command.args(["--iptables=false", "--ip6tables=false", "--bridge=none"]);
                command.arg("--exec-root").arg(setup.path("docker-exec"));
                command.arg("--pidfile").arg(setup.path("docker.pid"));
                command.arg("--host").arg(self.docker_host(setup));
                let server = Server::start(&mut command, &setup.path("dockerd.log"))?;
                let is_up = || {
                    let output = self.docker(setup).arg("version").output();
                    output.is_ok_and(|output| output.status.success())
                };
                wait_until("dockerd answers", is_up)?;
                let image = setup.path("image.tar");
                let mut tar = Command::new("tar");
                succeed(tar.arg("-C").arg(&setup.root).arg("-cf").arg(&image).arg("."))?;
                output(self.docker(setup).arg("import").arg(&image).arg("profiler-known"))?;
                Ok(vec![server])
            }
            Self::Systemd => {
                let home = setup.path("xdg");
                let units = home.join("systemd/user");
                fs::create_dir_all(&units)?;
                let [calls, processes] = Setup::arguments();
                let program = setup.root.join("known");
                let unit = format!(
                    "[Service]\nType=oneshot\nExecStart={} {calls} {processes}\n\
                     SystemCallFilter=~sched_get_priority_max\nSystemCallErrorNumber=EPERM\n",
                    program.display()
                );
                fs::write(units.join(self.place().1), unit)?;
                // The cgroup in which systemd would start the manager of a user.
                let cgroup = setup.cgroups.join("user.slice/user-0.slice/user@0.service");
                let mut manager = within(&cgroup, &["/lib/systemd/systemd", "--user"])?;
                manager.env("XDG_RUNTIME_DIR", &home);
                let server = Server::start(&mut manager, &setup.path("systemd.log"))?;
                wait_until("the manager answers", || {
                    let output = self.systemctl(setup).arg("is-system-running").output();
                    output.is_ok_and(|output| !output.stdout.is_empty() && output.stderr.is_empty())
                })?;
                Ok(vec![server])
            }
            Self::Unit(unit) => unit.prepare(setup),
            Self::Podman | Self::Nspawn => Ok(Vec::new()),
        }
    }

    /// Runs the program, and waits for its end.
    pub(super) fn command(self, setup: &Setup) -> Result<Command> {
        let program = ["/known".to_owned()].into_iter().chain(Setup::arguments());
        let seccomp = setup.path("seccomp.json");
        let mut command = match self {
            Self::Runc => {
                let mut command = Command::new("runc");
                command.arg("--root").arg(setup.path("runc")).args(["run", "--bundle"]);
                command.arg(setup.path("bundle")).arg(ID);
                return Ok(command);
            }
            Self::Containerd => {
                let mut command = Command::new("ctr");
                command.arg("--address").arg(setup.path("containerd.sock"));
                command.args(["run", "--rm", "--seccomp", "--seccomp-profile"]).arg(seccomp);
                command.arg("--rootfs").arg(&setup.root).arg(ID);
                command
            }
            Self::Podman => {
                let mut command = Command::new("podman");
                // crun refuses hybrid cgroups. systemd may not be running.
                command.args(["--runtime", "runc", "--cgroup-manager", "cgroupfs", "run", "--rm"]);
                command.args(["--name", NAME, "--network", "none", "--log-driver", "none"]);
                command.args(["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=4096:4096"]);
                command.arg("--security-opt").arg(format!("seccomp={}", seccomp.display()));
                command.arg("--rootfs").arg(&setup.root);
                command
            }
            Self::Docker => {
                let mut command = self.docker(setup);
                command.args(["run", "--rm", "--name", NAME, "--network", "none"]);
                command.arg("--security-opt").arg(format!("seccomp={}", seccomp.display()));
                command.arg("profiler-known");
                command
            }
            Self::Nspawn => {
                // The cgroup that machined would create.
                let scope = format!("machine-{}.scope", NAME.replace('-', "\\x2d"));
                let cgroup = setup.cgroups.join("machine.slice").join(scope);
                let mut command = within(&cgroup, &["systemd-nspawn", "--quiet"])?;
                command.arg(format!("--machine={NAME}")).arg("--directory").arg(&setup.root);
                command.args(["--register=no", "--keep-unit", "--as-pid2", "--volatile=no"]);
                command.arg("--system-call-filter=~sched_get_priority_max");
                command
            }
            Self::Systemd => {
                let mut command = self.systemctl(setup);
                command.args(["start", self.place().1]);
                return Ok(command);
            }
            Self::Unit(unit) => return unit.command(setup),
        };
        command.args(program);
        Ok(command)
    }

    fn docker_host(self, setup: &Setup) -> String {
        format!("unix://{}", setup.path("docker.sock").display())
    }

    fn docker(self, setup: &Setup) -> Command {
        let mut command = Command::new("docker");
        command.arg("--host").arg(self.docker_host(setup));
        command
    }

    fn systemctl(self, setup: &Setup) -> Command {
        let mut command = Command::new("systemctl");
        command.arg("--user").env("XDG_RUNTIME_DIR", setup.path("xdg"));
        command
    }
}

/// Removes the cgroup at a path and the cgroups below it, if they are empty.
pub(super) fn remove_empty(path: &Path) {
    let below = fs::read_dir(path).into_iter().flatten().flatten();
    for entry in below.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        remove_empty(&entry.path());
    }
    let _ = fs::remove_dir(path);
}

/// A command that runs in this cgroup, which is created.
pub(super) fn within(cgroup: &Path, command: &[&str]) -> Result<Command> {
    fs::create_dir_all(cgroup).with_context(|| format!("cannot make {}", cgroup.display()))?;
    let mut shell = Command::new("sh");
    shell.args(["-c", "echo $$ >\"$0/cgroup.procs\" && exec \"$@\""]).arg(cgroup).args(command);
    Ok(shell)
}
