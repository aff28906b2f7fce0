//! Flags that several commands share: what is followed, and the user of a command.

use std::{ffi::OsString, time::Duration};

use clap::Args;

use super::{List, lists};
use crate::{
    commands::error::Error,
    duration::{self, RunTime},
    launch::user::User,
};

/// What is followed, and for how long.
#[derive(Args, Debug)]
pub struct FollowArgs {
    /// Follow the whole host; the default if there is neither -p nor a command
    #[arg(short, long, conflicts_with_all = ["pid", "command"])]
    pub all: bool,
    /// Follow these processes, and the children that they start
    #[arg(short, long, value_name = "PID", value_parser = lists::pids, conflicts_with = "command")]
    pub pid: Vec<List<u32>>,
    /// Stop after this time, for example 500ms, 10s or 2m
    ///
    /// A number and a unit (ms, s, m, h), or a bare number of seconds: 10ms to 8760h.
    #[arg(short, long, value_name = "TIME")]
    pub duration: Option<RunTime>,
}

/// The user of a command.
#[derive(Args, Debug)]
pub struct UserArgs {
    /// Run the command as this user, by name or number
    ///
    /// The command gets the user's groups, and HOME, USER, LOGNAME and SHELL. Unless the user is
    /// root, the command has no capabilities. -u requires CAP_SETUID and CAP_SETGID, and a command.
    #[arg(short, long, value_name = "USER")]
    pub user: Option<String>,
}

impl UserArgs {
    /// Refuses a user without a command. `hint` is an example.
    ///
    /// # Errors
    /// [`Error::Usage`].
    pub(in crate::commands) fn check(
        &self,
        command: &[OsString],
        hint: &'static str,
    ) -> Result<(), Error> {
        if self.user.is_some() && command.is_empty() {
            return Err(Error::Usage { problem: "--user requires a command", hint });
        }
        Ok(())
    }

    /// The user, if the flag names one.
    ///
    /// # Errors
    /// [`Error::Launch`] if there is no such user, or the command cannot become it.
    pub(in crate::commands) fn find(&self) -> Result<Option<User>, Error> {
        Ok(self.user.as_deref().map(User::find).transpose()?)
    }
}

/// Parses `--slower`, with a bare number as seconds.
pub(super) fn slower(text: &str) -> Result<Duration, String> {
    let nanos = duration::parse_nanos(text).and_then(|nanos| u64::try_from(nanos).ok());
    nanos.map(Duration::from_nanos).ok_or_else(|| {
        "expected a number and a unit (ns, us, ms, s, m, h), for example 10ms or 50us".into()
    })
}
