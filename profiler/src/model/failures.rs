//! Calls that failed: on which path or address, and what is known about why.
//!
//! The figures of a snapshot say how many calls failed. What is here says on which targets they
//! failed, as far as the engine had space to note it.

use std::{
    collections::HashMap,
    hash::{Hash, Hasher},
    sync::Arc,
};

use profiler_common::call::CallKey;

use super::Process;
use crate::text::Untrusted;

/// The calls that failed, with their targets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failures {
    /// Whether targets are noted.
    pub coverage: FailureCoverage,
    /// The security modules in force; `None` if the kernel does not say.
    pub modules: Option<Arc<[Untrusted]>>,
    /// The calls that failed, in no order.
    pub groups: Vec<FailureGroup>,
}

/// Whether the targets of calls that fail are noted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FailureCoverage {
    /// They are not.
    #[default]
    NotNoted,
    /// They are, but the kernel does not report checks of capabilities.
    WithoutCapabilities,
    /// They are, with the capability that the kernel found missing.
    Noted,
}

/// The calls of one process to one syscall that failed with the same errno.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailureGroup {
    /// The process.
    pub process: Arc<Process>,
    /// The syscall.
    pub key: CallKey,
    /// The errno. `None` for denied calls without one.
    pub errno: Option<u16>,
    /// Whether seccomp or a tracer refused the calls before they entered.
    pub denied: bool,
    /// Calls whose target was noted, since the attach.
    pub noted: u64,
    /// Calls among them within the interval.
    pub recent: u64,
    /// The maximum number of calls of a target that is not listed any more.
    pub dropped: u64,
    /// The targets that are listed, in no order.
    pub targets: Vec<FailureTarget>,
}

/// How often calls failed on one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailureTarget {
    /// The target.
    pub target: Arc<Target>,
    /// The paths of the directories that relative paths start from, if they are known.
    pub directories: [Option<Arc<Untrusted>>; 2],
    /// The number of the capability that the kernel found missing last during the calls.
    pub capability: Option<u32>,
    /// Calls since the attach. A lower bound, by at most `missed`.
    pub calls: u64,
    /// Calls within the interval.
    pub recent: u64,
    /// The maximum number of calls before the target was listed.
    pub missed: u64,
}

/// What a call was about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Target {
    /// Its paths, at most two.
    pub paths: Vec<PathName>,
    /// The socket address.
    pub address: Option<Address>,
    /// The file descriptor.
    pub fd: Option<i32>,
}

/// A path, as the call had it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PathName {
    /// The bytes; `None` if they could not be read.
    pub bytes: Option<Vec<u8>>,
    /// Whether the path is longer.
    pub is_cut: bool,
    /// The directory that the path starts from, if the path is relative.
    pub directory: Option<Directory>,
}

/// A directory, and how the process names it.
#[derive(Clone, Copy, Debug, Eq)]
pub struct Directory {
    /// Its inode; 0 if it is unknown.
    pub inode: u64,
    /// The device of its file system.
    pub device: u64,
    /// The descriptor; `None` for the current directory.
    pub fd: Option<i32>,
}

/// The number of the descriptor does not matter if the directory is known.
impl PartialEq for Directory {
    fn eq(&self, other: &Self) -> bool {
        (self.inode, self.device) == (other.inode, other.device)
            && (self.inode != 0 || self.fd == other.fd)
    }
}

impl Hash for Directory {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.inode, self.device).hash(state);
    }
}

/// A socket address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    /// The bytes; `None` if they could not be read.
    pub bytes: Option<Vec<u8>>,
}

/// What names a group for good.
type GroupKey = (Option<u32>, u64, CallKey, Option<u16>, bool);

impl FailureGroup {
    fn name(&self) -> GroupKey {
        (self.process.tgid, self.process.start_ns, self.key, self.errno, self.denied)
    }

    /// Sets what is recent: what came since `previous`, or all of it without one.
    fn set_recent(&mut self, previous: Option<&Self>) {
        // A group that left the list and came back starts again.
        let previous = previous.filter(|previous| previous.noted <= self.noted);
        self.recent = self.noted - previous.map_or(0, |previous| previous.noted);
        let targets = previous.map_or(&[][..], |previous| &previous.targets);
        let before: HashMap<_, _> = targets
            .iter()
            .map(|target| ((&*target.target, target.capability), target.calls))
            .collect();
        for target in &mut self.targets {
            let before = before.get(&(&*target.target, target.capability)).copied();
            // A target that left the list and came back starts again.
            let before = before.filter(|&before| before <= target.calls);
            target.recent = target.calls - before.unwrap_or(0);
        }
    }
}

impl Failures {
    /// Sets what is recent in each group: what came since `previous`, or all of it without one.
    pub(super) fn set_recent(&mut self, previous: Option<&Self>) {
        let groups = previous.map_or(&[][..], |previous| &previous.groups);
        let before: HashMap<GroupKey, &FailureGroup> =
            groups.iter().map(|group| (group.name(), group)).collect();
        for group in &mut self.groups {
            let previous = before.get(&group.name()).copied();
            group.set_recent(previous);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(path: &str, calls: u64) -> FailureTarget {
        let path =
            PathName { bytes: Some(path.as_bytes().to_vec()), is_cut: false, directory: None };
        FailureTarget {
            target: Arc::new(Target { paths: vec![path], ..Target::default() }),
            directories: [None, None],
            capability: None,
            calls,
            recent: 0,
            missed: 0,
        }
    }

    fn failures(noted: u64, targets: Vec<FailureTarget>) -> Failures {
        let group = FailureGroup {
            process: Arc::new(Process::new(1, 1, "a")),
            key: CallKey(2),
            errno: Some(2),
            denied: false,
            noted,
            recent: 0,
            dropped: 0,
            targets,
        };
        Failures { coverage: FailureCoverage::Noted, modules: None, groups: vec![group] }
    }

    #[test]
    fn an_interval_has_what_came_in_it() {
        let first = failures(5, vec![target("/a", 3), target("/b", 2)]);
        let mut second = failures(9, vec![target("/a", 6), target("/c", 1), target("/b", 1)]);
        second.set_recent(Some(&first));
        let group = &second.groups[0];
        let recent: Vec<u64> = group.targets.iter().map(|target| target.recent).collect();
        // The last one was dropped, and listed again.
        assert_eq!((group.recent, recent), (4, vec![3, 1, 1]));
        second.set_recent(None);
        assert_eq!(second.groups[0].recent, 9);
    }

    #[test]
    fn a_known_directory_is_the_same_by_any_descriptor() {
        let directory = |inode, fd| Directory { inode, device: 1, fd };
        assert_eq!(directory(7, None), directory(7, Some(3)));
        assert_ne!(directory(0, None), directory(0, Some(3)));
    }
}
