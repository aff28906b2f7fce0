//! Reads the remaining privileges of this process from the kernel.

use std::{fmt, fs};

use caps::CapsHashSet;

use super::PrivilegeError;

/// Privileges and confinement of this process, read back from the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confinement {
    /// Real, effective, saved and file system user id.
    users: Vec<u32>,
    /// Real, effective, saved and file system group id.
    groups: Vec<u32>,
    further_groups: Vec<u32>,
    /// Capabilities in the inheritable, permitted, effective or ambient set.
    capabilities: CapsHashSet,
    no_new_privs: bool,
    seccomp_filters: u32,
    dumpable: bool,
}

impl Confinement {
    /// Reads the privileges of the calling thread. Threads that start later inherit them.
    ///
    /// # Errors
    /// [`PrivilegeError`] if they cannot be read.
    pub fn read() -> Result<Self, PrivilegeError> {
        let status =
            fs::read_to_string("/proc/thread-self/status").map_err(PrivilegeError::State)?;
        let failed = |what: &dyn fmt::Display| {
            PrivilegeError::Drop(format!("cannot read the remaining privileges: {what}"))
        };
        let dumpable = nix::sys::prctl::get_dumpable().map_err(|errno| failed(&errno))?;
        Self::parse(&status, dumpable)
            .ok_or_else(|| failed(&"/proc/thread-self/status lacks a field"))
    }

    fn parse(status: &str, dumpable: bool) -> Option<Self> {
        let text =
            |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let field = |name: &str| {
            let numbers = text(name)?.split_whitespace().map(|id| id.parse().ok());
            numbers.collect::<Option<Vec<u32>>>()
        };
        let number = |name| field(name)?.first().copied();
        let set = |name: &str| u64::from_str_radix(text(name)?.trim(), 16).ok();
        let held = set("CapInh")? | set("CapPrm")? | set("CapEff")? | set("CapAmb")?;
        // Mode 2 is filters (`SECCOMP_MODE_FILTER`). Their number is shown since Linux 5.9.
        let filtered = number("Seccomp")? == 2;
        Some(Self {
            users: field("Uid")?,
            groups: field("Gid")?,
            further_groups: field("Groups")?,
            capabilities: caps::all()
                .into_iter()
                .filter(|capability| held & capability.bitmask() != 0)
                .collect(),
            no_new_privs: number("NoNewPrivs")? == 1,
            seccomp_filters: if filtered { number("Seccomp_filters").unwrap_or(1) } else { 0 },
            dumpable,
        })
    }

    /// Describes what an attacker who takes over the process could use. Empty if the process has no
    /// unnecessary privilege.
    pub fn weaknesses(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut note = |is_so: bool, what: &str| {
            if is_so {
                found.push(what.to_owned());
            }
        };
        note(self.users.contains(&0), "it runs as root, which owns most files of the host");
        note(self.groups.contains(&0) || self.further_groups.contains(&0), "it is in root's group");
        note(!self.no_new_privs, "programs that it runs can gain privileges");
        note(self.seccomp_filters == 0, "no seccomp filter restricts its syscalls");
        note(self.dumpable, "processes of the same user can trace it and read its memory");
        found
    }
}

impl fmt::Display for Confinement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let distinct = |ids: &[u32]| {
            let mut ids = ids.to_vec();
            ids.sort_unstable();
            ids.dedup();
            ids.iter().map(u32::to_string).collect::<Vec<_>>().join(",")
        };
        write!(f, "uid {}, gid {}", distinct(&self.users), distinct(&self.groups))?;
        if !self.further_groups.is_empty() {
            write!(f, ", groups {}", distinct(&self.further_groups))?;
        }
        let mut capabilities: Vec<_> = self.capabilities.iter().map(ToString::to_string).collect();
        capabilities.sort_unstable();
        match capabilities.as_slice() {
            [] => write!(f, ", no capability")?,
            some => write!(f, ", {}", some.join(" "))?,
        }
        let yes = |is_so| if is_so { "yes" } else { "no" };
        write!(
            f,
            ", no_new_privs {}, seccomp filters {}, dumpable {}",
            yes(self.no_new_privs),
            self.seccomp_filters,
            yes(self.dumpable),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "Name:\tprofiler\nUid:\t65534\t65534\t65534\t65534\nGid:\t65534\t65534\t65534\t65534\n\
        Groups:\t \nCapInh:\t0\nCapPrm:\t0\nCapEff:\t0\nCapAmb:\t0\nNoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t3\n";

    #[test]
    fn what_is_left_is_told() {
        let confined = Confinement::parse(STATUS, false).expect("whole");
        assert_eq!(
            confined.to_string(),
            "uid 65534, gid 65534, no capability, no_new_privs yes, seccomp filters 3, dumpable no"
        );
        assert_eq!(confined.weaknesses(), <[String; 0]>::default());
        let bare = STATUS
            .replace("Uid:\t65534", "Uid:\t0")
            .replace("Groups:\t", "Groups:\t0 4")
            .replace("CapPrm:\t0", "CapPrm:\t0000008000000000")
            .replace("NoNewPrivs:\t1", "NoNewPrivs:\t0")
            .replace("Seccomp:\t2", "Seccomp:\t0");
        let bare = Confinement::parse(&bare, true).expect("whole");
        assert_eq!(
            bare.to_string(),
            "uid 0,65534, gid 65534, groups 0,4, CAP_BPF, no_new_privs no, seccomp filters 0, dumpable yes"
        );
        assert_eq!(bare.weaknesses().len(), 5);
    }

    #[test]
    fn the_kernel_says_it() {
        let now = Confinement::read().expect("a process may read its own state");
        assert_eq!(now.users[0], nix::unistd::getuid().as_raw());
    }
}
