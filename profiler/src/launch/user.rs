//! Runs a command as another user.

use std::{ffi::OsString, io};

use caps::{CapSet, Capability};
use nix::{
    errno::Errno,
    sys::prctl,
    unistd::{self, Gid, Uid},
};

use super::LaunchError;
use crate::{text::Untrusted, users};

/// A user. The profiler looks up the user before the fork, because only syscalls are safe
/// afterwards.
#[derive(Debug)]
pub(crate) struct User {
    uid: Uid,
    gid: Gid,
    /// All groups, including the main group.
    groups: Vec<Gid>,
    /// The environment variables of the command that depend on the user.
    environment: Vec<(&'static str, OsString)>,
}

impl User {
    /// Finds the user of this name or number. A number that the list of users lacks has a group
    /// of the same number, as in containers.
    ///
    /// # Errors
    /// [`LaunchError::NoSuchUser`], and [`LaunchError::CannotChangeUser`] if this process lacks a
    /// capability.
    pub(crate) fn find(name: &str) -> Result<Self, LaunchError> {
        let number = name.parse::<u32>().ok();
        let entry = match number {
            Some(number) => users::by_id(number),
            None => users::by_name(name),
        };
        let user = match (entry, number) {
            (Ok(Some(entry)), _) => Self::of(entry),
            // To setresuid(2), -1 means "no change".
            (_, Some(number)) if number < u32::MAX => Self::unlisted(number),
            _ => return Err(LaunchError::NoSuchUser(name.into())),
        };
        match lacking() {
            Some(lacking) => {
                Err(LaunchError::CannotChangeUser { user: Untrusted::from(name), lacking })
            }
            None => Ok(user),
        }
    }

    fn of(entry: users::Entry) -> Self {
        let groups = users::groups(&entry);
        Self {
            uid: entry.uid,
            gid: entry.gid,
            groups,
            environment: vec![
                ("HOME", entry.home.into()),
                ("USER", entry.name.clone().into()),
                ("LOGNAME", entry.name.into()),
                ("SHELL", entry.shell.into()),
            ],
        }
    }

    fn unlisted(number: u32) -> Self {
        let gid = Gid::from_raw(number);
        let name = OsString::from(number.to_string());
        Self {
            uid: Uid::from_raw(number),
            gid,
            groups: vec![gid],
            environment: vec![
                ("HOME", "/".into()),
                ("USER", name.clone()),
                ("LOGNAME", name),
                ("SHELL", "/bin/sh".into()),
            ],
        }
    }

    /// HOME, USER, LOGNAME and SHELL.
    pub(crate) fn environment(&self) -> impl Iterator<Item = (&'static str, OsString)> + '_ {
        self.environment.iter().cloned()
    }

    /// Makes the calling process run as this user, permanently. Safe between fork and exec, because
    /// it only makes syscalls.
    ///
    /// After the exec, a user other than root has no capabilities. The kernel would keep only
    /// ambient capabilities (`cap_bprm_creds_from_file`, security/commoncap.c), which this function
    /// drops.
    ///
    /// # Errors
    /// The kernel's.
    pub(crate) fn become_it(&self) -> io::Result<()> {
        if !self.uid.is_root() {
            clear_ambient()?;
            prctl::set_keepcaps(false)?;
        }
        unistd::setgroups(&self.groups)?;
        unistd::setresgid(self.gid, self.gid, self.gid)?;
        unistd::setresuid(self.uid, self.uid, self.uid)?;
        Ok(())
    }
}

/// Drops the ambient capabilities of the calling thread.
fn clear_ambient() -> Result<(), Errno> {
    let all = libc::PR_CAP_AMBIENT_CLEAR_ALL;
    // SAFETY: takes numbers only.
    Errno::result(unsafe { libc::prctl(libc::PR_CAP_AMBIENT, all, 0, 0, 0) }).map(drop)
}

/// Which of the capabilities that [`User::become_it`] requires this process lacks.
fn lacking() -> Option<&'static str> {
    let has = |capability| caps::has_cap(None, CapSet::Effective, capability).unwrap_or(false);
    match (has(Capability::CAP_SETUID), has(Capability::CAP_SETGID)) {
        (true, true) => None,
        (false, true) => Some("CAP_SETUID"),
        (true, false) => Some("CAP_SETGID"),
        (false, false) => Some("CAP_SETUID and CAP_SETGID"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_a_user_though_no_list_has_it() {
        let user = User::unlisted(3_999_999_999);
        assert_eq!(user.uid.as_raw(), user.gid.as_raw());
        assert_eq!(user.groups, [user.gid]);
        let names: Vec<_> = user.environment().map(|(name, _)| name).collect();
        assert_eq!(names, ["HOME", "USER", "LOGNAME", "SHELL"]);
    }

    #[test]
    fn a_listed_user_has_its_name_and_groups() {
        let entry = users::by_name("root").expect("a list").expect("every host has it");
        let user = User::of(entry);
        assert!(user.uid.is_root() && user.groups.contains(&user.gid));
        assert!(user.environment().any(|(name, value)| name == "USER" && value == "root"));
    }

    #[test]
    fn who_is_not_there_is_not_found() {
        for name in ["no-such-user", "", "-1", "4294967295"] {
            assert!(matches!(User::find(name), Err(LaunchError::NoSuchUser(_))), "{name:?}");
        }
    }
}
