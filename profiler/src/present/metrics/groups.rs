//! Metrics of groups: calls by container, unit, process name or similar, in a bounded number of
//! series.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    time::{Duration, SystemTime},
};

use super::{
    super::place::Place,
    Service, calls,
    model::{Family, Label, Labels, Number, Series, Value},
};
use crate::{
    model::{
        CallName, Counter, Dimension, FOLDED_VALUE, GroupReading, GroupRows, OTHER_VALUE,
        OwnedCalls, Snapshot, Timed,
    },
    text::Untrusted,
};

/// The maximum length of a value in bytes. Paths of cgroups and names of containers and pods can be
/// longer, but databases of metrics limit the length of labels. Mimir's limit is 2,048 bytes, for
/// example.
const MAX_VALUE: usize = 512;

/// Returns the label value of calls in a dimension of a group. The value is empty if the calls have
/// none, for example if they are in no container. `snapshot` has the cgroups.
///
/// A value has at most [`MAX_VALUE`] bytes. Different texts have different values.
pub fn value(dimension: Dimension, owned: &OwnedCalls, snapshot: &Snapshot) -> String {
    if dimension == Dimension::Comm {
        return owned.comm.to_string();
    }
    let cgroup = snapshot.cgroups.get(&owned.cgroup).cloned();
    let name = Place { id: owned.cgroup, cgroup }.name(dimension).unwrap_or_default();
    // The name of a container or a pod is untrusted text.
    bounded(Untrusted::from(name).to_string())
}

/// Returns `text`. If it is too long, returns its beginning, a digest of the whole text, and its
/// end.
fn bounded(text: String) -> String {
    if text.len() <= MAX_VALUE {
        return text;
    }
    // Two digests of 64 bits each. An attacker can find two texts with the same digests, but that
    // only merges two groups of the attacker.
    let digest = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        (salt, &text).hash(&mut hasher);
        hasher.finish()
    };
    let mark = format!("…{:016x}{:016x}…", digest(0), digest(1));
    // The end is kept because it says more than the middle: it names the innermost cgroup.
    let half = (MAX_VALUE - mark.len()) / 2;
    let (head, tail) = (text.floor_char_boundary(half), text.ceil_char_boundary(text.len() - half));
    format!("{}{mark}{}", &text[..head], &text[tail..])
}

pub(super) fn families<'a>(snapshot: &Snapshot, service: &'a Service) -> Vec<Family<'a>> {
    let groups = &service.groups;
    let numbers = |counters: fn(Counter) -> bool| {
        let of_group = move |group: &'a GroupReading| series(group, service, counters);
        groups.iter().flat_map(of_group).collect::<Vec<_>>()
    };
    let by_group = |value: fn(&GroupReading) -> u64| {
        groups.iter().map(move |group| (vec![Label::new("group", &*group.name)], value(group)))
    };
    let mut families = vec![
        Family {
            series: numbers(|counter| counter == Counter::Calls),
            ..Family::counter(
                "profiler_group_syscalls_total",
                "Syscalls that entered, by the dimensions of a group.",
                none(),
            )
        },
        Family {
            series: numbers(|counter| counter.outcome().is_some()),
            ..Family::counter(
                "profiler_group_syscall_outcomes_total",
                "Syscalls that did not succeed, by the dimensions of a group and by outcome: error, denied, restarted, never_returned or missed_exit.",
                none(),
            )
        },
        Family::gauge(
            "profiler_group_members",
            "Number of members of a group, each of which has series of its own.",
            by_group(|group| group.members.len() as u64),
        ),
        Family::counter(
            "profiler_group_folded_members_total",
            "Members of a group that lost their series; their counters are then in the series \"folded\".",
            by_group(|group| group.folded_members),
        )
        .created(service.attached),
        Family::gauge(
            "profiler_group_series",
            "Number of series of a group, at most its max_series.",
            by_group(|group| group.series() as u64),
        ),
        Family::gauge(
            "profiler_group_max_series",
            "Maximum number of series of a group.",
            by_group(|group| group.max_series as u64),
        ),
    ];
    if snapshot.health.timed != Timed::None {
        families.push(Family {
            series: numbers(|counter| counter == Counter::Nanoseconds),
            ..Family::counter(
                "profiler_group_syscall_seconds_total",
                "Time in the timed syscalls in seconds of wall time, by the dimensions of a group.",
                none(),
            )
        });
    }
    families
}

fn none<'a>() -> [(Labels<'a>, u64); 0] {
    []
}

/// Returns the series of a group for `counters`.
fn series<'a>(
    group: &'a GroupReading,
    service: &Service,
    counters: fn(Counter) -> bool,
) -> Vec<Series<'a>> {
    let at = |since: Duration| service.attached.and_then(|attached| attached.checked_add(since));
    let members = group.members.iter().map(|member| {
        let values = member.values.iter().map(String::as_str).collect();
        (values, &*member.rows, at(member.since))
    });
    let reserved = |value| vec![value; group.dimensions.len()];
    let other = (reserved(OTHER_VALUE), &*group.other, at(group.since));
    // The folded series also counts calls from before a reload that added the group, so its
    // creation time is that of the attach.
    let folded = (reserved(FOLDED_VALUE), &*group.folded, service.attached);
    let mut series = Vec::new();
    for (values, rows, created) in members.chain([other, folded]) {
        of_rows(group, &values, rows, created, counters, &mut series);
    }
    series
}

fn of_rows<'a>(
    group: &'a GroupReading,
    values: &[&'a str],
    rows: &GroupRows,
    created: Option<SystemTime>,
    counters: fn(Counter) -> bool,
    series: &mut Vec<Series<'a>>,
) {
    for (name, counts) in rows {
        for (counter, n) in counts.present().filter(|&(counter, _)| counters(counter)) {
            let value = match counter {
                Counter::Nanoseconds => Number::from(Duration::from_nanos(n)),
                _ => Number::from(n),
            };
            series.push(Series {
                labels: labels(group, values, name, counter),
                value: Value::Number(value),
                created,
            });
        }
    }
}

fn labels<'a>(
    group: &'a GroupReading,
    values: &[&'a str],
    name: &CallName,
    counter: Counter,
) -> Labels<'a> {
    let mut labels = Vec::with_capacity(values.len() + 4);
    labels.push(Label::new("group", &*group.name));
    let values = group.dimensions.iter().zip(values);
    labels.extend(values.map(|(dimension, &value)| Label::new(dimension.name(), value)));
    labels.extend(calls::labels(name));
    labels.extend(counter.outcome().map(|outcome| Label::new("outcome", outcome)));
    labels
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, sync::Arc};

    use super::*;
    use crate::model::Cgroup;

    fn of_path(path: &str) -> String {
        let cgroups = [(7, Arc::new(Cgroup::at(path)))];
        let snapshot = Snapshot { cgroups: Arc::new(cgroups.into()), ..Snapshot::default() };
        let owned = OwnedCalls { comm: "x".into(), cgroup: 7, calls: Vec::new() };
        value(Dimension::Cgroup, &owned, &snapshot)
    }

    #[test]
    fn a_value_is_bounded_and_no_two_long_ones_are_the_same() {
        let usual =
            format!("/kubepods.slice/{}.slice/cri-containerd-{:064x}.scope", "x".repeat(99), 1);
        assert_eq!(of_path(&usual), usual);
        let longest = format!("/{}", "a".repeat(MAX_VALUE - 1));
        assert_eq!(of_path(&longest), longest);
        let deep = |middle: &str| format!("/{}/{middle}/{}", "a".repeat(500), "b".repeat(500));
        // The texts differ in the part that is cut out, in characters of different widths.
        let texts = ["c", "d", "cc", "é", "éé", "漢", ""].map(deep);
        let values: BTreeSet<_> = texts.iter().map(|text| of_path(text)).collect();
        assert_eq!(values.len(), texts.len());
        for value in &values {
            assert!(value.len() <= MAX_VALUE, "{} bytes", value.len());
            assert!(value.starts_with("/aaaa") && value.ends_with("bbbb"), "{value}");
        }
        let wide = "漢".repeat(2_000);
        assert!((MAX_VALUE - 6..=MAX_VALUE).contains(&of_path(&format!("/{wide}")).len()));
        // The same text has the same value.
        assert_eq!(of_path(&deep("c")), of_path(&deep("c")));
        // Hidden characters are replaced by longer ones, and the limit applies to the latter.
        let hidden = "\u{1}".repeat(MAX_VALUE);
        assert!(of_path(&hidden).len() <= MAX_VALUE);
    }
}
