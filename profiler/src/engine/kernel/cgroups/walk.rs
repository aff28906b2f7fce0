//! The walk through the cgroups that exist.

use std::{
    fs,
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::Path,
};

use profiler_common::cgroup::V1;

use super::paths::Paths;
use crate::{engine::kernel::hierarchies::Hierarchies, text::Untrusted};

/// The maximum number of cgroups per hierarchy that a walk visits.
const MAX_WALKED: usize = 65_536;

/// The id of the root of version 2, which exists even if version 2 is not mounted
/// (`cgroup_setup_root`, kernel/cgroup/cgroup.c: the inode of each root is 1).
const UNIFIED_ROOT: u64 = 1;

/// Finds all cgroups that exist.
pub(super) fn walk_all(hierarchies: &Hierarchies, paths: &mut Paths) {
    paths.add(UNIFIED_ROOT, "/");
    let v1 = hierarchies.v1().and_then(|v1| v1.mount.as_deref());
    for (mount, mark) in [(hierarchies.unified.as_deref(), 0), (v1, V1)] {
        if let Some(mount) = mount {
            walk(mount, mark, paths);
        }
    }
}

fn walk(mount: &Path, mark: u64, paths: &mut Paths) {
    let mut left = vec![mount.to_owned()];
    let mut count = 0;
    while let Some(directory) = left.pop()
        && count < MAX_WALKED
    {
        count += 1;
        let Ok(found) = fs::metadata(&directory) else { continue };
        let below = directory.strip_prefix(mount).unwrap_or(Path::new(""));
        let path = [b"/", below.as_os_str().as_bytes()].concat();
        paths.add(found.ino() | mark, Untrusted::from_bytes(&path).raw());
        let entries = fs::read_dir(&directory).into_iter().flatten().flatten();
        let is_directory = |entry: &fs::DirEntry| entry.file_type().is_ok_and(|t| t.is_dir());
        left.extend(entries.filter(is_directory).map(|entry| entry.path()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_of_version_2_needs_no_mount() {
        let mut paths = Paths::default();
        walk_all(&Hierarchies::default(), &mut paths);
        assert_eq!(paths.of([1].into_iter())[&1].path.raw(), "/");
    }

    #[test]
    fn a_walk_finds_every_directory() {
        let root = tempfile::tempdir().expect("a directory");
        fs::create_dir_all(root.path().join("a.slice/b.service")).expect("directories");
        fs::write(root.path().join("cgroup.procs"), "").expect("a file");
        let mut paths = Paths::default();
        walk(root.path(), V1, &mut paths);
        let id = |path: &str| fs::metadata(root.path().join(path)).expect("there").ino() | V1;
        let ids = ["", "a.slice", "a.slice/b.service"].map(id);
        let known = paths.of(ids.into_iter());
        let found = ids.map(|id| known[&id].path.raw().to_owned());
        assert_eq!(found, ["/", "/a.slice", "/a.slice/b.service"]);
        walk(Path::new("/nowhere"), 0, &mut paths);
    }
}
