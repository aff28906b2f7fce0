//! The cgroup hierarchies of the host that name the cgroups of records.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::filter::{MOUNTINFO, Mount, mounts};

/// Controllers of version 1 whose hierarchy can name cgroups, the best one first. systemd and the
/// container runtimes put every process into a cgroup of its own in these.
pub(super) const CONTROLLERS: [&str; 3] = ["pids", "memory", "cpu"];

/// The hierarchies that name the cgroups of records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Hierarchies {
    /// Where version 2 is mounted.
    pub(super) unified: Option<PathBuf>,
    /// The hierarchy of version 1 that names the cgroup of a task in the root of version 2.
    v1: Option<Version1>,
}

/// A hierarchy of version 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Version1 {
    /// Its controller.
    pub(super) controller: &'static str,
    /// Its id.
    pub(super) id: u32,
    /// Where it is mounted.
    pub(super) mount: Option<PathBuf>,
}

impl Hierarchies {
    /// Finds the hierarchies of this host.
    pub(super) fn find() -> Self {
        let read = |path| fs::read(path).unwrap_or_default();
        Self::parse(&read(MOUNTINFO), &read("/proc/self/cgroup"))
    }

    /// Out of the text of [`MOUNTINFO`] and of `/proc/self/cgroup` (cgroups(7)).
    fn parse(mountinfo: &[u8], cgroups: &[u8]) -> Self {
        // Paths begin at the root of a hierarchy, so a mount of a part of it is of no use.
        let whole = |kind: &[u8], controller: Option<&str>| {
            let is_wanted = |mount: &Mount<'_>| {
                mount.kind == kind
                    && controller.is_none_or(|name| mount.has_option(name.as_bytes()))
                    && mount.root() == Path::new("/")
            };
            mounts(mountinfo).find(is_wanted).map(|mount| mount.point())
        };
        let v1 = CONTROLLERS.into_iter().find_map(|controller| {
            let id = cgroups.split(|&byte| byte == b'\n').find_map(|line| {
                let mut fields = line.splitn(3, |&byte| byte == b':');
                let (id, controllers) = (fields.next()?, fields.next()?);
                let mut controllers = controllers.split(|&byte| byte == b',');
                controllers.any(|name| name == controller.as_bytes()).then_some(id)
            })?;
            let id = std::str::from_utf8(id).ok()?.parse().ok()?;
            Some(Version1 { controller, id, mount: whole(b"cgroup", Some(controller)) })
        });
        Self { unified: whole(b"cgroup2", None), v1 }
    }

    /// The hierarchy of version 1, if there is one.
    pub(super) fn v1(&self) -> Option<&Version1> {
        self.v1.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &[u8] = b"\
24 1 0:22 / /sys/fs/cgroup rw shared:5 - tmpfs tmpfs rw,mode=755
25 24 0:23 / /sys/fs/cgroup/memory rw,relatime shared:6 - cgroup cgroup rw,memory
26 24 0:24 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
27 24 0:25 /docker/x /mnt rw - cgroup cgroup rw,pids
28 24 0:25 / /sys/fs/cgroup/pi\\040ds rw - cgroup cgroup rw,pids
";

    #[test]
    fn the_hierarchies_are_found_by_their_kind() {
        let found = Hierarchies::parse(HYBRID, b"8:pids:/a\n4:memory:/b\n1:name=systemd:/\n0::/\n");
        let v1 = Version1 { controller: "pids", id: 8, mount: Some("/sys/fs/cgroup/pi ds".into()) };
        assert_eq!(
            found,
            Hierarchies { unified: Some("/sys/fs/cgroup/unified".into()), v1: Some(v1) }
        );
        let found = Hierarchies::parse(HYBRID, b"4:cpuacct,memory:/b\n0::/\n").v1;
        assert_eq!(found.map(|v1| (v1.controller, v1.id)), Some(("memory", 4)));
        assert_eq!(Hierarchies::parse(b"\n1 2\n- -\n", b"0::/\nx\n::\n"), Hierarchies::default());
    }
}
