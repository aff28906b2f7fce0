//! The unprivileged user that a daemon started as root becomes.

use std::fmt;

use nix::{
    errno::Errno,
    unistd::{self, Gid, Uid, getresuid},
};

use super::PrivilegeError;
use crate::{text::Untrusted, users};

/// The user of the default setting. It has this id by convention, whether or not the host
/// has a list of users.
pub const NOBODY: &str = "nobody";
const NOBODY_ID: u32 = 65534;

/// A user and its group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    name: String,
    uid: Uid,
    gid: Gid,
}

impl User {
    /// The user of this name or number. A number that no user has is a group as well.
    ///
    /// # Errors
    /// [`PrivilegeError`] if there is no such user.
    pub fn find(name: &str) -> Result<Self, PrivilegeError> {
        let shown = Untrusted::from(name);
        let unreadable =
            |errno: Errno| PrivilegeError::Drop(format!("cannot look up user {shown}: {errno}"));
        let of = |user: users::Entry| Self { name: user.name, uid: user.uid, gid: user.gid };
        let of_id =
            |id| Self { name: name.to_owned(), uid: Uid::from_raw(id), gid: Gid::from_raw(id) };
        if let Ok(id) = name.parse() {
            let found = users::by_id(id).map_err(unreadable)?;
            return Ok(found.map_or_else(|| of_id(id), of));
        }
        match users::by_name(name) {
            Ok(Some(user)) => Ok(of(user)),
            _ if name == NOBODY => Ok(of_id(NOBODY_ID)),
            Ok(None) => Err(PrivilegeError::Drop(format!(
                "there is no user {shown}; the setting `user` names one that exists"
            ))),
            Err(errno) => Err(unreadable(errno)),
        }
    }

    /// Whether it is that of the default setting.
    pub(super) fn is_default(&self) -> bool {
        self.name == NOBODY
    }

    /// The ids of the user and of its group that this process has after it has become this user.
    pub fn ids(&self) -> (u32, u32) {
        if is_root_somehow().unwrap_or(false) {
            return (self.uid.as_raw(), self.gid.as_raw());
        }
        (unistd::geteuid().as_raw(), unistd::getegid().as_raw())
    }

    /// Whether it is root, which is not to be changed.
    pub fn is_root(&self) -> bool {
        self.uid.is_root()
    }

    /// Makes it the user of this process, for good, unless the process is unprivileged
    /// already. The C library changes all threads (nptl(7)).
    pub(super) fn become_it(&self) -> Result<(), Errno> {
        if self.is_root() || !is_root_somehow()? {
            return Ok(());
        }
        unistd::setgroups(&[])?;
        unistd::setresgid(self.gid, self.gid, self.gid)?;
        unistd::setresuid(self.uid, self.uid, self.uid)
    }
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Untrusted::from(self.name.as_str()).fmt(f)
    }
}

/// Whether any of this process's user ids is root's.
fn is_root_somehow() -> Result<bool, Errno> {
    let ids = getresuid()?;
    Ok([ids.real, ids.effective, ids.saved].iter().any(|id| id.is_root()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_name_and_number() {
        let root = User::find("root").expect("every host has it");
        assert!(root.is_root() && root == User::find("0").expect("likewise"));
        let nobody = User::find(NOBODY).expect("there or not");
        assert!(!nobody.is_root());
        // A number that nobody has.
        let some = User::find("3999999999").expect("any number will do");
        assert_eq!((some.uid.as_raw(), some.gid.as_raw()), (3_999_999_999, 3_999_999_999));
        let error = User::find("no-such-user").expect_err("there is none").to_string();
        assert!(error.contains("no-such-user") && error.contains("`user`"), "{error}");
    }
}
