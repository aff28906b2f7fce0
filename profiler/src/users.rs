//! Looks up the users of this host.
//!
//! The C library looks users up through modules that it loads while the program runs
//! (nsswitch.conf(5)), for example for a directory service. A statically linked program cannot load
//! these modules: glibc's `getpwuid` then crashes. So a static build reads only /etc/passwd and
//! /etc/group.

use std::{ffi::CString, fs, path::PathBuf, str::FromStr};

use nix::{
    errno::Errno,
    unistd::{self, Gid, Uid},
};

/// A user: a line of /etc/passwd (passwd(5)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) uid: Uid,
    pub(crate) gid: Gid,
    pub(crate) home: PathBuf,
    pub(crate) shell: PathBuf,
}

/// Whether the program is statically linked.
const IS_STATIC: bool = cfg!(target_feature = "crt-static");

/// The user of this id, if there is one.
///
/// # Errors
/// If the list of users cannot be read.
pub(crate) fn by_id(uid: u32) -> Result<Option<Entry>, Errno> {
    if IS_STATIC {
        return Ok(entries()?.into_iter().find(|entry| entry.uid.as_raw() == uid));
    }
    Ok(unistd::User::from_uid(Uid::from_raw(uid))?.map(Entry::from))
}

/// The user of this name, if there is one.
///
/// # Errors
/// If the list of users cannot be read.
pub(crate) fn by_name(name: &str) -> Result<Option<Entry>, Errno> {
    if IS_STATIC {
        return Ok(entries()?.into_iter().find(|entry| entry.name == name));
    }
    Ok(unistd::User::from_name(name)?.map(Entry::from))
}

/// The groups of a user: its main group, and the groups that list the user as a member.
pub(crate) fn groups(entry: &Entry) -> Vec<Gid> {
    if IS_STATIC {
        let text = fs::read_to_string("/etc/group").unwrap_or_default();
        return groups_in(&text, entry);
    }
    CString::new(entry.name.as_str())
        .ok()
        .and_then(|name| unistd::getgrouplist(&name, entry.gid).ok())
        .unwrap_or_else(|| vec![entry.gid])
}

impl From<unistd::User> for Entry {
    fn from(user: unistd::User) -> Self {
        Self { name: user.name, uid: user.uid, gid: user.gid, home: user.dir, shell: user.shell }
    }
}

/// A line of /etc/passwd: `name:password:uid:gid:comment:home:shell`.
impl FromStr for Entry {
    type Err = ();

    fn from_str(line: &str) -> Result<Self, ()> {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, uid, gid, _, home, shell] = fields[..] else { return Err(()) };
        let id = |text: &str| text.parse::<u32>().map_err(|_| ());
        Ok(Self {
            name: name.into(),
            uid: Uid::from_raw(id(uid)?),
            gid: Gid::from_raw(id(gid)?),
            home: home.into(),
            shell: shell.into(),
        })
    }
}

/// Without the file, for example in a container, there are no users.
fn entries() -> Result<Vec<Entry>, Errno> {
    match fs::read_to_string("/etc/passwd") {
        Ok(text) => Ok(text.lines().filter_map(|line| line.parse().ok()).collect()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO))),
    }
}

/// The groups in a text like /etc/group: `name:password:gid:member,member` (group(5)).
fn groups_in(text: &str, entry: &Entry) -> Vec<Gid> {
    let of_line = |line: &str| {
        let fields: Vec<&str> = line.split(':').collect();
        let [_, _, gid, members] = fields[..] else { return None };
        let is_member = members.split(',').any(|member| member == entry.name);
        is_member.then(|| gid.parse().map(Gid::from_raw).ok())?
    };
    let others = text.lines().filter_map(of_line).filter(|gid| *gid != entry.gid);
    [entry.gid].into_iter().chain(others).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compares the files of this host with the C library.
    #[test]
    fn what_the_files_say_is_what_the_c_library_says() {
        let entries = entries().expect("a list of users");
        assert!(entries.iter().any(|entry| entry.uid.is_root()), "{entries:?}");
        let text = fs::read_to_string("/etc/group").expect("a list of groups");
        for entry in entries {
            let known = unistd::User::from_name(&entry.name).expect("a list of users");
            assert_eq!(known.map(Entry::from), Some(entry.clone()));
            let sorted = |mut groups: Vec<Gid>| {
                groups.sort_by_key(|gid| gid.as_raw());
                groups.dedup();
                groups
            };
            assert_eq!(sorted(groups_in(&text, &entry)), sorted(groups(&entry)), "{entry:?}");
        }
    }

    #[test]
    fn lines_of_another_form_are_no_users() {
        for line in
            ["", "#", "a:x:1:1", "a:x:-1:1::/:/bin/sh", "a:x:1:1:c:/:/bin/sh:more", "+::::::"]
        {
            assert_eq!(line.parse::<Entry>(), Err(()), "{line}");
        }
    }
}
