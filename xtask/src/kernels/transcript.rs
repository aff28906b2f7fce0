//! Parses the output of a virtual machine: the lines of `init.sh`.

use crate::case::Ran;

/// The output so far.
#[derive(Default)]
pub(super) struct Transcript {
    /// The release of the kernel, once it is known.
    pub(super) release: Option<String>,
    pub(super) cases: Vec<(String, Ran)>,
    /// The case that is running.
    pub(super) running: Option<String>,
    pub(super) is_complete: bool,
    printed: String,
}

impl Transcript {
    pub(super) fn add(&mut self, line: &str) {
        let line = line.trim_end_matches(['\r', '\n']);
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "|" => {
                self.printed.push_str(rest);
                self.printed.push('\n');
            }
            "kernel" => self.release = Some(rest.to_owned()),
            "case" => {
                self.running = Some(rest.to_owned());
                self.printed.clear();
            }
            "end" => {
                let Some(case) = self.running.take() else { return };
                let ran = Ran::of(rest.parse().unwrap_or(-1), &self.printed);
                self.cases.push((case, ran));
            }
            "done" => self.is_complete = true,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transcript(text: &str) -> Transcript {
        let mut transcript = Transcript::default();
        text.lines().for_each(|line| transcript.add(line));
        transcript
    }

    #[test]
    fn cases_pass_fail_and_hang() {
        let heard = transcript(
            "kernel 5.10.0\r\n\
             case one\r\n| test result: ok. 1 passed; 0 failed; 0 ignored\r\nend 0\r\n\
             case two\r\n| case in point\r\nend 101\r\n\
             noise\r\n\
             case three\r\n| begun\r\n",
        );
        assert_eq!(heard.release.as_deref(), Some("5.10.0"));
        assert_eq!(
            heard.cases,
            [
                ("one".to_owned(), Ran::Passed),
                ("two".to_owned(), Ran::Failed("case in point\nexit code 101".to_owned())),
            ]
        );
        assert_eq!(heard.running.as_deref(), Some("three"));
        assert!(!heard.is_complete);
    }

    #[test]
    fn a_case_that_passed_where_calls_were_lost_is_told_apart() {
        let printed =
            "| test one ... lost: 7 or fewer calls\n| ok\n| test result: ok. 1 passed; 0 failed";
        let heard = transcript(&format!("case one\n{printed}\nend 0\ndone"));
        assert_eq!(heard.cases[0].1, Ran::PassedWithLoss);
    }

    #[test]
    fn a_case_that_cannot_be_had_says_why() {
        let heard = transcript("case one\n| test one ... ignored (too old)\nend 0\ndone");
        assert_eq!(heard.cases[0].1, Ran::Ignored("too old".to_owned()));
        let heard = transcript("case one\n| test one ... ignored (too old)\nend 1\ndone");
        assert!(matches!(heard.cases[0].1, Ran::Failed(_)));
    }

    #[test]
    fn a_case_that_was_not_run_has_not_passed() {
        let heard = transcript("case one\n| test result: ok. 0 passed; 0 failed\nend 0\ndone");
        assert!(matches!(heard.cases[0].1, Ran::Failed(_)));
        assert!(heard.is_complete);
    }
}
