//! The targets of calls that failed, counted in a bounded list.
//!
//! # What the counts are
//!
//! A target that is listed is counted exactly from then on. If a group has too many targets, those
//! with the fewest calls leave the list at once, and the greatest of their counts is added to
//! [`FailureGroup::dropped`]. A target is dropped at most once each time, so it can have had at most
//! that many calls while it was listed before. Of a target that is listed (again), this is
//! [`FailureTarget::missed`]. So of `n` calls on a target: `calls <= n <= calls + missed`.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use profiler_common::{call::CallKey, limits::COMM_LEN};

use super::{Aggregate, Identity};
use crate::{
    model::{FailureGroup, FailureTarget, Process, Target},
    text::Untrusted,
};

/// The maximum number of targets of a group. Beyond that, half of them are dropped.
const MAX_TARGETS: usize = 1_024;

/// The maximum number of targets of all groups.
const MAX_ALL: usize = 32_768;

/// How many targets a group keeps if there are too many of all groups.
const FEW: usize = 32;

/// A failure that the engine noted.
#[derive(Clone, Debug)]
pub struct Failure<'a> {
    /// The process.
    pub process: Identity,
    /// The name of the process.
    pub comm: &'a [u8; COMM_LEN],
    /// The syscall.
    pub key: CallKey,
    /// The errno, if there is one.
    pub errno: Option<u16>,
    /// Whether seccomp or a tracer refused the call.
    pub denied: bool,
    /// The capability that the kernel found missing.
    pub capability: Option<u32>,
    /// The target.
    pub target: Target,
    /// The paths of the directories of the target, if they are known.
    pub directories: [Option<Arc<Untrusted>>; 2],
}

/// Process, syscall, errno, and whether the call was denied.
type GroupKey = (Identity, CallKey, Option<u16>, bool);

/// The targets of calls that failed, by process, syscall and errno.
#[derive(Debug, Default)]
pub struct FailureTable {
    groups: BTreeMap<GroupKey, Group>,
    /// Targets of all groups.
    targets: usize,
    /// Readings so far.
    readings: u64,
}

#[derive(Debug)]
struct Group {
    comm: Untrusted,
    noted: u64,
    dropped: u64,
    targets: HashMap<(Arc<Target>, Option<u32>), Entry>,
    /// The reading that changed it last.
    changed: u64,
}

#[derive(Clone, Debug)]
struct Entry {
    calls: u64,
    missed: u64,
    directories: [Option<Arc<Untrusted>>; 2],
}

impl FailureTable {
    /// Begins a reading.
    pub fn begin_reading(&mut self) {
        self.readings += 1;
    }

    /// Adds calls.
    pub fn add(&mut self, failure: Failure<'_>, calls: u64) {
        let Failure { process, comm, key, errno, denied, capability, target, directories } =
            failure;
        let group = self.groups.entry((process, key, errno, denied)).or_insert_with(|| Group {
            comm: Untrusted::from_comm(comm),
            noted: 0,
            dropped: 0,
            targets: HashMap::new(),
            changed: 0,
        });
        group.noted += calls;
        group.changed = self.readings;
        let before = group.targets.len();
        let missed = group.dropped;
        let entry = group.targets.entry((Arc::new(target), capability)).or_insert_with(|| Entry {
            calls: 0,
            missed,
            directories: [None, None],
        });
        entry.calls += calls;
        for (known, new) in entry.directories.iter_mut().zip(directories) {
            *known = new.or_else(|| known.take());
        }
        if group.targets.len() > MAX_TARGETS {
            group.keep(MAX_TARGETS / 2);
        }
        self.targets = self.targets + group.targets.len() - before;
        if self.targets > MAX_ALL {
            self.shrink();
        }
    }

    /// Drops targets of groups with many, and then the groups that have not changed for the longest
    /// time, until half of the space is free.
    fn shrink(&mut self) {
        self.groups.values_mut().for_each(|group| group.keep(FEW));
        self.targets = self.groups.values().map(|group| group.targets.len()).sum();
        if self.targets <= MAX_ALL / 2 {
            return;
        }
        let mut by_age: Vec<_> = self.groups.iter().map(|(key, g)| (g.changed, *key)).collect();
        by_age.sort_unstable();
        for (_, key) in by_age {
            if self.targets <= MAX_ALL / 2 {
                return;
            }
            self.targets -= self.groups.remove(&key).map_or(0, |group| group.targets.len());
        }
    }

    /// All groups, in no order. A process has the name that `processes` knows, or else the name that
    /// it had at its first failure.
    pub fn groups(&self, processes: &Aggregate) -> Vec<FailureGroup> {
        let of = |(&(identity, key, errno, denied), group): (&GroupKey, &Group)| {
            let known = processes.process_by_identity(identity).map(Arc::clone);
            let process = known.unwrap_or_else(|| {
                Arc::new(Process::new(identity.tgid, identity.start_ns, group.comm.clone()))
            });
            let targets = group.targets.iter().map(|((target, capability), entry)| FailureTarget {
                target: Arc::clone(target),
                directories: entry.directories.clone(),
                capability: *capability,
                calls: entry.calls,
                recent: 0,
                missed: entry.missed,
            });
            FailureGroup {
                process,
                key,
                errno,
                denied,
                noted: group.noted,
                recent: 0,
                dropped: group.dropped,
                targets: targets.collect(),
            }
        };
        self.groups.iter().map(of).collect()
    }
}

impl Group {
    /// Keeps this many targets: those with the most calls.
    fn keep(&mut self, most: usize) {
        if self.targets.len() <= most {
            return;
        }
        let mut targets: Vec<_> = self.targets.drain().collect();
        // What is dropped comes last, the greatest count first. What a target had at most decides, so
        // that targets that are listed late stay too.
        targets.select_nth_unstable_by_key(most, |(_, entry)| {
            std::cmp::Reverse(entry.calls + entry.missed)
        });
        let dropped = targets.split_off(most);
        self.dropped += dropped.iter().map(|(_, entry)| entry.calls).max().unwrap_or(0);
        self.targets = targets.into_iter().collect();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::PathName;

    fn failure(process: u32, path: u32) -> Failure<'static> {
        let bytes = Some(format!("/{path}").into_bytes());
        let path = PathName { bytes, is_cut: false, directory: None };
        Failure {
            process: Identity { tgid: process, start_ns: 1 },
            comm: b"a\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
            key: CallKey(2),
            errno: Some(2),
            denied: false,
            capability: None,
            target: Target { paths: vec![path], ..Target::default() },
            directories: [None, None],
        }
    }

    fn groups(table: &FailureTable) -> Vec<FailureGroup> {
        table.groups(&Aggregate::new(crate::aggregate::KeepEnded::Always))
    }

    /// The bounds of each target of a group, and of a target that is not listed.
    fn check(group: &FailureGroup, truth: &HashMap<u32, u64>) {
        let all: u64 = truth.values().sum();
        assert_eq!(group.noted, all);
        assert!(group.targets.len() <= MAX_TARGETS);
        assert!(group.targets.iter().map(|target| target.calls).sum::<u64>() <= all);
        let mut unlisted = truth.clone();
        for target in &group.targets {
            let bytes = target.target.paths[0].bytes.as_deref().expect("a path");
            let path: u32 = str::from_utf8(&bytes[1..]).expect("text").parse().expect("a number");
            let calls = unlisted.remove(&path).expect("listed once, and added before");
            assert!(target.calls <= calls && calls <= target.calls + target.missed);
        }
        assert!(unlisted.values().all(|&calls| calls <= group.dropped));
    }

    proptest! {
        /// The bounds hold for any stream.
        #[test]
        fn the_bounds_hold(
            stream in prop::collection::vec((0_u32..3_000, 1_u64..50), 1..6_000),
            heavy in 0_u32..3_000,
        ) {
            let mut table = FailureTable::default();
            let mut truth: HashMap<u32, u64> = HashMap::new();
            for (index, (path, calls)) in stream.into_iter().enumerate() {
                let path = if index % 3 == 0 { heavy } else { path };
                table.add(failure(1, path), calls);
                *truth.entry(path).or_default() += calls;
            }
            check(&groups(&table)[0], &truth);
        }
    }

    #[test]
    fn few_targets_are_exact() {
        let mut table = FailureTable::default();
        for path in 0..MAX_TARGETS as u32 {
            table.add(failure(1, path), u64::from(path) + 1);
        }
        let group = &groups(&table)[0];
        assert_eq!((group.targets.len(), group.dropped), (MAX_TARGETS, 0));
        assert_eq!(group.targets.iter().map(|target| target.calls).sum::<u64>(), group.noted);
    }

    /// A target that fails often stays listed, also if it begins late.
    #[test]
    fn a_late_target_is_listed() {
        let mut table = FailureTable::default();
        let mut truth: HashMap<u32, u64> = HashMap::new();
        for path in 0..20_000 {
            table.add(failure(1, path), 1);
            *truth.entry(path).or_default() += 1;
            if path > 10_000 {
                table.add(failure(1, 99_999), 1);
                *truth.entry(99_999).or_default() += 1;
            }
        }
        let group = &groups(&table)[0];
        check(group, &truth);
        let greatest = group.targets.iter().max_by_key(|target| target.calls).expect("targets");
        assert_eq!(greatest.target.paths[0].bytes.as_deref(), Some(&b"/99999"[..]));
        assert!(greatest.calls > 9_900, "{greatest:?}");
    }

    #[test]
    fn many_processes_stay_within_the_bound() {
        let mut table = FailureTable::default();
        for process in 0..40_000 {
            table.begin_reading();
            table.add(failure(process, process), 1);
        }
        let all = groups(&table);
        assert!(all.len() <= MAX_ALL);
        assert!(all.iter().any(|group| group.process.tgid == Some(39_999)));
        assert_eq!(table.targets, all.iter().map(|group| group.targets.len()).sum::<usize>());
    }
}
