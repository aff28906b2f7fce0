//! Shows the output of test executables, with their progress and the duration of each test.

use std::{
    collections::HashMap,
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};

use crate::workspace::shown;

/// Numbers of tests by result.
#[derive(Default, Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) passed: u64,
    pub(super) failed: u64,
    pub(super) ignored: u64,
}

/// The output of test executables so far.
#[derive(Default)]
pub(super) struct Progress {
    pub(super) counts: Counts,
    /// The duration of each test in seconds, and its name.
    pub(super) times: Vec<(f64, String)>,
    /// Tests that could not check anything on this host, with the reason, and notes of tests.
    pub(super) notes: Vec<String>,
    /// Tests that failed.
    pub(super) failed: Vec<String>,
    of_running: HashMap<String, f64>,
    done: u64,
    total: u64,
}

impl Progress {
    /// Runs tests, and shows their output.
    ///
    /// # Errors
    /// If a test failed, or none could be run.
    pub(super) fn run(&mut self, mut command: Command) -> Result<()> {
        let mut child = command
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run {}", shown(&command)))?;
        if let Some(stdout) = child.stdout.take() {
            for line in BufReader::new(stdout).split(b'\n') {
                if let Some(line) = self.line(&String::from_utf8_lossy(&line?)) {
                    println!("{line}");
                }
            }
        }
        let status = child.wait()?;
        ensure!(status.success(), "{} failed ({status})", shown(&command));
        Ok(())
    }

    /// The line to show. `None` if it is not shown.
    fn line(&mut self, line: &str) -> Option<String> {
        self.counts.add(line);
        if let Some(running) = line.strip_prefix("running ") {
            let total = running.split(' ').next().and_then(|number| number.parse().ok());
            (self.done, self.total) = (0, total.unwrap_or(0));
            // Do not show executables without a test.
            return (self.total > 0).then(|| line.to_owned());
        }
        // `suite.rs` of the kernel tests prints this before the line of the test.
        if let Some(took) = line.strip_prefix("took ") {
            let (name, seconds) = took.rsplit_once(' ')?;
            self.of_running.insert(name.to_owned(), seconds.parse().ok()?);
            return None;
        }
        if line.starts_with("note: ") {
            self.notes.push(line.to_owned());
        }
        let Some((name, outcome)) = line.strip_prefix("test ").and_then(|t| t.split_once(" ... "))
        else {
            let none = line.is_empty() || line.starts_with("test result: ok. 0 passed; 0 failed");
            return (!none).then(|| line.to_owned());
        };
        let name = name.trim_end();
        self.done += 1;
        if outcome.starts_with("FAILED") {
            self.failed.push(name.to_owned());
        } else if outcome.starts_with("ignored (") {
            self.notes.push(format!("{name}: {outcome}"));
        }
        let width = self.total.to_string().len();
        let place = format!("[{:>width$}/{}]", self.done, self.total);
        let Some(seconds) = self.of_running.remove(name) else {
            return Some(format!("{place} {name} ... {outcome}"));
        };
        self.times.push((seconds, name.to_owned()));
        Some(format!("{place} {seconds:>5.1} s  {name} ... {outcome}"))
    }

    /// The slowest tests, in descending order of duration.
    pub(super) fn slowest(&self, at_most: usize) -> Vec<(f64, String)> {
        let mut times = self.times.clone();
        times.sort_by(|a, b| b.0.total_cmp(&a.0));
        times.truncate(at_most);
        times
    }
}

impl Counts {
    /// Adds the numbers in a line of a test executable, if the line is its summary.
    fn add(&mut self, line: &str) {
        let Some(result) = line.strip_prefix("test result: ") else { return };
        let words: Vec<_> = result.split([' ', ';', '.']).filter(|word| !word.is_empty()).collect();
        for pair in words.windows(2) {
            let Ok(number) = pair[0].parse::<u64>() else { continue };
            match pair[1] {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.ignored += number,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_add_up_over_executables() {
        let mut progress = Progress::default();
        for line in [
            "test result: ok. 7 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.01s",
            "test passed ... ok",
            "test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.01s",
        ] {
            progress.line(line);
        }
        assert_eq!(progress.counts, Counts { passed: 10, failed: 2, ignored: 1 });
    }

    #[test]
    fn a_line_says_how_far_it_is_and_how_long_it_took() {
        let mut progress = Progress::default();
        assert_eq!(progress.line("running 12 tests").as_deref(), Some("running 12 tests"));
        assert_eq!(progress.line("took main::a 1.5"), None);
        let slow = progress.line("test main::a   ... ok");
        assert_eq!(slow.as_deref(), Some("[ 1/12]   1.5 s  main::a ... ok"));
        let quick = progress.line("test b ... ignored (no gcc)");
        assert_eq!(quick.as_deref(), Some("[ 2/12] b ... ignored (no gcc)"));
        assert_eq!(progress.line("test c ... FAILED").as_deref(), Some("[ 3/12] c ... FAILED"));
        assert_eq!(progress.slowest(5), [(1.5, "main::a".to_owned())]);
        assert_eq!(progress.notes, ["b: ignored (no gcc)"]);
        assert_eq!(progress.failed, ["c"]);
        assert_eq!(progress.line("running 0 tests"), None);
    }
}
