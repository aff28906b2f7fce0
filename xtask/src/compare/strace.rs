//! Parses the summary of `strace -c -w`.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};

/// The name of the executable.
pub(super) const NAME: &str = "strace";

/// The counts of a syscall.
#[derive(Default, Clone, Copy, Debug, PartialEq)]
pub(super) struct Traced {
    pub(super) calls: u64,
    pub(super) errors: u64,
    pub(super) seconds: f64,
}

/// The counts by name.
#[derive(Default, Debug, PartialEq)]
pub(super) struct Summary {
    pub(super) calls: BTreeMap<String, Traced>,
}

impl Summary {
    /// Parses lines of the form `% time, seconds, usecs/call, calls, [errors,] syscall`.
    ///
    /// # Errors
    /// If a line has a different form, or if the total is not the sum of the lines.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let mut summary = Self::default();
        let mut total = None;
        // The first two lines are a header and a line of dashes. Another line of dashes precedes
        // the total.
        for line in text.lines().skip(2).filter(|line| !line.starts_with('-')) {
            let words: Vec<_> = line.split_whitespace().collect();
            ensure!(
                matches!(words.len(), 5 | 6),
                "cannot parse a line of strace's summary: {line:?}"
            );
            let number = |at: usize| words[at].parse().with_context(|| format!("in {line:?}"));
            let traced = Traced {
                calls: number(3)?,
                errors: if words.len() == 6 { number(4)? } else { 0 },
                seconds: words[1].parse()?,
            };
            match words[words.len() - 1] {
                "total" => total = Some((traced.calls, traced.errors)),
                name => {
                    let other = summary.calls.insert(name.to_owned(), traced);
                    ensure!(
                        other.is_none(),
                        "strace lists {name} twice: the program used more than one ABI"
                    );
                }
            }
        }
        let sum = summary.total();
        ensure!(
            total == Some((sum.calls, sum.errors)),
            "strace's total is not the sum of its lines"
        );
        Ok(summary)
    }

    pub(super) fn total(&self) -> Traced {
        let mut total = Traced::default();
        for traced in self.calls.values() {
            total.calls += traced.calls;
            total.errors += traced.errors;
            total.seconds += traced.seconds;
        }
        total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 60.00    0.000006           3         2           read
 40.00    0.000004           4         1         1 open
------ ----------- ----------- --------- --------- ----------------
100.00    0.000010           3         3         1 total
";

    #[test]
    fn lines_with_and_without_errors() {
        let summary = Summary::parse(TEXT).expect("a summary");
        let read = Traced { calls: 2, errors: 0, seconds: 6e-6 };
        let open = Traced { calls: 1, errors: 1, seconds: 4e-6 };
        assert_eq!(summary.calls, [("open".to_owned(), open), ("read".to_owned(), read)].into());
    }

    #[test]
    fn a_sum_that_is_not_that_of_the_lines_is_refused() {
        assert!(
            Summary::parse(&TEXT.replace("        2           read", "        5           read"))
                .is_err()
        );
        assert!(Summary::parse("").is_err());
    }
}
