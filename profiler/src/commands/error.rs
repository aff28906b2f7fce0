//! What can go wrong, and the one place where it becomes a message, a hint and an
//! exit code.

use std::io;

use super::{config::ConfigError, stat::BudgetError};
use crate::{
    address::Listen, engine::kernel::KernelError, exhausted::Exhausted, filter::FilterError,
    launch::LaunchError, logging::LoggingError, privilege::PrivilegeError, serve::ServeError,
    streams::OutputError,
};

/// Any failure of a command.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel side did not come up.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// The configuration is no good.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The budget of a run is no good.
    #[error(transparent)]
    Budget(#[from] BudgetError),
    /// What is to count cannot be told.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// A command or a process cannot be followed.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// Nothing can be served.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// The output cannot be written.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// Nothing can be logged.
    #[error(transparent)]
    Logging(#[from] LoggingError),
    /// Privileges cannot be dropped.
    #[error(transparent)]
    Privilege(#[from] PrivilegeError),
    /// The terminal cannot be used.
    #[error("cannot use the terminal: {0}")]
    Terminal(io::Error),
    /// The thread that serves metrics is gone.
    #[error("metrics are no longer served: the thread that serves them panicked")]
    ServingEnded,
    /// Flags that cannot be used so, and what to do instead.
    #[error("{problem}")]
    Usage {
        /// What is wrong.
        problem: &'static str,
        /// What to do.
        hint: &'static str,
    },
    /// Something that has no remedy of its own.
    #[error("{context}: {source}")]
    Io {
        /// What was being done.
        context: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// `doctor` found what keeps the profiler from running; it has said so.
    #[error("this host cannot run the profiler as it is")]
    Unfit(u8),
}

impl Error {
    /// What the user can do, if there is something.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Kernel(e) => e.hint(),
            Self::Config(e) => e.hint(),
            Self::Budget(e) => e.hint(),
            Self::Filter(e) => e.hint(),
            Self::Launch(e) => hint_of_launch(e),
            Self::Serve(e) => hint_of_serve(e),
            Self::Usage { hint, .. } => Some((*hint).into()),
            Self::Io { source, .. } => Exhausted::of(source).map(Exhausted::hint),
            Self::Terminal(_) => {
                Some("`profiler top -b` prints plain text and needs no terminal".into())
            }
            _ => None,
        }
    }

    /// The exit code, as `--help` lists them.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Kernel(e) => e.exit_code(),
            Self::Config(_) | Self::Budget(_) => 7,
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
            "ids are those of the host's own pid namespace, as ps on the host shows them".into(),
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
            return Some("a socket unit has ListenStream= lines only, and no Accept=yes".into());
        }
    };
    let Listen::Tcp(address) = address else {
        return match source.kind() {
            io::ErrorKind::AddrInUse => {
                Some("another program listens there; --listen chooses another path".into())
            }
            io::ErrorKind::NotFound => Some("the directory of the socket must exist".into()),
            _ => None,
        };
    };
    match source.kind() {
        io::ErrorKind::AddrInUse => Some(format!(
            "another program listens there; `ss -ltnp 'sport = :{}'` names it, --listen chooses another port",
            address.port()
        )),
        io::ErrorKind::PermissionDenied => {
            Some("ports below 1024 need CAP_NET_BIND_SERVICE; choose a higher one".into())
        }
        io::ErrorKind::AddrNotAvailable => {
            Some("this host has no such address; `ip address` lists those it has".into())
        }
        _ => Exhausted::of(source).map(Exhausted::hint),
    }
}
