//! Checks that grouping and folding never change a sum, and that no counter ever decreases.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const READ: CallName = ("x86_64", "read");
const NAMES: [CallName; 5] =
    [READ, ("x86_64", "openat"), ("i386", "open"), ("x86_64", "futex"), ("x86_64", "mount")];

fn spec(top: usize, max_series: usize) -> GroupSpec {
    GroupSpec {
        name: "containers".into(),
        dimensions: [Dimension::Container].into(),
        rank_by: RankBy::Calls,
        top,
        max_series,
        expire: Duration::from_secs(600),
    }
}

fn values(name: &str) -> Values {
    [name.to_owned()].into()
}

fn counts(counter: Counter, n: u64) -> Counts {
    let mut counts = Counts::default();
    counts.add(counter, n);
    counts
}

/// Calls of `read`.
fn reads(of: &[(&str, u64)]) -> Added {
    let row = |&(name, n): &(&str, u64)| (values(name), vec![(READ, counts(Counter::Calls, n))]);
    of.iter().map(row).collect()
}

/// Every series and its value, by the value of the dimension.
type Shown = BTreeMap<(String, CallName, Counter), u64>;

fn shown(reading: &GroupReading) -> Shown {
    let members = reading.members.iter().map(|member| (member.values[0].as_str(), &member.rows));
    let rest = [(OTHER_VALUE, &reading.other), (FOLDED_VALUE, &reading.folded)];
    let mut shown = Shown::new();
    for (value, rows) in members.chain(rest) {
        for (&name, counts) in rows.iter() {
            for (counter, n) in counts.present() {
                let known = shown.insert((value.to_owned(), name, counter), n);
                assert_eq!(known, None, "{value} {name:?} has two series");
            }
        }
    }
    assert_eq!(shown.len(), reading.series());
    shown
}

fn brief(group: &Group) -> Vec<(String, u64)> {
    let mut by_value = BTreeMap::<String, u64>::new();
    for ((value, _, counter), n) in shown(&group.reading()) {
        if counter == Counter::Calls {
            *by_value.entry(value).or_default() += n;
        }
    }
    by_value.into_iter().collect()
}

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn is(brief: &[(String, u64)], expected: &[(&str, u64)]) {
    let brief: Vec<_> = brief.iter().map(|(value, n)| (value.as_str(), *n)).collect();
    assert_eq!(brief, expected);
}

#[test]
fn while_there_is_room_a_member_has_all_its_calls() {
    let mut group = Group::new(spec(2, 100), at(0), &GroupRows::new());
    group.add(at(1), &reads(&[("web", 5)]));
    group.add(at(2), &reads(&[("web", 1), ("", 7)]));
    is(&brief(&group), &[("", 7), ("web", 6)]);
    // The third has no series.
    group.add(at(3), &reads(&[("db", 9), ("web", 1)]));
    is(&brief(&group), &[("", 7), ("other", 9), ("web", 7)]);
}

#[test]
fn a_value_that_clearly_ranks_above_a_member_replaces_it_after_a_while() {
    let mut group = Group::new(spec(1, 100), at(0), &GroupRows::new());
    group.add(at(1), &reads(&[("web", 100)]));
    // The member is new, so it stays.
    group.add(at(2), &reads(&[("db", 1_000)]));
    is(&brief(&group), &[("other", 1_000), ("web", 100)]);
    // The score is higher, but not by the required factor.
    let mut group = Group::new(spec(1, 100), at(0), &GroupRows::new());
    group.add(at(1), &reads(&[("web", 100)]));
    for second in 2..200 {
        group.add(at(second), &reads(&[("web", 100), ("db", 130)]));
    }
    is(&brief(&group), &[("other", 198 * 130), ("web", 199 * 100)]);
    group.add(at(200), &reads(&[("db", 100_000)]));
    is(&brief(&group), &[("db", 100_000), ("folded", 19_900), ("other", 25_740)]);
    assert_eq!(group.reading().members[0].since, at(199));
    // Back again: it starts at 0, and nothing is lost.
    group.add(at(300), &reads(&[("web", 1_000_000)]));
    is(&brief(&group), &[("folded", 119_900), ("other", 25_740), ("web", 1_000_000)]);
    assert_eq!(group.reading().folded_members, 2);
}

#[test]
fn what_makes_no_calls_expires() {
    let mut group = Group::new(spec(5, 100), at(0), &GroupRows::new());
    group.add(at(1), &reads(&[("web", 5), ("db", 1)]));
    group.add(at(600), &reads(&[("web", 5)]));
    is(&brief(&group), &[("db", 1), ("web", 10)]);
    group.add(at(602), &reads(&[("web", 5)]));
    is(&brief(&group), &[("folded", 1), ("web", 15)]);
}

#[test]
fn errors_and_denied_calls_can_rank() {
    let mut group =
        Group::new(GroupSpec { rank_by: RankBy::Errors, ..spec(1, 100) }, at(0), &GroupRows::new());
    group.add(at(1), &reads(&[("busy", 1_000)]));
    let denied = vec![(READ, counts(Counter::Denied, 1))];
    group.add(at(90), &Added::from([(values("denied"), denied)]));
    let reading = group.reading();
    assert_eq!((reading.members.len(), &*reading.members[0].values[0]), (1, "denied"));
}

#[test]
fn nothing_is_taken_for_the_reserved_values() {
    let mut group = Group::new(spec(5, 100), at(0), &GroupRows::new());
    group.add(at(1), &reads(&[("other", 5), ("folded", 1), ("x", 1)]));
    is(&brief(&group), &[("other", 6), ("x", 1)]);
}

#[test]
fn calls_before_the_group_began_are_folded() {
    let so_far = GroupRows::from([(READ, counts(Counter::Calls, 7))]);
    let mut group = Group::new(spec(5, 100), at(50), &so_far);
    group.add(at(51), &reads(&[("x", 1)]));
    is(&brief(&group), &[("folded", 7), ("x", 1)]);
}

/// With the minimum number of series, a group has only sums by outcome.
#[test]
fn without_room_sums_by_counter_remain() {
    let mut group = Group::new(spec(5, RESERVED_SERIES), at(0), &GroupRows::new());
    group.add(at(1), &reads(&[("x", 1), ("y", 2)]));
    let reading = group.reading();
    assert_eq!(reading.other[&REST], counts(Counter::Calls, 3));
    assert_eq!(reading.series(), 1);
}

#[test]
fn fewer_series_after_a_reload_keep_the_sums() {
    let mut group = Group::new(spec(5, 200), at(0), &GroupRows::new());
    let rows = |n: u64| NAMES.map(|name| (name, counts(Counter::Calls, n))).into();
    group.add(at(1), &Added::from([(values("x"), rows(1)), (values("y"), rows(2))]));
    group.change(spec(5, RESERVED_SERIES + 4));
    assert!(group.reading().series() <= RESERVED_SERIES + 4);
    is(&brief(&group), &[("folded", 15)]);
    assert_eq!(group.reading().folded.len(), 3, "two syscalls, and the rest");
    group.change(spec(5, 200));
    group.add(at(2), &Added::from([(values("x"), rows(1))]));
    is(&brief(&group), &[("folded", 15), ("x", 5)]);
}

/// An event between two readings.
#[derive(Clone, Debug)]
enum Event {
    /// Time in seconds, and calls: owner, syscall, counter, how many.
    Reading(u64, Vec<(u8, usize, usize, u64)>),
    /// A reload: members, series, what ranks, seconds until a member expires.
    Change(usize, usize, RankBy, u64),
}

fn event() -> impl Strategy<Value = Event> {
    let call = (0..30_u8, 0..NAMES.len(), 0..Counter::ALL.len(), 1..1_000_u64);
    let reading = (1..200_u64, prop::collection::vec(call, 0..20))
        .prop_map(|(time, calls)| Event::Reading(time, calls));
    let rank = prop_oneof![Just(RankBy::Calls), Just(RankBy::Time), Just(RankBy::Errors)];
    let change = (1..8_usize, RESERVED_SERIES..120, rank, 60..1_000_u64)
        .prop_map(|(top, series, rank, expire)| Event::Change(top, series, rank, expire));
    prop_oneof![9 => reading, 1 => change]
}

/// The sums over all series of a group, by syscall and counter.
fn sums(shown: &Shown) -> BTreeMap<(CallName, Counter), u64> {
    let mut sums = BTreeMap::new();
    for (&(_, name, counter), n) in shown {
        *sums.entry((name, counter)).or_default() += n;
    }
    sums
}

fn by_counter(sums: &BTreeMap<(CallName, Counter), u64>) -> BTreeMap<Counter, u64> {
    let mut by_counter = BTreeMap::new();
    for (&(_, counter), n) in sums {
        *by_counter.entry(counter).or_default() += n;
    }
    by_counter
}

proptest! {
    #[test]
    fn no_sum_changes_and_no_counter_decreases(
        top in 1..8_usize,
        max_series in RESERVED_SERIES..200,
        before in prop::collection::vec((0..NAMES.len(), 1..1_000_u64), 0..5),
        events in prop::collection::vec(event(), 1..60),
    ) {
        // The counters without groups.
        let mut all = BTreeMap::<(CallName, Counter), u64>::new();
        let mut so_far = GroupRows::new();
        for (name, n) in before {
            *all.entry((NAMES[name], Counter::Calls)).or_default() += n;
            so_far.entry(NAMES[name]).or_default().add(Counter::Calls, n);
        }
        let (mut top, mut max_series) = (top, max_series);
        let mut group = Group::new(spec(top, max_series), at(0), &so_far);
        let mut last = shown(&group.reading());
        let mut now = 0;
        for event in events {
            match event {
                Event::Reading(time, calls) => {
                    now += time;
                    let mut added = Added::new();
                    for (owner, name, counter, n) in calls {
                        let (name, counter) = (NAMES[name], Counter::ALL[counter]);
                        *all.entry((name, counter)).or_default() += n;
                        let rows = added.entry(values(&format!("o{owner}"))).or_default();
                        rows.push((name, counts(counter, n)));
                    }
                    group.add(at(now), &added);
                }
                Event::Change(to_top, to_series, rank_by, expire) => {
                    (top, max_series) = (to_top, to_series);
                    let expire = at(expire);
                    group.change(GroupSpec { rank_by, expire, ..spec(top, max_series) });
                }
            }
            let reading = group.reading();
            prop_assert!(reading.members.len() <= top);
            prop_assert!(reading.series() <= max_series);
            let now_shown = shown(&reading);
            for (series, &n) in &now_shown {
                prop_assert!(last.get(series).is_none_or(|&before| before <= n), "{series:?}");
            }
            let sums = sums(&now_shown);
            prop_assert_eq!(by_counter(&sums), by_counter(&all));
            // Sums by syscall are exact too, unless the syscalls alone exceed the limit of series.
            if now_shown.keys().any(|(_, name, _)| *name == REST) {
                let exceeds = |(of, n): (&(CallName, Counter), u64)| of.0 != REST && n > all.get(of).copied().unwrap_or(0);
                prop_assert!(!sums.iter().map(|(of, &n)| (of, n)).any(exceeds));
            } else {
                prop_assert_eq!(sums, all.clone());
            }
            last = now_shown;
        }
    }
}

/// An hour of a host with 2,000 processes in 300 cgroups, half of which are replaced every minute.
#[test]
fn an_hour_of_churn_is_bounded() {
    const CGROUPS: u64 = 300;
    const PROCESSES: u64 = 2_000;
    let limit = 3_000;
    let mut group = Group::new(spec(50, limit), at(0), &GroupRows::new());
    let (mut all, mut last) = (BTreeMap::new(), Shown::new());
    let mut random = 1_u64;
    let mut next = move |below: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (random >> 33) % below
    };
    let mut readings = 0;
    for second in (1..=3_600).step_by(10) {
        let mut added = Added::new();
        for process in 0..PROCESSES {
            let slot = process % CGROUPS;
            let generation = if slot.is_multiple_of(2) { 0 } else { (second + slot) / 60 };
            let rows = added.entry(values(&format!("{slot}-{generation}"))).or_default();
            for _ in 0..2 {
                let name = NAMES[next(NAMES.len() as u64) as usize];
                let counter = Counter::ALL[next(Counter::ALL.len() as u64) as usize];
                let n = 1 + next(1 << (slot % 10));
                rows.push((name, counts(counter, n)));
                *all.entry((name, counter)).or_default() += n;
            }
        }
        group.add(at(second), &added);
        let reading = group.reading();
        assert!(reading.series() <= limit && reading.members.len() <= 50);
        assert!(group.candidates.ranked(|_| true).len() <= MAX_CANDIDATES);
        let shown = shown(&reading);
        assert_eq!(sums(&shown), all);
        assert!(shown.iter().all(|(of, n)| last.get(of).is_none_or(|before| before <= n)));
        last = shown;
        readings += 1;
    }
    let reading = group.reading();
    assert_eq!((readings, reading.members.len()), (360, 50));
    // Busy cgroups that stay keep their series: half of the cgroups stay, and a fifth of these is
    // busy.
    let lasting = reading.members.iter().filter(|member| member.values[0].ends_with("-0"));
    assert!(
        lasting.count() >= 25,
        "{:?}",
        reading.members.iter().map(|m| &m.values[0]).collect::<Vec<_>>()
    );
    assert!(reading.folded_members < 3_000, "{}", reading.folded_members);
}
