//! Structures with real bytes, and what strace prints of them.

use profiler_common::call::ABIS;

use super::*;

/// Structures of x86_64 as the kernel or a program filled them, and what strace printed of them.
const GOLDEN: &str = include_str!("golden.tsv");

fn bytes(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().chunks(2);
    digits
        .map(|pair| {
            let pair = std::str::from_utf8(pair).expect("digits");
            u8::from_str_radix(pair, 16).expect("hexadecimal digits")
        })
        .collect()
}

#[test]
fn structures_are_printed_as_strace_prints_them() {
    let mut wrong = Vec::new();
    for line in GOLDEN.lines().filter(|line| !line.starts_with('#')) {
        let [name, abi, hex, expected] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("{line:?}: a line needs four columns");
        };
        let abi = ABIS.into_iter().find(|of| of.name() == abi).expect("an ABI");
        let structure = find(name).unwrap_or_else(|| panic!("{name}: no such structure"));
        let value = (structure.decode)(&bytes(hex), abi, &Style::default()).to_string();
        if value != expected {
            wrong.push(format!("{name} {abi}: {expected}\n   is {value}"));
        }
    }
    assert!(wrong.is_empty(), "{} lines differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn structures_have_different_names() {
    let mut names: Vec<_> = ALL.iter().copied().flatten().map(|of| of.name).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
}

proptest::proptest! {
    /// Any bytes, of any length, are decoded.
    #[test]
    fn any_bytes_are_decoded(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
        for structure in ALL.iter().copied().flatten() {
            for abi in ABIS {
                for length in [bytes.len(), (structure.bytes)(abi).min(bytes.len()), bytes.len() / 2] {
                    let text = (structure.decode)(&bytes[..length], abi, &Style::default());
                    let text = text.to_string();
                    assert!(text.chars().all(|c| c == ' ' || c.is_ascii_graphic()), "{text:?}");
                }
            }
        }
    }

    /// Any number is printed in any set.
    #[test]
    fn any_number_is_printed(number in proptest::num::u64::ANY) {
        for set in ["open_flags", "map_flags", "clone_flags", "signals", "none"] {
            let set = super::super::constants::find(set).expect("a set");
            let text = set.flags(number).to_string() + &set.one(number).to_string();
            assert!(text.is_ascii());
        }
    }
}
