//! Which expected lines were printed, in the expected order.

use std::collections::BTreeMap;

use super::table::Test;

/// How many lines were expected, and how many of them were printed to the letter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Agreement {
    pub(super) expected: usize,
    pub(super) agreed: usize,
}

impl Agreement {
    pub(super) fn add(&mut self, other: Self) {
        self.expected += other.expected;
        self.agreed += other.agreed;
    }

    pub(super) fn percent(self) -> f64 {
        100.0 * self.agreed as f64 / (self.expected as f64).max(1.0)
    }
}

/// How far ahead a printed line may be that agrees with the next expected line.
const AHEAD: usize = 50;

/// The agreement by syscall. `differing` gets the lines that differ.
pub(super) fn compare(
    expected: &str,
    found: &str,
    test: &Test,
    differing: &mut Vec<String>,
) -> BTreeMap<String, Agreement> {
    let found: Vec<String> = found
        .lines()
        .filter(|line| test.calls.iter().any(|call| call == name_of(line)))
        .map(normal)
        .collect();
    let (mut at, mut all) = (0, BTreeMap::new());
    for line in expected.lines().filter(|line| is_call(line)) {
        let wanted = normal(line);
        let of: &mut Agreement = all.entry(name_of(line).to_owned()).or_default();
        of.expected += 1;
        let ahead = found.iter().skip(at).take(AHEAD);
        match ahead.enumerate().find(|(_, line)| **line == wanted) {
            Some((skipped, _)) => {
                of.agreed += 1;
                at += skipped + 1;
            }
            None => {
                let instead = found.get(at).map_or("nothing", String::as_str);
                differing.push(format!("- {wanted}\n+ {instead}"));
                at += usize::from(found.get(at).is_some_and(|l| name_of(l) == name_of(line)));
            }
        }
    }
    all
}

/// The name of the syscall in a line.
fn name_of(line: &str) -> &str {
    line.split('(').next().unwrap_or_default()
}

fn is_call(line: &str) -> bool {
    let name = name_of(line);
    line.contains('(')
        && !name.is_empty()
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// The line with one space before the result, because strace's tests choose the column by `-a`.
fn normal(line: &str) -> String {
    match line.rfind(" = ") {
        Some(at) => format!("{} {}", line[..at].trim_end(), &line[at + 1..]),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn test() -> Test {
        Test {
            name: "a".into(),
            program: "a".into(),
            arguments: String::new(),
            calls: vec!["a".into(), "b".into()],
            string_limit: 32,
            is_verbose: false,
            with_paths: false,
        }
    }

    #[test]
    fn lines_agree_to_the_letter_and_in_order() {
        let mut differing = Vec::new();
        let expected = "a(1)   = 0\nb(2) = 3\na(4) = 0\n+++ exited with 0 +++\n";
        let found = "c() = 1\na(1) = 0\nb(9) = 3\na(4)     = 0\n";
        let all = compare(expected, found, &test(), &mut differing);
        assert_eq!(all["a"], Agreement { expected: 2, agreed: 2 });
        assert_eq!(all["b"], Agreement { expected: 1, agreed: 0 });
        assert_eq!(differing, ["- b(2) = 3\n+ b(9) = 3"]);
        let swapped = compare("a(1) = 0\na(4) = 0", "a(4) = 0\na(1) = 0", &test(), &mut Vec::new());
        assert_eq!(swapped["a"].agreed, 1);
    }
}
