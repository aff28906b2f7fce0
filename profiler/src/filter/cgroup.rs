//! Filters by cgroup: finds the mounted hierarchy, and the id of the cgroup at a path.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Component, Path, PathBuf},
};

use profiler_common::limits::CGROUP_LEVELS;

use super::mounts::{MOUNTINFO, mounts};
use crate::text::{self, Untrusted};

/// A cgroup of version 2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cgroup {
    /// The path from the root of the mounted hierarchy, such as `/system.slice`.
    pub path: Untrusted,
    /// The id: the inode of its directory. The kernel never reuses an id.
    pub id: u64,
    directory: PathBuf,
}

impl Cgroup {
    fn new(path: Untrusted, directory: PathBuf) -> Option<Self> {
        let found = fs::metadata(&directory).ok().filter(fs::Metadata::is_dir)?;
        Some(Self { path, id: found.ino(), directory })
    }

    /// Whether the cgroup still exists. A new cgroup with the same path has another id.
    pub fn is_there(&self) -> bool {
        fs::metadata(&self.directory).is_ok_and(|found| found.ino() == self.id)
    }
}

/// Why a path is not a cgroup of version 2.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// The hierarchy of version 2 is not mounted.
    #[error("cgroup version 2 is not mounted{}", only_v1(v1))]
    NoHierarchy {
        /// The mount points of the hierarchies of version 1.
        v1: Vec<PathBuf>,
    },
    /// The path is in a hierarchy of version 1.
    #[error(
        "{} is in the hierarchy of cgroup version 1 at {}; expected a cgroup of version 2",
        text::path(path),
        text::path(mount)
    )]
    Version1 {
        /// The path.
        path: PathBuf,
        /// The mount point of the hierarchy of version 1.
        mount: PathBuf,
        /// The mount point of the hierarchy of version 2.
        unified: PathBuf,
    },
    /// The cgroup does not exist.
    #[error("there is no cgroup {}", text::path(path))]
    NotFound {
        /// The directory in which the cgroup was expected.
        path: PathBuf,
        /// The nearest parent directory that exists.
        nearest: PathBuf,
        /// The cgroups in this parent directory.
        below: Vec<Untrusted>,
    },
    /// The cgroup is deeper than the levels that the kernel side compares.
    #[error("cgroup {path} is {levels} levels deep, which exceeds the limit of {}", CGROUP_LEVELS - 1)]
    TooDeep {
        /// The path.
        path: Untrusted,
        /// The number of levels.
        levels: usize,
    },
}

fn only_v1(mounts: &[PathBuf]) -> String {
    match mounts {
        [] => String::new(),
        [first, ..] => format!("; version 1 is, for example at {}", text::path(first)),
    }
}

/// The maximum number of cgroups in a hint.
const NAMED: usize = 8;

impl CgroupError {
    /// What the user can do.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoHierarchy { v1 } if v1.is_empty() => {
                "mount -t cgroup2 none /sys/fs/cgroup; or boot with \
                 systemd.unified_cgroup_hierarchy=1"
                    .into()
            }
            // If version 2 is mounted later, all processes are in its root.
            Self::NoHierarchy { .. } => "--unit, --container, --pod and --by cgroup work with \
                 version 1; for --cgroup, boot with systemd.unified_cgroup_hierarchy=1"
                .into(),
            Self::Version1 { unified, .. } => format!(
                "use a cgroup below {}; the line `0::` of /proc/PID/cgroup has the cgroup of a process",
                text::path(unified)
            ),
            Self::NotFound { nearest, below, .. } => {
                let has = match &below[..] {
                    [] => "has no cgroup below it".to_owned(),
                    all if all.len() > NAMED => format!("contains {}, ...", joined(&all[..NAMED])),
                    all => format!("contains {}", joined(all)),
                };
                format!(
                    "{} exists, and {has};\nthe line `0::` of /proc/PID/cgroup has the cgroup of a process",
                    text::path(nearest)
                )
            }
            Self::TooDeep { .. } => "use a cgroup above it".into(),
        })
    }
}

fn joined(names: &[Untrusted]) -> String {
    names.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Looks up the cgroups at these paths.
pub(super) fn resolve(paths: &[PathBuf]) -> Result<Vec<Cgroup>, CgroupError> {
    if paths.is_empty() {
        return Ok(Vec::new());
    }
    let mounts = Mounts::read();
    paths.iter().map(|path| mounts.find(path)).collect()
}

/// The mount point of the hierarchy of version 2. Without one: a mount point of version 1, if any.
pub fn mount() -> Result<PathBuf, Option<PathBuf>> {
    let Mounts { unified, v1 } = Mounts::read();
    unified.into_iter().next().ok_or_else(|| v1.into_iter().next())
}

/// The mount points of the cgroup hierarchies in this mount namespace.
#[derive(Debug, Default, PartialEq, Eq)]
struct Mounts {
    unified: Vec<PathBuf>,
    v1: Vec<PathBuf>,
}

impl Mounts {
    fn read() -> Self {
        Self::parse(&fs::read(MOUNTINFO).unwrap_or_default())
    }

    /// Parses the text of [`MOUNTINFO`].
    fn parse(text: &[u8]) -> Self {
        let mut found = Self::default();
        for mount in mounts(text) {
            match mount.kind {
                b"cgroup2" => found.unified.push(mount.point()),
                b"cgroup" => found.v1.push(mount.point()),
                _ => {}
            }
        }
        found
    }

    fn find(&self, path: &Path) -> Result<Cgroup, CgroupError> {
        let Some(first) = self.unified.first() else {
            return Err(CgroupError::NoHierarchy { v1: self.v1.clone() });
        };
        // Take the innermost mount: the hierarchy of version 2 may be mounted within a file system
        // that contains those of version 1.
        let within = |mounts: &[PathBuf]| {
            let around = mounts.iter().filter(|mount| path.starts_with(mount));
            around.max_by_key(|mount| mount.components().count()).cloned()
        };
        if let Some(mount) = within(&self.v1) {
            let (path, unified) = (path.to_owned(), first.clone());
            return Err(CgroupError::Version1 { path, mount, unified });
        }
        let mount = within(&self.unified).unwrap_or_else(|| first.clone());
        let relative = path.strip_prefix(&mount).unwrap_or(path);
        // Paths have the form of /proc/PID/cgroup, with a leading slash. `..` never leaves the
        // root.
        let mut parts: Vec<&std::ffi::OsStr> = Vec::new();
        for part in relative.components() {
            match part {
                Component::Normal(name) => parts.push(name),
                Component::ParentDir => drop(parts.pop()),
                Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
            }
        }
        let relative: PathBuf = parts.iter().collect();
        let shown = text::path(&Path::new("/").join(&relative));
        if parts.len() >= CGROUP_LEVELS as usize {
            return Err(CgroupError::TooDeep { path: shown, levels: parts.len() });
        }
        let full = mount.join(relative);
        Cgroup::new(shown, full.clone()).ok_or_else(|| not_found(full))
    }
}

fn not_found(path: PathBuf) -> CgroupError {
    let nearest = path.ancestors().find(|above| above.is_dir()).unwrap_or(Path::new("/"));
    let entries = fs::read_dir(nearest).into_iter().flatten().flatten();
    let mut below: Vec<_> = entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| Untrusted::from(&*entry.file_name()))
        .collect();
    below.sort();
    let nearest = nearest.to_owned();
    CgroupError::NotFound { path, nearest, below }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &[u8] = b"\
24 1 0:22 / /sys/fs/cgroup rw shared:5 - tmpfs tmpfs rw,mode=755
25 24 0:23 / /sys/fs/cgroup/memory rw,relatime shared:6 - cgroup cgroup rw,memory
26 24 0:24 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
27 24 0:25 / /mnt/a\\040b rw - cgroup2 none rw
";

    #[test]
    fn mounts_are_found_by_their_kind() {
        let mounts = Mounts::parse(HYBRID);
        let paths = |texts: &[&str]| texts.iter().map(PathBuf::from).collect::<Vec<_>>();
        assert_eq!(mounts.unified, paths(&["/sys/fs/cgroup/unified", "/mnt/a b"]));
        assert_eq!(mounts.v1, paths(&["/sys/fs/cgroup/memory"]));
        assert_eq!(Mounts::parse(b"\n1 2\n- -\n"), Mounts::default());
    }

    /// A directory tree in place of a mounted hierarchy.
    fn host() -> (tempfile::TempDir, Mounts) {
        let root = tempfile::tempdir().expect("a directory");
        fs::create_dir_all(root.path().join("unified/a.slice/b.service")).expect("directories");
        fs::create_dir_all(root.path().join("memory/a.slice")).expect("directories");
        fs::write(root.path().join("unified/cgroup.procs"), "").expect("a file");
        let mounts = Mounts {
            unified: vec![root.path().join("unified")],
            v1: vec![root.path().join("memory")],
        };
        (root, mounts)
    }

    #[test]
    fn a_path_is_relative_to_the_mount_or_below_it() {
        let (root, mounts) = host();
        let full = root.path().join("unified/a.slice/b.service");
        let service = Cgroup::new("/a.slice/b.service".into(), full.clone()).expect("it is there");
        for path in [
            "a.slice/b.service",
            "/a.slice/b.service",
            "./a.slice//b.service/",
            "../a.slice/b.service",
        ] {
            assert_eq!(mounts.find(Path::new(path)).expect(path), service);
        }
        assert_eq!(mounts.find(&full).expect("absolute"), service);
        assert_eq!(mounts.find(Path::new("/")).expect("the root").path.raw(), "/");
        assert!(service.is_there());
        fs::remove_dir(&full).expect("an empty one");
        assert!(!service.is_there());
    }

    #[test]
    fn what_is_no_cgroup_says_what_there_is() {
        let (root, mounts) = host();
        let told = |path: &Path| {
            let error = mounts.find(path).expect_err("no cgroup");
            let told = format!("{error}\n{}", error.hint().expect("a hint"));
            told.replace(root.path().to_str().expect("text"), "ROOT")
        };
        insta::assert_snapshot!(told(Path::new("a.slice/c.service")), @r"
        there is no cgroup ROOT/unified/a.slice/c.service
        ROOT/unified/a.slice exists, and contains b.service;
        the line `0::` of /proc/PID/cgroup has the cgroup of a process
        ");
        insta::assert_snapshot!(told(Path::new("cgroup.procs")), @r"
        there is no cgroup ROOT/unified/cgroup.procs
        ROOT/unified exists, and contains a.slice;
        the line `0::` of /proc/PID/cgroup has the cgroup of a process
        ");
        insta::assert_snapshot!(told(&root.path().join("memory/a.slice")), @r"
        ROOT/memory/a.slice is in the hierarchy of cgroup version 1 at ROOT/memory; expected a cgroup of version 2
        use a cgroup below ROOT/unified; the line `0::` of /proc/PID/cgroup has the cgroup of a process
        ");
        let deep: PathBuf = std::iter::repeat_n("x", 64).collect();
        assert!(matches!(mounts.find(&deep), Err(CgroupError::TooDeep { levels: 64, .. })));
    }

    #[test]
    fn without_version_2_there_is_none() {
        let mounts = Mounts { v1: vec!["/sys/fs/cgroup/memory".into()], ..Mounts::default() };
        let error = mounts.find(Path::new("a")).expect_err("none");
        assert_eq!(
            error.to_string(),
            "cgroup version 2 is not mounted; version 1 is, for example at /sys/fs/cgroup/memory"
        );
    }
}
