//! Starts, follows, signals and reaps a command.

pub(crate) mod command;
pub(crate) mod interruptible;
pub(crate) mod relay;
pub(crate) mod user;
pub(crate) mod watched;

use std::io;

use crate::text::Untrusted;

/// Why a command or a process cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// A process to watch is not there.
    #[error("there is no process {0}")]
    NoSuchProcess(u32),
    /// What is to be watched is a thread.
    #[error("{id} is not a process, but a thread of process {process}, {name}")]
    NotAProcess {
        /// Id of the thread.
        id: u32,
        /// Its process.
        process: u32,
        /// The name of its process.
        name: Untrusted,
    },
    /// A process cannot be watched.
    #[error("cannot watch the process: {0}")]
    Watch(io::Error),
    /// Signals cannot be watched for.
    #[error("cannot watch for signals: {0}")]
    Signals(io::Error),
    /// The user that is to run the command does not exist.
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
}
