//! The errors of all commands, with their hints and exit codes.

use std::io;

use super::{config::ConfigError, seccomp::SeccompError, stat::BudgetError};
use crate::{
    address::Listen, engine::kernel::KernelError, exhausted::Exhausted, filter::FilterError,
    launch::LaunchError, logging::LoggingError, privilege::PrivilegeError, serve::ServeError,
    streams::OutputError,
};

/// Any failure of a command.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel side did not start.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The budget cannot be used.
    #[error(transparent)]
    Budget(#[from] BudgetError),
    /// A seccomp profile or an observation cannot be used.
    #[error(transparent)]
    Seccomp(#[from] SeccompError),
    /// The filters cannot be used.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// A command or a process cannot be watched.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// The metrics cannot be served.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// The output cannot be written.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// The log cannot be started or changed.
    #[error(transparent)]
    Logging(#[from] LoggingError),
    /// Privileges cannot be dropped.
    #[error(transparent)]
    Privilege(#[from] PrivilegeError),
    /// The terminal cannot be used.
    #[error("cannot use the terminal: {0}")]
    Terminal(io::Error),
    /// The thread that serves metrics has panicked.
    #[error("metrics are no longer served: the thread that serves them panicked")]
    ServingEnded,
    /// A combination of flags is invalid.
    #[error("{problem}")]
    Usage {
        /// What is wrong.
        problem: &'static str,
        /// What to do.
        hint: &'static str,
    },
    /// Any other I/O error.
    #[error("{context}: {source}")]
    Io {
        /// The failed operation.
        context: &'static str,
        /// The kernel's error.
        source: io::Error,
    },
    /// `doctor` found that the profiler cannot run, and has printed why. The exit code.
    #[error("the profiler cannot run on this host")]
    Unfit(u8),
}

impl Error {
    /// What the user can do, if that is known.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Kernel(e) => e.hint(),
            Self::Config(e) => e.hint(),
            Self::Budget(e) => e.hint(),
            Self::Seccomp(e) => e.hint(),
            Self::Filter(e) => e.hint(),
            Self::Launch(e) => hint_of_launch(e),
            Self::Serve(e) => hint_of_serve(e),
            Self::Usage { hint, .. } => Some((*hint).into()),
            Self::Io { source, .. } => Exhausted::of(source).map(Exhausted::hint),
            Self::Terminal(_) => {
                Some("`profiler top -b` prints plain text, and requires no terminal".into())
            }
            _ => None,
        }
    }

    /// The exit code, as `--help` lists them.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Kernel(e) => e.exit_code(),
            Self::Config(_) | Self::Budget(_) | Self::Seccomp(_) => 7,
            Self::Usage { .. } => 2,
            Self::Filter(e) => e.exit_code(),
            Self::Launch(e) => match e {
                LaunchError::NoSuchProcess(_) | LaunchError::NotAProcess { .. } => 6,
                LaunchError::NoSuchUser(_) => 2,
                LaunchError::CannotChangeUser { .. } => 3,
                LaunchError::CommandNotFound(_) => 127,
                LaunchError::CommandFailed { .. } => 126,
                LaunchError::Watch(_) | LaunchError::Signals(_) => 1,
            },
            Self::Serve(ServeError::Listen { .. } | ServeError::Inherited(_)) => 8,
            Self::Output(_) => 9,
            Self::Unfit(code) => *code,
            Self::Serve(ServeError::Start(_))
            | Self::Logging(_)
            | Self::Terminal(_)
            | Self::Privilege(_)
            | Self::ServingEnded
            | Self::Io { .. } => 1,
        }
    }
}

fn hint_of_launch(error: &LaunchError) -> Option<String> {
    match error {
        LaunchError::NoSuchProcess(_) => Some(
            "process ids are those of the host's pid namespace, as ps on the host shows them"
                .into(),
        ),
        LaunchError::NotAProcess { process, .. } => {
            Some(format!("-p {process} watches the process, with all its threads"))
        }
        LaunchError::NoSuchUser(_) => {
            Some("`getent passwd` lists the users; a number is accepted too".into())
        }
        LaunchError::CannotChangeUser { .. } => {
            Some("run the profiler as root, for example with sudo".into())
        }
        LaunchError::CommandNotFound(_) => Some("give a path, or check PATH".into()),
        LaunchError::CommandFailed { source, .. }
        | LaunchError::Watch(source)
        | LaunchError::Signals(source) => Exhausted::of(source).map(Exhausted::hint),
    }
}

fn hint_of_serve(error: &ServeError) -> Option<String> {
    let (address, source) = match error {
        ServeError::Listen { address, source } => (address, source),
        ServeError::Start(source) => return Exhausted::of(source).map(Exhausted::hint),
        ServeError::Inherited(_) => {
            return Some("in the socket unit, use only ListenStream=, and not Accept=yes".into());
        }
    };
    let Listen::Tcp(address) = address else {
        return match source.kind() {
            io::ErrorKind::AddrInUse => Some(
                "another program listens on this path; choose another path with --listen".into(),
            ),
            io::ErrorKind::NotFound => Some("the directory of the socket must exist".into()),
            _ => None,
        };
    };
    match source.kind() {
        io::ErrorKind::AddrInUse => Some(format!(
            "another program listens on this port, see `ss -ltnp 'sport = :{}'`; choose another with --listen",
            address.port()
        )),
        io::ErrorKind::PermissionDenied => {
            Some("ports below 1024 require CAP_NET_BIND_SERVICE; choose a higher port".into())
        }
        io::ErrorKind::AddrNotAvailable => {
            Some("this host does not have this address; `ip address` lists its addresses".into())
        }
        _ => Exhausted::of(source).map(Exhausted::hint),
    }
}
