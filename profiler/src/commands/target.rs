//! What a command of the profiler watches: a command that it starts, processes, or the host.

use std::ffi::OsString;

use super::error::Error;
use crate::{
    launch::{command::Prepared, user::User, watched::Watched},
    model::Scope,
};

/// What is watched.
pub(super) struct Target {
    /// The command, which waits to be started.
    pub(super) command: Option<Prepared>,
    /// The processes of `-p`.
    pub(super) watched: Watched,
    /// The same for the kernel side.
    pub(super) scope: Scope,
}

impl Target {
    /// Prepares `command`, if there is one, to run as `user`. Otherwise finds the processes `pids`.
    ///
    /// # Errors
    /// [`Error::Launch`].
    pub(super) fn prepare(
        command: &[OsString],
        pids: Vec<u32>,
        user: Option<User>,
    ) -> Result<Self, Error> {
        let command = match command.split_first() {
            Some((program, arguments)) => Some(Prepared::new(program, arguments, user)?),
            None => None,
        };
        let watched = Watched::new(&pids)?;
        let scope = match (&command, pids.is_empty()) {
            (Some(command), _) => Scope::Processes(vec![command.pid()]),
            (None, false) => Scope::Processes(pids),
            (None, true) => Scope::Host,
        };
        Ok(Self { command, watched, scope })
    }
}
