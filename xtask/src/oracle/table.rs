//! strace's table of tests: which program, with which options of strace.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context, Result};

/// A test program, and the options that its lines depend on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Test {
    /// The name in strace's table.
    pub(super) name: String,
    /// The program.
    pub(super) program: String,
    /// Arguments of the program.
    pub(super) arguments: String,
    /// The syscalls of which strace prints lines.
    pub(super) calls: Vec<String>,
    /// `-s`.
    pub(super) string_limit: u32,
    /// `-v`.
    pub(super) is_verbose: bool,
    /// `-y`.
    pub(super) with_paths: bool,
}

/// The default of `-s`.
const STRING_LIMIT: u32 = 32;

/// The tests that need only options that the profiler has, and how many need others, by reason.
pub(super) fn of(programs: &Path) -> Result<(Vec<Test>, BTreeMap<String, usize>)> {
    let table = fs::read_to_string(programs.join("gen_tests.in")).context("strace's tests")?;
    let (mut tests, mut skipped) = (Vec::new(), BTreeMap::new());
    for line in table.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')) {
        match parse(line) {
            Ok(test) if programs.join(&test.program).is_file() => tests.push(test),
            Ok(_) => *skipped.entry("the program was not built".to_owned()).or_default() += 1,
            Err(reason) => *skipped.entry(reason).or_default() += 1,
        }
    }
    Ok((tests, skipped))
}

/// A line of the table, or why it cannot be run.
fn parse(line: &str) -> Result<Test, String> {
    let mut words = line.split_whitespace();
    let name = words.next().unwrap_or_default().to_owned();
    let mut test = Test {
        program: name.clone(),
        name,
        arguments: String::new(),
        calls: Vec::new(),
        string_limit: STRING_LIMIT,
        is_verbose: false,
        with_paths: false,
    };
    let mut rest = words.peekable();
    if rest.peek().is_some_and(|word| !word.starts_with('-')) {
        return Err("a script of its own".into());
    }
    while let Some(word) = rest.next() {
        let mut value = |prefix: &str| -> Option<String> {
            let rest_of_word = word.strip_prefix(prefix)?;
            let rest_of_word = rest_of_word.strip_prefix('=').unwrap_or(rest_of_word);
            if rest_of_word.is_empty() {
                rest.next().map(str::to_owned)
            } else {
                Some(rest_of_word.to_owned())
            }
        };
        if word.starts_with("-a") || word.starts_with("--columns") {
            value("-a");
        } else if word.starts_with("-e") || word.starts_with("--trace=") {
            let value = if let Some(calls) = word.strip_prefix("--trace=") {
                format!("trace={calls}")
            } else {
                value("-e").unwrap_or_default()
            };
            match value.split_once('=') {
                Some(("trace" | "t", calls)) => test.calls = names(calls)?,
                Some(("signal" | "signals", "none" | "!all")) => {}
                _ => return Err(format!("-e {}", value.split('=').next().unwrap_or_default())),
            }
        } else if let Some(limit) = word.strip_prefix("-s").filter(|_| !word.starts_with("--")) {
            let limit = if limit.is_empty() { rest.next().unwrap_or_default() } else { limit };
            test.string_limit = limit.parse().map_err(|_| "-s".to_owned())?;
        } else if word == "-v" {
            test.is_verbose = true;
        } else if word == "-y" {
            test.with_paths = true;
        } else if word.starts_with("-q") || word == "--quiet" {
            // Messages of strace itself.
        } else {
            let flag: String = word.chars().take_while(|c| *c != '=').collect();
            return Err(flag);
        }
    }
    if test.calls.is_empty() {
        // strace's init.sh: the name of the test up to the first `-`.
        test.calls.push(test.name.split('-').next().unwrap_or_default().to_owned());
    } else if let Some((program, _)) = test.name.split_once('-') {
        // Variants such as `bpf-v` have programs of their own, or run the one without the suffix.
        let _ = program;
    }
    if test.string_limit > 4_095 {
        return Err("-s above 4095".into());
    }
    Ok(test)
}

/// The names in a list of `-e trace=`.
fn names(list: &str) -> Result<Vec<String>, String> {
    let is_name = |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let names: Vec<_> =
        list.split(',').map(|name| name.trim_start_matches('?').to_owned()).collect();
    if names.iter().all(|name| is_name(name) && !name.is_empty() && name != "all") {
        Ok(names)
    } else {
        Err("-e trace= with a class or an expression".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read() {
        let test = parse("add_key\t-a30 -s12").expect("a test");
        assert_eq!((test.calls, test.string_limit), (vec!["add_key".to_owned()], 12));
        let test = parse("aio\t-a14 -e trace=io_setup,?io_submit -v").expect("a test");
        assert_eq!((test.calls.len(), test.is_verbose), (2, true));
        assert_eq!(parse("x -a 14 -y").map(|test| test.with_paths), Ok(true));
    }

    #[test]
    fn what_the_profiler_lacks_is_named() {
        assert_eq!(parse("access -a30 --trace-path=f").map(|t| t.name), Err("--trace-path".into()));
        assert_eq!(parse("x +prctl.sh").map(|t| t.name), Err("a script of its own".into()));
        assert_eq!(parse("x -einject=x:retval=1").map(|t| t.name), Err("-e inject".into()));
        assert!(parse("x -e trace=%file").is_err());
    }
}
