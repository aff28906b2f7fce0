//! Tests of budgets on fixed snapshots.

use profiler_common::call::{Abi, CallKey};
use proptest::prelude::*;

use super::*;
use crate::{model::Extremes, names::syscalls};

const READ: CallKey = CallKey::of(Abi::X86_64, 0);
const OPENAT: CallKey = CallKey::of(Abi::X86_64, 257);
const I386_READ: CallKey = CallKey::of(Abi::I386, 3);

fn row(key: CallKey, calls: u64, errnos: &[(u16, u64)], ns: u64) -> CallRow {
    let mut total = Figures {
        calls,
        returned: calls,
        errors: errnos.iter().map(|&(_, count)| count).sum(),
        total_ns: calls * ns,
        extremes: (calls > 0).then_some(Extremes { min_ns: ns, max_ns: ns }),
        ..Figures::default()
    };
    errnos.iter().for_each(|&(errno, count)| total.add_errno(errno, count));
    total.latency.add(profiler_common::hist::bucket(ns) as usize, calls);
    CallRow { key, total, recent: Figures::default() }
}

fn denied(key: CallKey, denied: u64) -> CallRow {
    let total = Figures { denied, ..Figures::default() };
    CallRow { key, total, recent: Figures::default() }
}

fn budget(text: &str) -> Budget {
    Budget::from_toml(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// The exceeded limits: syscall, limit, and figure.
fn exceeded(text: &str, calls: &[CallRow]) -> Vec<(Option<String>, &'static str, u64, u64)> {
    let verdict = budget(text).check(calls, &Health::default());
    let line = |check: &Check| (check.of.clone(), check.limit.name(), check.allowed, check.found);
    verdict.exceeded().map(line).collect()
}

#[test]
fn as_much_as_is_allowed_is_within_and_one_more_is_not() {
    let calls = [row(READ, 5, &[(11, 2), (4, 1)], 1_000), row(OPENAT, 1, &[], 50)];
    for (key, most) in [
        ("calls", "5"),
        ("errors", "3"),
        ("errnos.EAGAIN", "2"),
        ("errnos.4", "1"),
        ("total_time", "\"5us\""),
        ("max", "\"1us\""),
        ("p99", "\"1us\""),
    ] {
        let text = format!("[syscalls.read]\n{key} = {most}\n");
        assert_eq!(exceeded(&text, &calls), [], "{text}");
    }
    let of_read = |limit, allowed, found| vec![(Some("read".to_owned()), limit, allowed, found)];
    let read = |text: &str| exceeded(&format!("[syscalls.read]\n{text}\n"), &calls);
    assert_eq!(read("calls = 4"), of_read("calls", 4, 5));
    assert_eq!(read("errors = 2"), of_read("errors", 2, 3));
    assert_eq!(read("errnos.EAGAIN = 1"), of_read("errno", 1, 2));
    assert_eq!(read("errnos.ENOENT = 0"), []);
    assert_eq!(read("total_time = \"4999ns\""), of_read("total_time", 4_999, 5_000));
    assert_eq!(read("max = \"999ns\""), of_read("max", 999, 1_000));
    assert_eq!(read("p99 = \"900ns\""), of_read("p99", 900, 1_000));
    assert_eq!(exceeded("[total]\ncalls = 5", &calls), [(None, "calls", 5, 6)]);
}

#[test]
fn what_is_forbidden_must_not_even_be_tried() {
    let calls = [row(READ, 1, &[], 10), denied(OPENAT, 2)];
    assert_eq!(
        exceeded("forbidden = [\"openat\", \"ptrace\"]", &calls),
        [(Some("openat".into()), "forbidden", 0, 2)]
    );
    assert_eq!(
        exceeded("unlisted = \"forbidden\"\n[syscalls.read]\ncalls = 1\n", &calls),
        [(Some("openat".into()), "unlisted", 0, 2)]
    );
    assert_eq!(exceeded("[syscalls.openat]\ndenied = 1", &calls).len(), 1);
    assert_eq!(exceeded("[syscalls.openat]\ndenied = 2\ncalls = 0", &calls), []);
}

/// A name without an ABI is that of all ABIs.
#[test]
fn names_are_of_every_abi_or_of_one() {
    let calls = [row(READ, 2, &[], 10), row(I386_READ, 3, &[], 10)];
    let of = |name: &str| exceeded(&format!("[syscalls.{name}]\ncalls = 0"), &calls);
    assert_eq!(of("read")[0].3, 5);
    assert_eq!(of("\"i386:read\"")[0].3, 3);
    assert_eq!(of("\"x86_64:read\"")[0].3, 2);
    // The calls on one ABI do not count for the limit of the other.
    let made = Budget::of_run(&calls, None).to_toml();
    assert!(made.contains("[syscalls.\"i386:read\"]\ncalls = 3\n"), "{made}");
    assert!(made.contains("[syscalls.\"x86_64:read\"]\ncalls = 2\n"), "{made}");
}

#[test]
fn calls_that_may_be_uncounted_leave_a_doubt() {
    let mut health = Health::default();
    health.losses.missed_exits = 3;
    let calls = [row(READ, 1, &[], 10)];
    let verdict = budget("[total]\ncalls = 1").check(&calls, &health);
    assert_eq!((verdict.exceeded().count(), verdict.is_met()), (0, false));
    assert_eq!(verdict.doubt, Some(Doubt::Uncounted(3)));
}

#[test]
fn what_is_no_budget_is_refused() {
    for (text, expected) in [
        ("", "the budget has no limit"),
        ("[syscalls.read]\n", "the budget has no limit"),
        ("[syscalls.reed]\ncalls = 1", "no ABI has a syscall with this name"),
        ("[syscalls.\"!read\"]\ncalls = 1", "without `!`"),
        ("[syscalls.read]\nerrnos.ENOSUCH = 1", "no errno has this name"),
        ("[syscalls.read]\ncalls = -1", "invalid value: integer `-1`"),
        ("[syscalls.read]\np50 = \"1ms\"", "unknown field `p50`"),
        ("[syscalls.read]\np99 = \"1 parsec\"", "a number and a unit"),
        ("forbidden = \"read\"", "invalid type: string"),
        ("unlisted = \"never\"", "unknown variant `never`"),
        ("limits = 1", "unknown field `limits`"),
    ] {
        let error = Budget::from_toml(text).expect_err(text).to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn a_class_is_limited_as_a_whole() {
    let calls = [row(READ, 5, &[], 1_000), row(OPENAT, 2, &[], 50)];
    let desc = |most| exceeded(&format!("[syscalls.\"%desc\"]\ncalls = {most}\n"), &calls);
    assert_eq!(desc(7), []);
    assert_eq!(desc(6), [(Some("%desc".to_owned()), "calls", 6, 7)]);
    let forbidden = exceeded("forbidden = [\"%file\"]", &calls);
    assert_eq!(forbidden.len(), 1);
    assert_eq!(exceeded("forbidden = [\"%network\"]", &calls), []);
}

#[test]
fn filters_that_leave_a_limited_call_out_are_noticed() {
    let counting = |text: &str| {
        let patterns: Vec<CallPattern> =
            text.split(',').map(|name| name.parse().expect("a pattern")).collect();
        Calls::new(&patterns).expect("calls").expect("a filter")
    };
    let budget = budget("forbidden = [\"ptrace\"]\n[syscalls.read]\ncalls = 1");
    let left_out = |text: &str| budget.first_left_out(&counting(text)).map(ToString::to_string);
    assert_eq!(left_out("read,ptrace"), None);
    assert_eq!(left_out("i386:read,ptrace"), None);
    assert_eq!(left_out("read"), Some("ptrace".into()));
    assert_eq!(left_out("!read"), Some("read".into()));
}

#[test]
fn margins_are_whole_percents() {
    for (text, percent) in [("50%", 50), ("0", 0), ("10000%", 10_000)] {
        let figures = [row(READ, 1, &[], 1_000)];
        let made = Budget::of_run(&figures, Some(text.parse().expect("a margin")));
        let limit = Duration::from_nanos(1_000 * (100 + percent) / 100);
        assert_eq!(made.syscalls[0].1.total_time, Some(limit), "{text}");
    }
    for text in ["", "%", "-1%", "1.5%", "10001", "1 %"] {
        assert_eq!(text.parse::<Margin>(), Err(InvalidMargin), "{text}");
    }
}

fn any_run() -> impl Strategy<Value = Vec<CallRow>> {
    let errnos = prop::collection::btree_map(1_u16..=133, 1_u64..5, 0..4);
    let call = (0_u32..3, 0_u32..470, 0_u64..9, errnos, 1_u64..1_000_000, 0_u64..3);
    prop::collection::vec(call, 0..12).prop_map(|calls| {
        let mut rows = BTreeMap::new();
        for (abi, nr, calls, errnos, ns, denied) in calls {
            let abi = [Abi::X86_64, Abi::I386, Abi::X32][abi as usize];
            let key = syscalls::fold_unknown(CallKey::of(abi, nr));
            let errnos: Vec<_> = errnos.into_iter().collect();
            let made: u64 = errnos.iter().map(|&(_, count)| count).sum();
            let mut row = row(key, calls + made, &errnos, ns);
            row.total.denied = denied;
            rows.insert(key, row);
        }
        rows.into_values().collect()
    })
}

proptest! {
    /// A run is within the budget that it gives, also after that went through a file; and one
    /// more call, error or denied call is not.
    #[test]
    fn a_run_is_exactly_within_its_own_budget(
        run in any_run(),
        margin in prop::option::of(0_u32..200),
        more in any::<prop::sample::Index>(),
    ) {
        let margin = margin.map(|percent| percent.to_string().parse().expect("a margin"));
        let made = Budget::of_run(&run, margin);
        let text = made.to_toml();
        let budget = Budget::from_toml(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let is_met = |run: &[CallRow]| budget.check(run, &Health::default()).is_met();
        prop_assert!(is_met(&run), "{text}");
        let makes = run.iter().any(|row| was_made(&row.total) > 0);
        if makes {
            let at = more.index(run.len());
            let one_more = |change: fn(&mut Figures)| {
                let mut run = run.clone();
                change(&mut run[at].total);
                run
            };
            prop_assert!(!is_met(&one_more(|figures| figures.calls += 1)), "{text}");
            prop_assert!(!is_met(&one_more(|figures| figures.denied += 1)), "{text}");
        }
        if makes && was_made(&run[more.index(run.len())].total) > 0 {
            let mut run = run.clone();
            let at = more.index(run.len());
            run[at].total.errors += 1;
            prop_assert!(!is_met(&run), "{text}");
        }
    }
}
