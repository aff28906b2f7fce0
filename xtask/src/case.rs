//! The result of a case of the kernel tests, from the output of its executable.

/// The last line of an executable that ran one case successfully.
const ONE_PASSED: &str = "test result: ok. 1 passed; 0 failed";

/// What a case prints if it passed although calls were lost. `report.rs` of the tests prints the
/// same text.
const LOST: &str = "lost: ";

/// The result of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ran {
    Passed,
    /// The case passed, and calls were lost, within the reported bound.
    PassedWithLoss,
    /// The case cannot run on this kernel, with the reason that it printed.
    Ignored(String),
    /// The case failed, with its output.
    Failed(String),
}

impl Ran {
    /// The result of an executable that ran one case, from its exit code and output.
    pub(crate) fn of(code: i32, said: &str) -> Self {
        // If the executable does not have the case, that is a failure.
        if code == 0 && said.contains(ONE_PASSED) {
            let lost = said.lines().any(|line| line.contains(LOST));
            return if lost { Self::PassedWithLoss } else { Self::Passed };
        }
        match reason_to_ignore(said) {
            Some(reason) if code == 0 => Self::Ignored(reason.to_owned()),
            _ => Self::Failed(format!("{said}exit code {code}")),
        }
    }

    /// The result in one or two words.
    pub(crate) fn verdict(&self) -> &'static str {
        match self {
            Self::Passed => "ok",
            Self::PassedWithLoss => "ok, lost",
            Self::Failed(_) => "FAILED",
            Self::Ignored(_) => "skipped",
        }
    }
}

/// The reason for which the executable ignored the case, if it did.
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
