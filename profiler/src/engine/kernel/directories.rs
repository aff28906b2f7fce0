//! The paths of the directories that relative paths start from.
//!
//! The kernel side notes the inode of a directory. `/proc` has a path for it, which may be that of
//! another directory by now. So a path counts only if it leads to the inode that was noted.

use std::{
    collections::HashMap,
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use profiler_common::failing::Directory;

use crate::text::{self, Untrusted};

/// Directories that are remembered, at most.
const MAX: usize = 1_024;

/// Bits of the minor number in `s_dev` (`MINORBITS`, include/linux/kdev_t.h).
const MINOR_BITS: u32 = 20;

/// Paths of directories, by inode and device.
#[derive(Debug, Default)]
pub(super) struct Directories {
    known: HashMap<(u64, u64), (PathBuf, Arc<Untrusted>)>,
}

impl Directories {
    /// The path of a directory of a process. `None` if it is not known for sure.
    pub(super) fn path(&mut self, process: u32, directory: Directory) -> Option<Arc<Untrusted>> {
        if directory.inode == 0 {
            return None;
        }
        let id = (directory.inode, device(directory.device));
        // It may have been renamed.
        if let Some((path, shown)) = self.known.get(&id)
            && leads_to(path, id)
        {
            return Some(Arc::clone(shown));
        }
        let link = match directory.fd {
            Directory::CURRENT => format!("/proc/{process}/cwd"),
            fd => format!("/proc/{process}/fd/{fd}"),
        };
        let path = leads_to(Path::new(&link), id).then(|| fs::read_link(&link).ok()).flatten();
        // The process has ended, or has another directory now.
        let path =
            path.or_else(|| std::env::current_dir().ok().filter(|path| leads_to(path, id)))?;
        if self.known.len() >= MAX {
            self.known.clear();
        }
        let shown = Arc::new(text::path(&path));
        self.known.insert(id, (path, Arc::clone(&shown)));
        Some(shown)
    }
}

/// A device as stat(2) has it.
pub(super) fn device(of_kernel: u32) -> u64 {
    let (major, minor) = (of_kernel >> MINOR_BITS, of_kernel & ((1 << MINOR_BITS) - 1));
    nix::sys::stat::makedev(major.into(), minor.into())
}

fn leads_to(path: &Path, id: (u64, u64)) -> bool {
    fs::metadata(path).is_ok_and(|found| (found.ino(), found.dev()) == id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(path: &Path, fd: i32) -> Directory {
        let found = fs::metadata(path).expect("a directory");
        let (major, minor) =
            (nix::sys::stat::major(found.dev()), nix::sys::stat::minor(found.dev()));
        let device = u32::try_from(major << MINOR_BITS | minor).expect("a device of the kernel");
        Directory { inode: found.ino(), device, fd }
    }

    #[test]
    fn a_path_counts_if_it_leads_to_the_directory() {
        let mut directories = Directories::default();
        let here = std::env::current_dir().expect("a directory");
        let own = std::process::id();
        let current = of(&here, Directory::CURRENT);
        let found = directories.path(own, current).expect("known");
        assert_eq!(found.raw(), here.to_str().expect("text"));
        // The process is in another directory.
        let other = of(Path::new("/proc"), Directory::CURRENT);
        assert_eq!(directories.path(own, other), None);
        // It is known from another process.
        assert_eq!(directories.path(0, current), Some(found));
        assert_eq!(directories.path(own, Directory::default()), None);
    }
}
