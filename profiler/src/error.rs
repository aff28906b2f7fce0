//! What can go wrong, and the one place where it becomes a message, a hint and an
//! exit code.

use std::{io, net::SocketAddr, path::PathBuf};

use crate::{
    config::ConfigError,
    exhausted::Exhausted,
    filter::FilterError,
    kernel::KernelError,
    text::{self, Untrusted},
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
    /// What is to count cannot be told.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// A process to watch is not there.
    #[error("there is no process {0}")]
    NoSuchProcess(u32),
    /// What is to be watched is a thread.
    #[error("{id} is no process but a thread of process {process}, {name}")]
    NotAProcess {
        /// Id of the thread.
        id: u32,
        /// Its process.
        process: u32,
        /// The name of its process.
        name: Untrusted,
    },
    /// The command to run is not there.
    #[error("command not found: {0}")]
    CommandNotFound(Untrusted),
    /// The command to run cannot be run.
    #[error("cannot run {command}: {source}")]
    CommandFailed {
        /// The command.
        command: Untrusted,
        /// What the kernel said.
        source: io::Error,
    },
    /// The metrics address cannot be had.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the kernel said.
        source: io::Error,
    },
    /// The output cannot be written.
    #[error("cannot write {}: {source}", text::path(path))]
    Output {
        /// Where to.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The terminal cannot be used.
    #[error("cannot use the terminal: {0}")]
    Terminal(io::Error),
    /// Privileges cannot be dropped.
    #[error("cannot drop privileges: {0}")]
    Privilege(String),
    /// The thread that serves metrics is gone.
    #[error("metrics are no longer served: the thread that serves them panicked")]
    ServingEnded,
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
            Self::Filter(e) => e.hint(),
            Self::NoSuchProcess(_) => Some(
                "ids are those of the host's own pid namespace, as ps on the host shows them"
                    .into(),
            ),
            Self::CommandNotFound(_) => Some("give a path, or check PATH".into()),
            Self::Listen { address, source } => match source.kind() {
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
            },
            Self::NotAProcess { process, .. } => {
                Some(format!("-p {process} watches the process, with all its threads"))
            }
            Self::Io { source, .. } | Self::CommandFailed { source, .. } => {
                Exhausted::of(source).map(Exhausted::hint)
            }
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
            Self::Config(_) => 7,
            Self::Filter(e) => e.exit_code(),
            Self::NoSuchProcess(_) | Self::NotAProcess { .. } => 6,
            Self::CommandNotFound(_) => 127,
            Self::CommandFailed { .. } => 126,
            Self::Listen { .. } => 8,
            Self::Output { .. } => 9,
            Self::Unfit(code) => *code,
            Self::Terminal(_) | Self::Privilege(_) | Self::ServingEnded | Self::Io { .. } => 1,
        }
    }
}
