//! The user to which the daemon changes if root starts it.

use std::fmt;

use nix::{
    errno::Errno,
    unistd::{self, Gid, Uid, getresuid},
};

use super::PrivilegeError;
use crate::{text::Untrusted, users};

/// The default of the setting `user`. Its id is the same on all hosts, also on hosts without
/// /etc/passwd.
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
    /// Finds the user with this name or number. If no user has the number, the group has the same
    /// number.
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
                "there is no user {shown}; change the setting `user`"
            ))),
            Err(errno) => Err(unreadable(errno)),
        }
    }

    /// Whether this is the default user.
    pub(super) fn is_default(&self) -> bool {
        self.name == NOBODY
    }

    /// The user and group ids of this process after [`Self::become_it`].
    pub fn ids(&self) -> (u32, u32) {
        if is_root_somehow().unwrap_or(false) {
            return (self.uid.as_raw(), self.gid.as_raw());
        }
        (unistd::geteuid().as_raw(), unistd::getegid().as_raw())
    }

    /// Whether the user is root, which means that the process stays root.
    pub fn is_root(&self) -> bool {
        self.uid.is_root()
    }

    /// Changes this process to the user, permanently. Does nothing if the process is already
    /// unprivileged. The C library changes all threads (nptl(7)).
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

/// Whether any user id of this process is that of root.
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
        // A number that no user has.
        let some = User::find("3999999999").expect("any number will do");
        assert_eq!((some.uid.as_raw(), some.gid.as_raw()), (3_999_999_999, 3_999_999_999));
        let error = User::find("no-such-user").expect_err("there is none").to_string();
        assert!(error.contains("no-such-user") && error.contains("`user`"), "{error}");
    }
}
