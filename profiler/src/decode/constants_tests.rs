//! Lines of strace, with numbers of each set.

use super::*;

/// What strace prints of numbers.
const GOLDEN: &str = include_str!("constants_golden.tsv");

#[test]
fn a_field_is_one_number_and_the_rest_is_flags() {
    let set = find("open_flags").expect("the set of open(2)");
    let flags = |number| match set.flags(number) {
        Value::Flags { names, rest, .. } => (names.join("|"), rest),
        other => panic!("{other:?}"),
    };
    assert_eq!(flags(0), ("O_RDONLY".into(), 0));
    assert_eq!(flags(0x8_0001), ("O_WRONLY|O_CLOEXEC".into(), 0));
    assert_eq!(flags(0x0010_1000), ("O_RDONLY|O_SYNC".into(), 0));
    assert_eq!(flags(0x4000_1003), ("O_ACCMODE|O_DSYNC".into(), 0x4000_0000));
}

#[test]
fn a_signal_and_upper_bits_come_last() {
    assert_eq!(flags("clone_flags", 0x0120_0011).to_string(), {
        "CLONE_CHILD_CLEARTID|CLONE_CHILD_SETTID|SIGCHLD"
    });
    assert_eq!(flags("clone_flags", 0x11).to_string(), "SIGCHLD");
    assert_eq!(flags("clone_flags", 0x4000_ff00 | 99).to_string().rsplit('|').next(), Some("99"));
    let huge = flags("map_flags", 0x5404_0022);
    assert_eq!(huge.to_string(), "MAP_PRIVATE|MAP_ANONYMOUS|MAP_HUGETLB|21<<MAP_HUGE_SHIFT");
}

#[test]
fn numbers_are_printed_as_strace_prints_them() {
    let mut wrong = Vec::new();
    for line in GOLDEN.lines().filter(|line| !line.starts_with('#')) {
        let [set, kind, number, expected] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("{line:?}: a line needs four columns");
        };
        let number = u64::from_str_radix(number, 16).expect("a number");
        let set = find(set).unwrap_or_else(|| panic!("{line}: no such set"));
        let value = if kind == "flags" { set.flags(number) } else { set.one(number) };
        if value.to_string() != expected {
            wrong.push(format!("{line}\n    is {value}"));
        }
    }
    assert!(wrong.is_empty(), "{} lines differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn every_line_of_the_table_is_read() {
    let sets = parse(TABLE);
    let lines = TABLE.lines().filter(|line| !line.starts_with(['#', '!'])).count();
    let read: usize =
        sets.values().map(|set| set.names.len() + usize::from(set.shift.is_some()) + 1).sum();
    // The set without a name, before the first line.
    assert_eq!(read, lines + 1);
}

#[test]
fn signals_have_names() {
    assert_eq!(signal(2).to_string(), "SIGINT");
    assert_eq!(signal(32).to_string(), "SIGRTMIN");
    assert_eq!(signal(40).to_string(), "SIGRT_8");
    assert_eq!(signal(0).to_string(), "0");
    assert_eq!(signal(65).to_string(), "65");
}
