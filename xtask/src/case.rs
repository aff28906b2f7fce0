//! What became of a case of the kernel tests, by what the executable said of it.

/// What the executable says of the one case that it was asked for.
const ONE_PASSED: &str = "test result: ok. 1 passed; 0 failed";

/// What a case prints that passed although calls were lost; as the tests' `report.rs` has it.
const LOST: &str = "lost: ";

/// What became of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ran {
    Passed,
    /// Where calls get lost: it was told how many at most, and held the figures to that.
    PassedWithLoss,
    /// The case itself says that it cannot be had on that kernel, and why.
    Ignored(String),
    /// With what it printed.
    Failed(String),
}

impl Ran {
    /// Of the executable that was asked for this one case.
    pub(crate) fn of(code: i32, said: &str) -> Self {
        // A case that the executable does not know is no success.
        if code == 0 && said.contains(ONE_PASSED) {
            let lost = said.lines().any(|line| line.contains(LOST));
            return if lost { Self::PassedWithLoss } else { Self::Passed };
        }
        match reason_to_ignore(said) {
            Some(reason) if code == 0 => Self::Ignored(reason.to_owned()),
            _ => Self::Failed(format!("{said}exit code {code}")),
        }
    }

    /// In a word or two.
    pub(crate) fn verdict(&self) -> &'static str {
        match self {
            Self::Passed => "ok",
            Self::PassedWithLoss => "ok, lost",
            Self::Failed(_) => "FAILED",
            Self::Ignored(_) => "skipped",
        }
    }
}

/// Why the executable ignored the case, if it says so.
fn reason_to_ignore(said: &str) -> Option<&str> {
    said.lines().find_map(|line| line.split_once(" ... ignored (")?.1.strip_suffix(')'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_is_what_the_executable_says() {
        let passed = "test main::conformance::x ... ok\n\ntest result: ok. 1 passed; 0 failed";
        assert_eq!(Ran::of(0, passed), Ran::Passed);
        let ignored = "test main::conformance::x ... ignored (no gcc (13))\n\n\
                       test result: ok. 0 passed; 0 failed; 1 ignored";
        assert_eq!(Ran::of(0, ignored), Ran::Ignored("no gcc (13)".to_owned()));
        let is_failure = |code, said| matches!(Ran::of(code, said), Ran::Failed(_));
        assert!(is_failure(0, "test result: ok. 0 passed; 0 failed"));
        assert!(is_failure(1, passed));
        assert!(is_failure(1, ignored));
    }
}
