//! The memory limit of this process's cgroup.

use std::{
    ffi::OsStr,
    fs,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use crate::filter::{MOUNTINFO, mounts};

/// Memory that growing tables leave free, bytes.
pub(super) const RESERVE: u64 = 2 * 1024 * 1024;

/// The memory cgroup with the least available memory: that of this process, or a parent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryLimit {
    /// Its directory.
    pub(super) cgroup: PathBuf,
    /// The names of its files and of their counters.
    files: &'static Files,
    /// The limit, bytes.
    pub bytes: u64,
    /// The part of the limit that is not used, bytes. Memory that the kernel can reclaim at any
    /// time, such as cached files, counts as not used.
    pub available: u64,
}

/// The names of the files of a version of cgroups.
#[derive(Debug, PartialEq, Eq)]
struct Files {
    limit: &'static str,
    usage: &'static str,
    /// In `memory.stat`.
    cached: [&'static str; 2],
}

const V1: Files = Files {
    limit: "memory.limit_in_bytes",
    usage: "memory.usage_in_bytes",
    cached: ["total_inactive_file", "total_active_file"],
};
const V2: Files = Files {
    limit: "memory.max",
    usage: "memory.current",
    cached: ["inactive_file", "active_file"],
};

impl MemoryLimit {
    /// Reads the limit with the least available memory. `None` if there is no limit, or if this
    /// process cannot see its cgroups.
    pub fn tightest() -> Option<Self> {
        let mountinfo = fs::read(MOUNTINFO).ok()?;
        let cgroups = fs::read("/proc/self/cgroup").ok()?;
        let lines = cgroups.split(|&byte| byte == b'\n');
        let of = |line: &[u8]| {
            let (kind, cgroup) = Kind::of(line)?;
            let (root, mount) = kind.mount(&mountinfo)?;
            // In a container the mount's root may be the container's own cgroup.
            let below = cgroup.strip_prefix(&root).unwrap_or(Path::new(""));
            Self::tightest_below(&mount, below, kind.files())
        };
        lines.filter_map(of).min_by_key(|limit| limit.available)
    }

    /// Reads the tightest limit of a cgroup and of the cgroups above it, up to the mount.
    fn tightest_below(mount: &Path, below: &Path, files: &'static Files) -> Option<Self> {
        let directories = below.ancestors().map(|path| mount.join(path));
        directories.filter_map(|path| Self::of(path, files)).min_by_key(|limit| limit.available)
    }

    fn of(cgroup: PathBuf, files: &'static Files) -> Option<Self> {
        let number = |name| fs::read_to_string(cgroup.join(name)).ok()?.trim().parse::<u64>().ok();
        // "max" is not a number. Version 1 has a number greater than all memory instead
        // (PAGE_COUNTER_MAX, include/linux/page_counter.h).
        let bytes = number(files.limit).filter(|&bytes| bytes < i64::MAX as u64 / 2)?;
        let stat = fs::read_to_string(cgroup.join("memory.stat")).unwrap_or_default();
        let cached: u64 = stat
            .lines()
            .filter_map(|line| line.split_once(' '))
            .filter(|(name, _)| files.cached.contains(name))
            .filter_map(|(_, bytes)| bytes.parse::<u64>().ok())
            .sum();
        let used = number(files.usage)?.saturating_sub(cached);
        Some(Self { cgroup, files, bytes, available: bytes.saturating_sub(used) })
    }

    /// Reads the limit of the same cgroup again.
    fn read_again(&self) -> Option<Self> {
        Self::of(self.cgroup.clone(), self.files)
    }

    /// Whether this process may use this many more bytes.
    pub(super) fn allows(&self, bytes: u64) -> bool {
        self.read_again().is_none_or(|now| now.available >= bytes + RESERVE)
    }
}

/// The versions of cgroups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Version 1, which has a hierarchy for memory.
    V1,
    /// Version 2, which has one hierarchy.
    V2,
}

impl Kind {
    /// Parses a line of `/proc/self/cgroup`, such as `4:memory:/a` or `0::/a`. `None` if the
    /// hierarchy does not limit memory (proc_cgroup_show, kernel/cgroup/cgroup.c).
    fn of(line: &[u8]) -> Option<(Self, PathBuf)> {
        let mut fields = line.splitn(3, |&byte| byte == b':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        let kind = if controllers.is_empty() {
            Self::V2
        } else if controllers.split(|&byte| byte == b',').any(|name| name == b"memory") {
            Self::V1
        } else {
            return None;
        };
        Some((kind, PathBuf::from(OsStr::from_bytes(path))))
    }

    /// Finds the root and the mount point of the hierarchy in the text of [`MOUNTINFO`].
    fn mount(self, mountinfo: &[u8]) -> Option<(PathBuf, PathBuf)> {
        let found = mounts(mountinfo).find(|mount| match self {
            Self::V1 => mount.kind == b"cgroup" && mount.has_option(b"memory"),
            Self::V2 => mount.kind == b"cgroup2",
        });
        found.map(|mount| (mount.root(), mount.point()))
    }

    fn files(self) -> &'static Files {
        match self {
            Self::V1 => &V1,
            Self::V2 => &V2,
        }
    }
}

#[cfg(test)]
impl MemoryLimit {
    /// A limit of a cgroup that does not exist.
    pub(super) fn fake(cgroup: &str, bytes: u64, available: u64) -> Self {
        Self { cgroup: cgroup.into(), files: &V2, bytes, available }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cgroup_and_its_mount_are_found_in_either_version() {
        let v1 = Kind::of(b"4:memory:/a/b").expect("a cgroup");
        assert_eq!(v1, (Kind::V1, PathBuf::from("/a/b")));
        assert_eq!(Kind::of(b"0::/a:b").expect("a cgroup"), (Kind::V2, PathBuf::from("/a:b")));
        assert_eq!(Kind::of(b"3:cpu,cpuacct:/"), None);
        assert_eq!(Kind::of(b""), None);
        let mounts = b"25 20 0:22 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n\
            26 20 0:23 /docker/1 /sys/fs/cgroup/memory rw,nosuid shared:3 - cgroup c rw,memory\n\
            27 20 0:24 / /sys/fs/cg\\0402 rw - cgroup2 cgroup2 rw,nsdelegate\n";
        let found = |kind: Kind| kind.mount(mounts).expect("a mount");
        assert_eq!(found(Kind::V1), ("/docker/1".into(), "/sys/fs/cgroup/memory".into()));
        assert_eq!(found(Kind::V2), ("/".into(), "/sys/fs/cg 2".into()));
    }

    #[test]
    fn the_tightest_cgroup_of_a_branch_is_found_and_what_can_be_had_back_is_left() {
        let mount = tempfile::tempdir().expect("a directory");
        let write = |path: &str, limit: &str, usage: u64, cached: u64| {
            let directory = mount.path().join(path);
            fs::create_dir_all(&directory).expect("a directory");
            fs::write(directory.join("memory.max"), limit).expect("a file");
            fs::write(directory.join("memory.current"), usage.to_string()).expect("a file");
            let stat = format!("anon 1\ninactive_file {cached}\nactive_file 1000\n");
            fs::write(directory.join("memory.stat"), stat).expect("a file");
        };
        write("a", "100000\n", 90_000, 19_000);
        write("a/b", "50000\n", 10_000, 0);
        write("a/b/c", "max\n", 10_000, 0);
        let of = |below| MemoryLimit::tightest_below(mount.path(), Path::new(below), &V2);
        let found = of("a/b/c").expect("a limit");
        assert_eq!((found.bytes, found.available), (100_000, 30_000));
        assert_eq!(found.cgroup, mount.path().join("a"));
        assert_eq!(of("d"), None);
        assert!(!found.allows(0), "some is left to others");
    }
}
