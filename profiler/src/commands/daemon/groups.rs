//! The groups of metrics: passes the calls by owner to the groups, and the groups to the metrics.

use std::{collections::HashMap, sync::Arc};

use crate::{
    aggregate::groups::{Added, Group, GroupSpec},
    commands::config::MetricsConfig,
    engine::Engine,
    filter::Calls,
    model::{Counts, GroupReading, GroupRows, OwnedCalls, Snapshot},
    present::metrics::{call_name, group_value},
};

/// The groups of a running daemon.
#[derive(Default)]
pub struct Groups {
    groups: Vec<Group>,
    /// The syscalls that have series of their own. `None` if all have.
    named: Option<Arc<Calls>>,
    /// The last reading.
    last: Option<Arc<Snapshot>>,
}

impl Groups {
    /// No groups. `named` are the syscalls that have series of their own; `None` if all have.
    pub fn new(named: Option<Calls>) -> Self {
        Self { named: named.map(Arc::new), ..Self::default() }
    }

    /// The syscalls that have series of their own. `None` if all have.
    pub fn named(&self) -> Option<Arc<Calls>> {
        self.named.clone()
    }

    /// Takes new settings. Groups with the same name and dimensions keep their counters. Returns
    /// `false`, and changes nothing, if `engine` does not tell cgroups apart and a group needs that.
    pub fn change(&mut self, config: &MetricsConfig, engine: &mut impl Engine) -> bool {
        if !engine.keep_owners(config.owners()) {
            return false;
        }
        let mut old: HashMap<_, _> = self
            .groups
            .drain(..)
            .map(|group| {
                let spec = group.spec();
                ((Arc::clone(&spec.name), Arc::clone(&spec.dimensions)), group)
            })
            .collect();
        let (now, so_far) = match &self.last {
            Some(snapshot) => (snapshot.window, totals(snapshot, self.named.as_deref())),
            None => Default::default(),
        };
        let group = |spec: GroupSpec| match old
            .remove(&(Arc::clone(&spec.name), Arc::clone(&spec.dimensions)))
        {
            Some(mut group) => {
                group.change(spec);
                group
            }
            None => Group::new(spec, now, &so_far),
        };
        self.groups = config.groups.iter().map(|config| config.spec()).map(group).collect();
        true
    }

    /// Adds what was counted up to `snapshot`.
    pub fn add(&mut self, snapshot: &Arc<Snapshot>, owned: &[OwnedCalls]) -> Arc<[GroupReading]> {
        if self.groups.is_empty() {
            self.last = Some(Arc::clone(snapshot));
            return Arc::default();
        }
        let named = self.named.as_deref();
        for group in &mut self.groups {
            let mut added = Added::new();
            for owner in owned {
                let value = |&dimension| group_value(dimension, owner, snapshot);
                let values = group.spec().dimensions.iter().map(value).collect();
                let rows = owner.calls.iter().map(|&(key, counts)| (call_name(key, named), counts));
                added.entry(values).or_default().extend(rows);
            }
            group.add(snapshot.window, &added);
        }
        self.last = Some(Arc::clone(snapshot));
        self.groups.iter().map(Group::reading).collect()
    }
}

/// The counters of all calls since the attach.
fn totals(snapshot: &Snapshot, named: Option<&Calls>) -> GroupRows {
    let mut totals = GroupRows::new();
    for row in &snapshot.calls {
        totals.entry(call_name(row.key, named)).or_default().merge(&Counts::of(&row.total));
    }
    totals
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::Duration};

    use profiler_common::call::{Abi, CallKey};

    use super::*;
    use crate::{
        aggregate::OwnerKind,
        model::{CallName, CallRow, Cgroup, Counter, Detail, Figures},
    };

    const READ: CallKey = CallKey(0);

    /// A fake engine. The flag says whether it distinguishes cgroups.
    struct Fake {
        cgroups: bool,
        kind: OwnerKind,
    }

    impl Engine for Fake {
        fn snapshot(&mut self, _detail: Detail) -> Snapshot {
            Snapshot::default()
        }

        fn read(&mut self) {}

        fn keep_owners(&mut self, kind: OwnerKind) -> bool {
            let can = self.cgroups || !kind.cgroup;
            self.kind = if can { kind } else { self.kind };
            can
        }

        fn all_ended(&self) -> bool {
            false
        }

        fn stop(&mut self) {}

        fn finish(self, _detail: Detail) -> Snapshot {
            Snapshot::default()
        }
    }

    fn config(text: &str) -> MetricsConfig {
        let config = crate::commands::config::Config::parse(text, "x".as_ref());
        config.expect("settings").metrics
    }

    const UNITS: &str = "[[metrics.groups]]\nname = \"units\"\nby = [\"unit\"]\n";
    const NAMES: &str = "[[metrics.groups]]\nname = \"names\"\nby = [\"comm\"]\n";

    /// The figures of a host: the sums, and the calls by owner since the last reading.
    #[derive(Default)]
    struct Host {
        calls: BTreeMap<CallKey, Figures>,
        owned: Vec<OwnedCalls>,
        seconds: u64,
    }

    impl Host {
        fn call(&mut self, comm: &str, cgroup: u64, key: CallKey, figures: &Figures) {
            self.calls.entry(key).or_default().merge(figures);
            let calls = vec![(key, Counts::of(figures))];
            self.owned.push(OwnedCalls { comm: comm.into(), cgroup, calls });
        }

        fn read(&mut self, groups: &mut Groups) -> Arc<[GroupReading]> {
            self.seconds += 1;
            let cgroups = [(7, "/system.slice/a.service"), (8, "/system.slice/b.service")];
            let cgroups = cgroups.map(|(id, path)| (id, Arc::new(Cgroup::at(path))));
            let snapshot = Snapshot {
                window: Duration::from_secs(self.seconds),
                calls: self.calls.iter().map(|(&key, f)| CallRow::new(key, f.clone())).collect(),
                cgroups: Arc::new(cgroups.into()),
                ..Snapshot::default()
            };
            groups.add(&Arc::new(snapshot), &std::mem::take(&mut self.owned))
        }
    }

    fn calls(calls: u64) -> Figures {
        Figures { calls, returned: calls, errors: calls / 2, ..Figures::default() }
    }

    /// Calls by value, and over all values by name.
    fn shown(group: &GroupReading) -> (Vec<(String, u64)>, BTreeMap<CallName, u64>) {
        let members = group.members.iter().map(|m| (m.values.join("+"), &m.rows));
        let rest = [("other".to_owned(), &group.other), ("folded".to_owned(), &group.folded)];
        let (mut by_value, mut by_name) = (BTreeMap::<String, u64>::new(), BTreeMap::new());
        for (value, rows) in members.chain(rest) {
            for (&name, counts) in rows.iter() {
                *by_value.entry(value.clone()).or_default() += counts.get(Counter::Calls);
                *by_name.entry(name).or_default() += counts.get(Counter::Calls);
            }
        }
        (by_value.into_iter().collect(), by_name)
    }

    fn pairs(shown: &[(String, u64)]) -> Vec<(&str, u64)> {
        shown.iter().map(|(value, n)| (value.as_str(), *n)).collect()
    }

    #[test]
    fn a_reload_keeps_groups_and_begins_others_with_what_was_counted() {
        let mut engine = Fake { cgroups: true, kind: OwnerKind::default() };
        let (mut groups, mut host) = (Groups::new(None), Host::default());
        assert!(groups.change(&config(UNITS), &mut engine));
        assert_eq!(engine.kind, OwnerKind { comm: false, cgroup: true });
        host.call("x", 7, READ, &calls(3));
        host.call("y", 8, READ, &calls(4));
        host.call("x", 0, CallKey(1), &calls(5));
        let reading = host.read(&mut groups);
        let (by_value, by_name) = shown(&reading[0]);
        assert_eq!(pairs(&by_value), [("", 5), ("a.service", 3), ("b.service", 4)]);
        assert_eq!(by_name, [(("x86_64", "read"), 7), (("x86_64", "write"), 5)].into());

        assert!(groups.change(&config(&format!("{UNITS}top = 1\n{NAMES}")), &mut engine));
        assert_eq!(engine.kind, OwnerKind { comm: true, cgroup: true });
        host.call("x", 7, READ, &calls(10));
        let reading = host.read(&mut groups);
        let (by_value, _) = shown(&reading[0]);
        assert_eq!(by_value.iter().map(|(_, n)| n).sum::<u64>(), 22);
        assert_eq!(reading[0].folded_members, 2);
        let (by_value, by_name) = shown(&reading[1]);
        assert_eq!(pairs(&by_value), [("folded", 12), ("x", 10)]);
        assert_eq!(by_name, [(("x86_64", "read"), 17), (("x86_64", "write"), 5)].into());
    }

    #[test]
    fn groups_that_the_engine_cannot_tell_apart_are_refused() {
        let mut engine = Fake { cgroups: false, kind: OwnerKind::default() };
        let (mut groups, mut host) = (Groups::new(None), Host::default());
        assert!(groups.change(&config(NAMES), &mut engine));
        host.call("x", 0, READ, &calls(3));
        host.read(&mut groups);
        assert!(!groups.change(&config(UNITS), &mut engine));
        let reading = host.read(&mut groups);
        assert_eq!((&*reading[0].name, reading.len()), ("names", 1));
        assert_eq!(pairs(&shown(&reading[0]).0), [("x", 3)]);
    }

    #[test]
    fn syscalls_without_series_share_one_for_each_abi() {
        let config = config(&format!("[metrics]\nsyscalls = [\"read\"]\n{NAMES}"));
        let mut engine = Fake { cgroups: false, kind: OwnerKind::default() };
        let mut groups = Groups::new(config.named_calls().expect("some"));
        groups.change(&config, &mut engine);
        let mut host = Host::default();
        for (key, n) in [(READ, 1), (CallKey(1), 2), (CallKey(2), 4)] {
            host.call("x", 0, key, &calls(n));
        }
        host.call("x", 0, CallKey::of(Abi::I386, 5), &calls(8));
        let by_name = shown(&host.read(&mut groups)[0]).1;
        let expected = [(("x86_64", "read"), 1), (("x86_64", "other"), 6), (("i386", "other"), 8)];
        assert_eq!(by_name, expected.into());
    }
}
