//! Units of a real manager of the system, and how each runs the program.
//!
//! The manager is the first process of a pid namespace, and its root cgroup is a slice. So its units
//! have the paths that they have on a host with systemd, below one more slice.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;

use super::{
    Setup,
    part::{Server, wait_until, within},
};

/// The cgroup of the manager.
pub(super) const SLICE: &str = "profiler.slice";

/// The manager of the user has this id.
const USER: u32 = 65_534;

/// What the manager of a user is given.
const RUNTIME_DIRECTORY: &str = "/run/profiler-user";

/// A unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// A service.
    Service,
    /// A service that runs before the profiler does.
    Running,
    /// An instance of a template, in a slice within a slice. It ends after some 20 ms.
    Instance,
    /// A unit of the manager of a user, which the system's manager runs.
    OfUser,
}

impl Unit {
    /// The heading in the table.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Service => "systemd: a service",
            Self::Running => "systemd: a service that runs already",
            Self::Instance => "systemd: an instance of a template, in nested slices",
            Self::OfUser => "systemd: a unit of a user",
        }
    }

    /// The name of the unit.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Service => "profiler-known.service",
            Self::Running => "profiler-running.service",
            Self::Instance => "profiler-known@1.service",
            Self::OfUser => "profiler-user.service",
        }
    }

    /// The innermost slice of the unit, and the user whose manager runs it.
    pub(super) fn place(self) -> (&'static str, Option<u32>) {
        match self {
            Self::Service | Self::Running => ("system.slice", None),
            Self::Instance => ("profiler-known-deep.slice", None),
            Self::OfUser => ("app.slice", Some(USER)),
        }
    }

    /// The file of the unit: of the template, if it is an instance.
    fn file(self, setup: &Setup) -> (&'static str, String) {
        let known = setup.root.join("known");
        let program = format!("{} {}", known.display(), Setup::arguments().join(" "));
        let go = setup.path("go");
        let wait = format!("while ! test -e {}; do sleep 0.05; done", go.display());
        let (name, settings) = match self {
            Self::Service => (self.name(), format!("Type=exec\nExecStart={program}\n")),
            Self::Running => {
                let command = format!("/bin/sh -c '{wait}; exec {program}'");
                (self.name(), format!("Type=exec\nExecStart={command}\n"))
            }
            Self::Instance => {
                let slice = "Slice=profiler-known-deep.slice";
                let settings = format!("Type=oneshot\n{slice}\nExecStart={program}\n");
                ("profiler-known@.service", settings)
            }
            Self::OfUser => {
                (self.name(), format!("Type=oneshot\nSlice=app.slice\nExecStart={program}\n"))
            }
        };
        let filter = "SystemCallFilter=~sched_get_priority_max\nSystemCallErrorNumber=EPERM\n";
        (name, format!("[Unit]\nDefaultDependencies=no\n[Service]\n{settings}{filter}"))
    }

    /// Starts the manager, and what has to run before the profiler does.
    pub(super) fn prepare(self, setup: &Setup) -> Result<Vec<Server>> {
        let (of_system, of_user) = (setup.path("units"), setup.path("user-units"));
        fs::create_dir_all(&of_system)?;
        fs::create_dir_all(&of_user)?;
        let target = "[Unit]\nDefaultDependencies=no\n";
        fs::write(of_system.join("default.target"), target)?;
        fs::write(of_user.join("default.target"), target)?;
        let (name, file) = self.file(setup);
        let units = if self == Self::OfUser { &of_user } else { &of_system };
        fs::write(units.join(name), file)?;
        let manager = format!(
            "[Unit]\nDefaultDependencies=no\n[Service]\nType=notify\nUser=%i\n\
             Slice=user-%i.slice\nDelegate=yes\nRuntimeDirectory=profiler-user\n\
             Environment=XDG_RUNTIME_DIR={RUNTIME_DIRECTORY} SYSTEMD_UNIT_PATH={}\n\
             ExecStart=/lib/systemd/systemd --user\n",
            of_user.display()
        );
        fs::write(of_system.join("user@.service"), manager)?;
        // The program is run by a user who has nothing else.
        fs::set_permissions(&setup.directory, fs::Permissions::from_mode(0o755))?;
        let server = start_manager(setup)?;
        wait_until("the manager of the system answers", || {
            let asked = system_manager(setup).and_then(|mut manager| {
                Ok(manager.args(["systemctl", "is-system-running"]).output()?)
            });
            asked.is_ok_and(|output| output.status.success())
        })?;
        let first = match self {
            Self::Running => Some(self.name().to_owned()),
            Self::OfUser => Some(format!("user@{USER}.service")),
            Self::Service | Self::Instance => None,
        };
        if let Some(first) = first {
            let output = system_manager(setup)?.args(["systemctl", "start", &first]).output()?;
            ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(vec![server])
    }

    /// Has the unit run the program, and waits for its end.
    pub(super) fn command(self, setup: &Setup) -> Result<Command> {
        // `systemctl start --wait` needs D-Bus.
        const WAIT: &str = "while systemctl --quiet is-active \"$0\"; do sleep 0.05; done";
        let mut command = system_manager(setup)?;
        match self {
            Self::Service => {
                let start = format!("systemctl start \"$0\" && {WAIT}");
                command.args(["sh", "-c", &start, self.name()]);
            }
            Self::Running => {
                fs::write(setup.path("go"), "")?;
                command.args(["sh", "-c", WAIT, self.name()]);
            }
            Self::Instance => {
                command.args(["systemctl", "start", self.name()]);
            }
            Self::OfUser => {
                command.args(["setpriv", "--reuid", &USER.to_string(), "--clear-groups", "env"]);
                command.arg(format!("XDG_RUNTIME_DIR={RUNTIME_DIRECTORY}"));
                command.args(["systemctl", "--user", "start", self.name()]);
            }
        }
        Ok(command)
    }
}

/// Runs systemd as the first process of a pid namespace, in a cgroup that is a slice. It sees the
/// hierarchy of version 2 only, and can write to nothing but its own `/run`.
fn start_manager(setup: &Setup) -> Result<Server> {
    let script = "umount --lazy /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup && \
                  mount -o remount,bind,ro / && \
                  exec env --ignore-environment PATH=/usr/bin:/bin container=profiler \
                  SYSTEMD_UNIT_PATH=\"$0\" /lib/systemd/systemd --system";
    let mut command = within(
        &setup.cgroups.join(SLICE),
        &["unshare", "--pid", "--fork", "--kill-child", "--mount", "--mount-proc", "--uts"],
    )?;
    command.args(["--ipc", "--net", "sh", "-c", script]).arg(setup.path("units"));
    let server = Server::start(&mut command, &setup.path("manager.log"))?;
    fs::write(setup.path("manager.pid"), server.id().to_string())?;
    // unshare ignores the other signals, and the first process of the namespace dies with it.
    Ok(server.ended_by(Signal::SIGKILL))
}

/// A command in the namespaces of the manager.
fn system_manager(setup: &Setup) -> Result<Command> {
    let parent = fs::read_to_string(setup.path("manager.pid"))?;
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"))?;
    let manager = children.split_whitespace().next().context("the manager has ended")?;
    let mut command = Command::new("nsenter");
    command.args(["--target", manager, "--pid", "--mount"]);
    command.stdin(Stdio::null());
    Ok(command)
}
