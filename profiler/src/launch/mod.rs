//! Starts, follows, signals and reaps a command.

pub(crate) mod command;
mod confine;
pub(crate) mod interruptible;
pub(crate) mod relay;
pub(crate) mod user;
pub(crate) mod watched;

use std::io;

use crate::text::Untrusted;

/// Why a command or a process cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The process to watch does not exist.
    #[error("there is no process {0}")]
    NoSuchProcess(u32),
    /// The id is that of a thread, and not of a process.
    #[error("{id} is not a process, but a thread of process {process}, {name}")]
    NotAProcess {
        /// Id of the thread.
        id: u32,
        /// The id of its process.
        process: u32,
        /// The name of its process.
        name: Untrusted,
    },
    /// A process cannot be watched.
    #[error("cannot watch the process: {0}")]
    Watch(io::Error),
    /// Signals cannot be received.
    #[error("cannot watch for signals: {0}")]
    Signals(io::Error),
    /// The user of `--user` does not exist.
    #[error("there is no user {0}")]
    NoSuchUser(Untrusted),
    /// This process lacks the privilege to run a command as another user.
    #[error("cannot run the command as user {user}: requires {lacking}, which this process lacks")]
    CannotChangeUser {
        /// The user.
        user: Untrusted,
        /// The capabilities.
        lacking: &'static str,
    },
    /// The command does not exist.
    #[error("command not found: {0}")]
    CommandNotFound(Untrusted),
    /// The command exists, and cannot be executed.
    #[error("cannot run {command}: {source}")]
    CommandFailed {
        /// The command.
        command: Untrusted,
        /// The kernel's error.
        source: io::Error,
    },
}
